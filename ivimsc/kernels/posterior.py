"""Posterior moments and maximum of one voxel after another, by importance sampling in three steps.

1. Global: draws of the prior, the same for all voxels, with their signals computed once. A voxel's weights are its
   likelihoods. Where the effective sample size (Kish) suffices, that is the answer; no mode can be missed.
2. Local: else a Student t about the weighted mean, with the weighted covariance, gives new points from a fixed
   low-discrepancy set; weights are prior × likelihood / proposal. Where too few draws carry weight the likelihood is
   first tempered. Repeated until the effective sample size suffices or the rounds are used up.
3. Maximum: from the best point on, sets of points of shrinking size about the best one so far.

Everything depends on the voxel and on the fixed point sets alone. All loops run over points, so that they vectorise.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.kernels.compiling import JIT, LANE_JIT
from ivimsc.kernels.lanes import exp32
from ivimsc.kernels.likelihood import Model, log_likelihood, unit_signals
from ivimsc.kernels.priors import log_prior, map_points, subtract_log_jacobian

__all__ = ["FIELDS", "Settings", "posterior_kernel"]

ZERO, ONE = np.float32(0), np.float32(1)
FIELDS = 12  # S0, f, D, D*, rmse, SD of f, D, D*, ESS, maximum of f, D, D*
SUM = {**LANE_JIT, "fastmath": {"contract", "nsz", "arcp", "reassoc"}}  # weights are all >= 0: any order will do
HALVINGS = 12  # of the exponent, when too few draws carry weight
SHRINK = np.float32(0.45)  # of the search for the maximum, per round
CLIMBS = 7  # 0.45^7 = 0.004 posterior SD
CONVERGED, LIMIT, UNIDENTIFIABLE, BAD = 1, 3, 4, 5  # estimates.Outcome


class Settings(NamedTuple):
    """target: effective sample size that ends the rounds; least: below it the outcome is 3; rounds: most local rounds;
    tempered: least effective sample size that a proposal is made from; climb: points per round of the maximum.
    """

    target: float
    least: float
    rounds: int
    tempered: float
    climb: int


@njit(**SUM)
def _top(x):
    """The largest value and its place."""
    highest = x[0]
    for m in range(len(x)):
        highest = max(highest, x[m])
    for m in range(len(x)):
        if x[m] == highest:
            return highest, m
    return highest, 0


@njit(**SUM)
def _weigh(log_w, highest, exponent, w):
    """Weights w = exp(exponent (log_w - highest)); returns Σ w and the effective sample size (Σ w)² / Σ w²."""
    total, squares = ZERO, ZERO
    for m in range(len(w)):
        w[m] = exp32(exponent * (log_w[m] - highest))
        total += w[m]
        squares += w[m] * w[m]
    return total, total * total / squares


@njit(**SUM)
def _moments(w, total, x, at, mean, covariance):
    """Weighted mean (3,) and covariance (3, 3) of x (3, n), summed about x[:, at] so that float32 does not cancel."""
    x0, x1, x2 = x[0], x[1], x[2]
    c0, c1, c2 = x0[at], x1[at], x2[at]
    a0 = a1 = a2 = a00 = a01 = a02 = a11 = a12 = a22 = ZERO
    for m in range(len(w)):
        d0, d1, d2 = x0[m] - c0, x1[m] - c1, x2[m] - c2
        w0, w1, w2 = w[m] * d0, w[m] * d1, w[m] * d2
        a0 += w0
        a1 += w1
        a2 += w2
        a00 += w0 * d0
        a01 += w0 * d1
        a02 += w0 * d2
        a11 += w1 * d1
        a12 += w1 * d2
        a22 += w2 * d2
    a0, a1, a2 = a0 / total, a1 / total, a2 / total
    mean[0], mean[1], mean[2] = c0 + a0, c1 + a1, c2 + a2
    covariance[0, 0], covariance[1, 1], covariance[2, 2] = a00 / total - a0 * a0, a11 / total - a1 * a1, a22 / total - a2 * a2
    covariance[0, 1], covariance[0, 2], covariance[1, 2] = a01 / total - a0 * a1, a02 / total - a0 * a2, a12 / total - a1 * a2


@njit(**SUM)
def _weighted(w, total, x):
    result = ZERO
    for m in range(len(w)):
        result += w[m] * x[m]
    return result / total


@njit(**JIT)
def _cholesky(c, root):
    """Lower triangle of the root of c (3, 3), whose upper triangle is read; a floor keeps it regular."""
    for i in range(3):
        for j in range(i + 1):
            value = c[j, i]
            for k in range(j):
                value -= root[i, k] * root[j, k]
            if i == j:
                root[i, i] = math.sqrt(max(value, np.float32(1e-4) * c[i, i] + np.float32(1e-12)))
            else:
                root[i, j] = value / root[j, j]


@njit(**LANE_JIT)
def _place(x, mean, root, factor, t):
    """Put t (3, n) = mean + factor · root · x."""
    r00, r10, r11 = root[0, 0] * factor, root[1, 0] * factor, root[1, 1] * factor
    r20, r21, r22 = root[2, 0] * factor, root[2, 1] * factor, root[2, 2] * factor
    m0, m1, m2 = mean[0], mean[1], mean[2]
    for m in range(t.shape[1]):
        x0, x1, x2 = x[0, m], x[1, m], x[2, m]
        t[0, m] = m0 + r00 * x0
        t[1, m] = m1 + r10 * x0 + r11 * x1
        t[2, m] = m2 + r20 * x0 + r21 * x1 + r22 * x2


@njit(**JIT)
def _gather(log_w, w, theta, s0, settings, state, found):
    """Posterior moments from weighted points into found[:9]; returns the effective sample size.

    found: 0 S0 / scale, 1..3 mean of f, D, D*, 5..7 their SD, 8 effective sample size.
    """
    highest, at = _top(log_w)
    total, ess = _weigh(log_w, highest, ONE, w)
    _moments(w, total, theta, at, state.mean, state.covariance)
    found[0] = _weighted(w, total, s0)
    for k in range(3):
        found[1 + k] = state.mean[k]
        found[5 + k] = math.sqrt(max(state.covariance[k, k], ZERO))
    found[8] = ess
    return ess


class State(NamedTuple):
    """Small scratch arrays."""

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    root: NDArray[np.float32]
    best: NDArray[np.float32]  # t of the best point so far


@njit(**JIT)
def _propose(log_w, w, t, settings, state):
    """Mean and root of the covariance of t under the weights, tempered until enough points carry weight."""
    highest, at = _top(log_w)
    exponent = ONE
    total, ess = _weigh(log_w, highest, exponent, w)
    for _ in range(HALVINGS):
        if ess >= settings.tempered:
            break
        exponent *= np.float32(0.5)
        total, ess = _weigh(log_w, highest, exponent, w)
    _moments(w, total, t, at, state.mean, state.covariance)
    _cholesky(state.covariance, state.root)


@njit(**JIT)
def _evaluate(y, model, scale, prior, reference, spread, a):
    """a.log_w (n,) = ln likelihood, a.density (n,) = ln prior, at the points a.t (3, n)."""
    map_points(prior, a.t, a.theta)
    unit_signals(model.b, a.theta, a.signals)
    log_likelihood(y, a.signals, model, scale, reference, spread, a.scratch, a.s0, a.log_w)
    log_prior(prior, a.t, a.scratch[0], a.density)


@njit(**JIT)
def _climb(y, model, scale, prior, proposal, found, state, c):
    """The maximum of the posterior density of (f, D, D*), from state.best, into found[9:12]."""
    factor = ONE
    for _ in range(CLIMBS):
        _place(proposal.x, state.best, state.root, factor, c.t)
        for k in range(3):
            c.t[k, 0] = state.best[k]  # the best so far is never lost
        _evaluate(y, model, scale, prior, found[0], c.zero, c)
        subtract_log_jacobian(prior, c.t, c.density)
        for m in range(len(c.log_w)):
            c.log_w[m] += c.density[m]
        _, at = _top(c.log_w)
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
def _voxel(y, scale, model, shared, proposal, prior, settings, g, a, c, state, found, target, below):
    """The posterior of one voxel with scaled signal y: found (FIELDS,); below (3,) where a target is given."""
    sampled = not (model.rician and settings.rounds > 0)  # Rician: the global step only starts the local rounds
    start = Model(model.b, model.s0, model.sigma, model.rician and sampled)
    log_likelihood(y, shared.signals, start, scale, ONE, shared.spread, g.scratch, g.s0, g.log_w)
    ess = _gather(g.log_w, g.w, shared.theta, g.s0, settings, state, found)
    if len(target):
        _tail(g.w, shared.theta, target, below)
    for m in range(len(g.w)):
        g.density[m] = g.log_w[m] + shared.log_density[m]
    _, at = _top(g.density)
    for k in range(3):
        state.best[k] = shared.t[k, at]
        found[9 + k] = shared.theta[k, at]
    if settings.rounds == 0:
        return
    _propose(g.log_w, g.w, shared.t, settings, state)
    if not sampled:
        ess = ZERO
    trial = np.zeros(FIELDS, np.float32)
    for _ in range(settings.rounds):
        if ess >= settings.target:
            break
        _place(proposal.x, state.mean, state.root, ONE, a.t)
        _evaluate(y, model, scale, prior, found[0], proposal.spread, a)
        for m in range(len(a.log_w)):
            a.log_w[m] += a.density[m] + proposal.minus_log_density[m]
        new = _gather(a.log_w, a.w, a.theta, a.s0, settings, state, trial)
        if new > ess:
            ess = new
            found[:9] = trial[:9]
            if len(target):
                _tail(a.w, a.theta, target, below)
            for m in range(len(a.log_w)):
                a.density[m] = a.log_w[m] - proposal.minus_log_density[m]
            _, at = _top(a.density)
            for k in range(3):
                state.best[k] = a.t[k, at]
        _propose(a.log_w, a.w, a.t, settings, state)
    _climb(y, model, scale, prior, proposal, found, state, c)


@njit(**JIT)
def _finish(y, scale, b, settings, found, v, result, outcome):
    """Write one voxel: result (FIELDS, voxel) in mm²/s and units of the signal."""
    S0, f, d, p = found[0], found[1], found[2], found[3]
    squares = 0.0
    for i in range(len(b)):
        squares += (y[i] - S0 * ((1.0 - f) * math.exp(-b[i] * d) + f * math.exp(-b[i] * p))) ** 2
    found[4] = math.sqrt(squares / len(b))
    found[0] *= scale
    found[4] *= scale
    outcome[v] = CONVERGED
    if f <= 1.96 * found[5] or (d > 0 and math.log(p / d) * p <= 1.96 * found[7]):
        outcome[v] = UNIDENTIFIABLE
    if not found[8] >= settings.least:
        outcome[v] = LIMIT
    for k in (2, 3, 6, 7, 10, 11):
        found[k] *= np.float32(1e-3)
    for k in range(FIELDS):
        result[k, v] = found[k]


@njit(**JIT)
def posterior_kernel(start, stop, signals, scale, model, shared, proposal, prior, settings, targets, result, outcome, below):
    """Posteriors of the voxels start..stop: result (FIELDS, voxel), outcome (voxel,), below (voxel, 3).

    scale (voxel,): largest |signal|, 0 for a bad one (`kernels.scaling`); targets (voxel, 3) f, D, D* [µm²/ms] whose
    place in the posterior is asked for, or (voxel, 0).
    """
    a = _arrays(proposal.x.shape[1], signals.shape[1])
    c = _arrays(settings.climb, signals.shape[1])
    g = _arrays(shared.t.shape[1], 1)
    state = State(np.zeros(3, np.float32), np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32), np.zeros(3, np.float32))
    found = np.zeros(FIELDS, np.float32)
    y = np.zeros(signals.shape[1], np.float32)
    for v in range(start, stop):
        if scale[v] == 0:
            result[:, v] = np.nan
            outcome[v] = BAD
            continue
        for i in range(len(y)):
            y[i] = signals[v, i] / scale[v]
        _voxel(y, scale[v], model, shared, proposal, prior, settings, g, a, c, state, found, targets[v], below[v])
        _finish(y, scale[v], model.b, settings, found, v, result, outcome)
