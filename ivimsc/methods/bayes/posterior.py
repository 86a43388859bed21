"""Posterior moments and maximum of one voxel after another, by importance sampling in three steps.

1. Global: draws of the prior, the same for all voxels, with their signals computed once. A voxel's weights are its
   likelihoods; no mode can be missed. Where the prior has no density (an empirical one) this is all.
2. Local: a Student t about the weighted mean, with the weighted covariance, gives new points from a low-discrepancy
   sequence, randomly shifted for each voxel and round: with the same points everywhere all voxels would share one
   Monte-Carlo error, which no average over voxels removes. Weights are prior × likelihood / proposal. Where too few
   draws carry weight the likelihood is first tempered. Repeated until the effective sample size (Kish) suffices or the
   rounds are used up; the round with the largest is the answer.
3. Maximum: from the best point on, sets of points of shrinking size about the best one so far.

Everything depends on the voxel, its number and the point sets alone. All loops run over points, so that they vectorise.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.methods.bayes.likelihood import Model, log_likelihood, unit_signals
from ivimsc.methods.bayes.priors import log_prior, map_points, subtract_log_jacobian
from ivimsc.methods.bayes.weighted_points import cholesky, moments, place, shift, top, weigh, weighted
from ivimsc.numerics.lanes import exp32

__all__ = ["CLIMBS", "FIELDS", "HALVINGS", "SHRINK", "Settings", "finish", "posterior_kernel"]

ZERO, ONE, THOUSANDTH = np.float32(0), np.float32(1), np.float32(1e-3)
FIELDS = 12  # S0, f, D, D*, rmse, SD of f, D, D*, ESS, maximum of f, D, D*
HALVINGS = 12  # of the exponent, when too few draws carry weight
SHRINK = np.float32(0.45)  # of the search for the maximum, per round
CLIMBS = 7  # 0.45^7 = 0.004 posterior SD
CONVERGED, LIMIT, UNIDENTIFIABLE, BAD = 1, 3, 4, 5  # estimates.Outcome


class Settings(NamedTuple):
    """target: effective sample size that ends the rounds; least: below it the outcome is 3; rounds: most local rounds;
    tempered: least effective sample size that a proposal is made from; climb: points per round of the maximum;
    seed: of the shifts.
    """

    target: float
    least: float
    rounds: int
    tempered: float
    climb: int
    seed: int


@njit(**JIT)
def _gather(log_w, w, theta, s0, settings, state, found):
    """Posterior moments from weighted points into found[:9]; returns the effective sample size.

    found: 0 S0 / scale, 1..3 mean of f, D, D*, 5..7 their SD, 8 effective sample size.
    """
    highest, at = top(log_w)
    total, ess = weigh(log_w, highest, ONE, w)
    moments(w, total, theta, at, state.mean, state.covariance)
    found[0] = weighted(w, total, s0)
    for k in range(3):
        found[1 + k] = state.mean[k]
        found[5 + k] = math.sqrt(max(state.covariance[k, k], ZERO))
    found[8] = ess
    return ess


class State(NamedTuple):
    """Small scratch arrays."""

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    root: NDArray[np.float32]  # of the covariance (Cholesky)
    best: NDArray[np.float32]  # t of the best point so far


@njit(**JIT)
def _propose(log_w, w, t, settings, state):
    """Mean and root of the covariance of t under the weights, tempered until enough points carry weight."""
    highest, at = top(log_w)
    exponent = ONE
    total, ess = weigh(log_w, highest, exponent, w)
    for _ in range(HALVINGS):
        if ess >= settings.tempered:
            break
        exponent *= np.float32(0.5)
        total, ess = weigh(log_w, highest, exponent, w)
    moments(w, total, t, at, state.mean, state.covariance)
    cholesky(state.covariance, state.root)


@njit(**JIT)
def _evaluate(y, model, scale, prior, reference, spread, a):
    """a.log_w (n,) = ln likelihood, a.density (n,) = ln prior, at the points a.t (3, n)."""
    map_points(prior, a.t, a.theta)
    unit_signals(model.b, a.theta, a.signals)
    log_likelihood(y, a.signals, model, scale, reference, spread, a.scratch, a.s0, a.log_w)
    log_prior(prior, a.t, a.scratch[0], a.density)


@njit(**JIT)
def _climb(y, model, scale, prior, proposal, start, found, state, c):
    """The maximum of the posterior density of (f, D, D*), from state.best, into found[9:12]."""
    factor, nowhere = ONE, c.zero[:, : len(c.log_w)]  # a slice, as in the local rounds: nothing is compiled twice
    for _ in range(CLIMBS):
        place(proposal, start, state.best, state.root, factor, c.t)
        for k in range(3):
            c.t[k, 0] = state.best[k]  # the best so far is never lost
        _evaluate(y, model, scale, prior, found[0], nowhere, c)
        subtract_log_jacobian(prior, c.t, c.density)
        for m in range(len(c.log_w)):
            c.log_w[m] += c.density[m]
        _, at = top(c.log_w)
        for k in range(3):
            state.best[k] = c.t[k, at]
            found[9 + k] = c.theta[k, at]
        factor *= SHRINK


class Arrays(NamedTuple):
    """Scratch for n points: of the global step (without t, theta, signals), the local rounds, the maximum."""

    t: NDArray[np.float32]
    theta: NDArray[np.float32]
    signals: NDArray[np.float32]
    scratch: NDArray[np.float32]
    s0: NDArray[np.float32]
    density: NDArray[np.float32]
    log_w: NDArray[np.float32]
    w: NDArray[np.float32]
    zero: NDArray[np.float32]


@njit(**JIT)
def _arrays(n, k):
    e = np.float32
    return Arrays(np.zeros((3, n), e), np.zeros((3, n), e), np.zeros((k, n), e), np.zeros((2, n), e), np.zeros(n, e),
                  np.zeros(n, e), np.zeros(n, e), np.zeros(n, e), np.zeros((2, n), e))  # fmt: skip


@njit(**JIT)
def _tail(w, theta, target, out):
    """Put into out (3,) the posterior probability that f, D, D* lie below target (3,)."""
    for k in range(3):
        below, total = 0.0, 0.0
        for m in range(len(w)):
            total += w[m]
            below += w[m] if theta[k, m] < target[k] else 0.0
        out[k] = below / total


@njit(**JIT)
def _voxel(y, scale, number, model, shared, proposal, prior, settings, g, a, c, state, found, target, below):
    """The posterior of voxel `number` with scaled signal y: found (FIELDS,); below (3,) where a target is given."""
    sampled = not (model.rician and settings.rounds > 0)  # Rician: the global step only starts the local rounds
    first = Model(model.b, model.s0, model.sigma, model.rician and sampled)
    log_likelihood(y, shared.signals, first, scale, ONE, shared.spread, g.scratch, g.s0, g.log_w)
    _gather(g.log_w, g.w, shared.theta, g.s0, settings, state, found)
    if len(target):
        _tail(g.w, shared.theta, target, below)
    for m in range(len(g.w)):
        g.density[m] = g.log_w[m] + shared.log_density[m]
    _, at = top(g.density)
    for k in range(3):
        state.best[k] = shared.t[k, at]
        found[9 + k] = shared.theta[k, at]
    if settings.rounds == 0:
        return
    _propose(g.log_w, g.w, shared.t, settings, state)
    ess, start = ZERO, 0  # the draws of the global step are shared by all voxels: a proposal, not an answer
    trial = np.zeros(FIELDS, np.float32)
    for trip in range(settings.rounds):
        start = shift(proposal, settings.seed, number, trip)
        place(proposal, start, state.mean, state.root, ONE, a.t)
        _evaluate(y, model, scale, prior, found[0], proposal.spread[:, start : start + proposal.n], a)
        minus_log_density = proposal.minus_log_density[start : start + proposal.n]
        for m in range(len(a.log_w)):
            a.log_w[m] += a.density[m] + minus_log_density[m]
        new = _gather(a.log_w, a.w, a.theta, a.s0, settings, state, trial)
        if new > ess:
            ess = new
            for k in range(9):
                found[k] = trial[k]
            if len(target):
                _tail(a.w, a.theta, target, below)
            for m in range(len(a.log_w)):
                a.density[m] = a.log_w[m] - minus_log_density[m]
            _, at = top(a.density)
            for k in range(3):
                state.best[k] = a.t[k, at]
        _propose(a.log_w, a.w, a.t, settings, state)
        if ess >= settings.target:
            break
    _climb(y, model, scale, prior, proposal, start, found, state, c)


@njit(**JIT)
def finish(signals, scale, b, least, v, found, result, outcome):
    """Write voxel v: found (FIELDS,) of the scaled signal to result (FIELDS, voxel) in mm²/s and units of the signal.

    found and result[:, v] may be the same memory. signals (voxel, b); least: effective sample size, below it the
    outcome is 3.
    """
    S0, f, d, p = found[0], found[1], found[2], found[3]
    squares = 0.0
    for i in range(len(b)):
        squares += (signals[v, i] / scale - S0 * ((1.0 - f) * exp32(-b[i] * d) + f * exp32(-b[i] * p))) ** 2
    found[4] = math.sqrt(squares / len(b))
    outcome[v] = CONVERGED
    if f <= 1.96 * found[5] or (d > 0 and math.log(p / d) * p <= 1.96 * found[7]):
        outcome[v] = UNIDENTIFIABLE
    if not found[8] >= least:
        outcome[v] = LIMIT
    for k in range(FIELDS):
        unit = scale if k in (0, 4) else THOUSANDTH if k in (2, 3, 6, 7, 10, 11) else ONE
        result[k, v] = found[k] * unit


@njit(**KERNEL)
def posterior_kernel(
    start, stop, first, signals, scale, model, shared, proposal, prior, settings, targets, result, outcome, below
):
    """Posteriors of the voxels start..stop: result (FIELDS, voxel), outcome (voxel,), below (voxel, 3).

    first: number of voxel 0 in the whole data set. scale (voxel,): largest |signal|, 0 for a bad one
    (`scaling`); targets (voxel, 3) f, D, D* [µm²/ms] whose place in the posterior is asked for, or (voxel, 0).
    """
    a = _arrays(proposal.n, signals.shape[1])
    c = _arrays(settings.climb, signals.shape[1])
    g = _arrays(shared.t.shape[1], 1)
    state = State(
        np.zeros(3, np.float32), np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32), np.zeros(3, np.float32)
    )
    found = np.zeros(FIELDS, np.float32)
    y = np.zeros(signals.shape[1], np.float32)
    for v in range(start, stop):
        if scale[v] == 0:
            result[:, v] = np.nan
            outcome[v] = BAD
            continue
        for i in range(len(y)):
            y[i] = signals[v, i] / scale[v]
        _voxel(y, scale[v], first + v, model, shared, proposal, prior, settings, g, a, c, state, found, targets[v],
               below[v])  # fmt: skip
        finish(signals, scale[v], model.b, settings.least, v, found, result, outcome)
