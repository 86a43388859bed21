"""Posterior moments and maximum of one voxel after another, by importance sampling in three steps.

1. Global: draws of the prior, the same for all voxels, with their signals computed once. A voxel's weights are its
   likelihoods; no mode can be missed. Where the prior has no density (an empirical one) this is all.
2. Local: a Student t about the weighted mean, with the weighted covariance, gives new points from a low-discrepancy
   sequence, randomly shifted for each voxel and round: with the same points everywhere all voxels would share one
   Monte-Carlo error, which no average over voxels removes. Weights are prior × likelihood / proposal. Where too few
   draws carry weight the likelihood is first tempered. Rounds are repeated until the effective sample size (Kish)
   suffices or no round is left; the round with the largest effective sample size is the answer.
3. Maximum: from the best point on, sets of points of shrinking size about the best one so far.

Everything depends on the voxel, its number and the point sets alone. All loops run over points, so that they vectorise.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.likelihood import NoiseModel, Spread, Terms, log_likelihood, scaled, weighted_signals
from ivimsc.methods.bayes.priors import log_prior, map_points, subtract_log_jacobian
from ivimsc.methods.bayes.problem import Problem, Results
from ivimsc.methods.bayes.summary import finish, put_maximum, put_moments
from ivimsc.methods.bayes.weighted_points import cholesky, moments, place, shift, top, weigh, weighted
from ivimsc.numerics.ending import BAD_SIGNAL
from ivimsc.numerics.scaling import scales

__all__ = ["CLIMBS", "HALVINGS", "OUTSIDE", "SHRINK", "Kept", "climb", "evaluate", "first_look", "kept_points_kernel",
           "local_rounds", "new_points", "new_scratch", "posterior_kernel", "posteriors"]  # fmt: skip

ZERO, ONE, OUTSIDE = np.float32(0), np.float32(1), np.float32(-1e29)  # the last: beyond the limits of a prior
HALVINGS = 12  # of the exponent, when too few draws carry weight
SHRINK = np.float32(0.45)  # of the search for the maximum, per round
CLIMBS = 7  # 0.45^7 = 0.004 posterior SD
BLOCK = 256  # voxels per call


class State(NamedTuple):
    """Small scratch arrays: moments (3,), (3, 3), lower root of the covariance (3, 3), t of the best point so far (3,)."""

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    root: NDArray[np.float32]
    best: NDArray[np.float32]


class Points(NamedTuple):
    """n points: t, theta (3, n), signals (b, n), terms (n,) of the likelihood, log density (n,), weights w (n,)."""

    t: NDArray[np.float32]
    theta: NDArray[np.float32]
    signals: NDArray[np.float32]
    terms: Terms
    density: NDArray[np.float32]
    w: NDArray[np.float32]


class Scratch(NamedTuple):
    """Memory that voxel after voxel uses: points of the three steps (the first without t, theta, signals)."""

    shared: Points
    local: Points
    climb: Points
    nowhere: Spread
    state: State


class Kept(NamedTuple):
    """Points of each voxel, to keep: t (voxel, 3, n), and log (likelihood / density of the points) (voxel, n)."""

    t: NDArray[np.float32]
    log_ratio: NDArray[np.float32]


@njit(**JIT)
def new_points(n, n_b):
    """Memory of n points."""
    e = np.float32
    terms = Terms(np.zeros(n, e), np.zeros(n, e), np.zeros(n, e), np.zeros(n, e))
    return Points(
        np.zeros((3, n), e), np.zeros((3, n), e), np.zeros((n_b, n), e), terms, np.zeros(n, e), np.zeros(n, e)
    )


@njit(**JIT)
def new_scratch(problem, n_b):
    """Memory of one thread."""
    e, n_climb = np.float32, problem.sampling.climb
    state = State(np.zeros(3, e), np.zeros((3, 3), e), np.zeros((3, 3), e), np.zeros(3, e))
    nowhere = Spread(np.zeros(n_climb, e), np.zeros(n_climb, e))
    shared = new_points(problem.draws.t.shape[1], 1)
    return Scratch(shared, new_points(problem.proposal.n, n_b), new_points(n_climb, n_b), nowhere, state)


@njit(**JIT)
def _gather(points, theta, state, found):
    """Posterior moments from weighted points into found; returns the effective sample size."""
    log_w, w = points.terms.log_w, points.w
    highest, at = top(log_w)
    total, ess = weigh(log_w, highest, ONE, w)
    moments(w, total, theta, at, state.mean, state.covariance)
    put_moments(weighted(w, total, points.terms.s0), ess, state.mean, state.covariance, found)
    return ess


@njit(**JIT)
def _propose(points, t, tempered, state):
    """Mean and root of the covariance of t (3, n) under the weights, tempered until enough points carry weight."""
    log_w, w = points.terms.log_w, points.w
    highest, at = top(log_w)
    exponent = ONE
    total, ess = weigh(log_w, highest, exponent, w)
    for _ in range(HALVINGS):
        if ess >= tempered:
            break
        exponent *= np.float32(0.5)
        total, ess = weigh(log_w, highest, exponent, w)
    moments(w, total, t, at, state.mean, state.covariance)
    cholesky(state.covariance, state.root)


@njit(**JIT)
def evaluate(y, noise, prior, reference, spread, points):
    """Log-likelihood into points.terms.log_w (n,) and log prior into points.density (n,), at points.t (3, n)."""
    map_points(prior, points.t, points.theta)
    weighted_signals(noise, points.theta, points.signals)
    log_likelihood(y, points.signals, noise, reference, spread, points.terms)
    log_prior(prior, points.t, points.terms.rs, points.density)


@njit(**JIT)
def _keep_best(t, density, best):
    """Put t of the point with the largest density (n,) into best (3,); returns its place."""
    _, at = top(density)
    for k in range(3):
        best[k] = t[k, at]
    return at


@njit(**JIT)
def climb(y, noise, problem, start, scratch, found):
    """The maximum of the posterior density of (f, D, D*), from the best point so far, into found."""
    c, state, factor = scratch.climb, scratch.state, ONE
    log_w = c.terms.log_w
    for _ in range(CLIMBS):
        place(problem.proposal, start, state.best, state.root, factor, c.t)
        for k in range(3):
            c.t[k, 0] = state.best[k]  # the best so far is never lost
        evaluate(y, noise, problem.prior, found[rows.S0], scratch.nowhere, c)
        subtract_log_jacobian(problem.prior, c.t, c.density)
        for m in range(len(log_w)):
            log_w[m] += c.density[m]
        put_maximum(c.theta, _keep_best(c.t, log_w, state.best), found)
        factor *= SHRINK


@njit(**JIT)
def _tail(w, theta, target, below):
    """Put into below (3,) the posterior probability that f, D, D* lie below target (3,), where there is one."""
    for k in range(len(target)):
        inside, total = 0.0, 0.0
        for m in range(len(w)):
            total += w[m]
            inside += w[m] if theta[k, m] < target[k] else 0.0
        below[k] = inside / total


@njit(**JIT)
def first_look(y, noise, problem, scratch, found, target, below):
    """The posterior as the shared draws tell it, into found (row,) and below (3,); the best draw and a proposal into the state."""
    draws, points, state = problem.draws, scratch.shared, scratch.state
    log_likelihood(y, draws.signals, noise, ONE, draws.spread, points.terms)
    _gather(points, draws.theta, state, found)
    _tail(points.w, draws.theta, target, below)
    log_w, density, log_density = points.terms.log_w, points.density, draws.log_density
    for m in range(len(log_w)):
        density[m] = log_w[m] + log_density[m]
    put_maximum(draws.theta, _keep_best(draws.t, density, state.best), found)
    if problem.sampling.rounds > 0:
        _propose(points, draws.t, problem.sampling.tempered, state)


@njit(**JIT)
def local_rounds(y, number, noise, problem, scratch, found, target, below):
    """The local rounds, from the proposal in the state on: the best of them into found, below and the state.

    Returns where the last one's points began.
    """
    proposal, limits, points, state = problem.proposal, problem.sampling, scratch.local, scratch.state
    log_w, density = points.terms.log_w, points.density
    ess, start = ZERO, 0  # what led to the proposal is no answer: the shared draws are the same for all voxels
    trial = np.zeros(rows.ROWS, np.float32)
    for trip in range(limits.rounds):
        start = shift(proposal, limits.seed, number, trip)
        end = start + proposal.n
        place(proposal, start, state.mean, state.root, ONE, points.t)
        spread = Spread(proposal.spread.x[start:end], proposal.spread.minus_log_density[start:end])
        evaluate(y, noise, problem.prior, found[rows.S0], spread, points)
        minus_log_density = proposal.minus_log_density[start:end]
        for m in range(len(log_w)):
            log_w[m] += density[m] + minus_log_density[m]
        new = _gather(points, points.theta, state, trial)
        if new > ess:
            ess = new
            for k in range(rows.MAXIMUM):
                found[k] = trial[k]
            _tail(points.w, points.theta, target, below)
            for m in range(len(log_w)):
                density[m] = log_w[m] - minus_log_density[m]
            _keep_best(points.t, density, state.best)
        _propose(points, points.t, limits.tempered, state)
        if ess >= limits.target:
            break
    return start


@njit(**KERNEL)
def posterior_kernel(start, stop, first, signals, scale, targets, problem, results):
    """Posteriors of the voxels start..stop.

    Parameters
    ----------
    start, stop : the voxels
    first : number of voxel 0 in the whole data set: it decides which points a voxel gets
    signals : (voxel, b) float32
    scale : (voxel,) largest |signal|, 0 for a bad one (see `numerics.scaling`)
    targets : (voxel, 3) f, D, D* [µm²/ms] whose place in the posterior is asked for, or (voxel, 0)
    problem : `Problem`
    results : `Results`, filled at these voxels
    """
    scratch, local = new_scratch(problem, signals.shape[1]), problem.sampling.rounds > 0
    found = np.zeros(rows.ROWS, np.float32)
    y = np.zeros(signals.shape[1], np.float32)
    for v in range(start, stop):
        if scale[v] == 0:
            results.values[:, v] = np.nan
            results.outcome[v] = BAD_SIGNAL
            continue
        for i in range(len(y)):
            y[i] = signals[v, i] * problem.noise.root[i] / scale[v]
        noise = scaled(problem.noise, scale[v])
        # Rician noise: the global step only starts the local rounds, where there are any, and Gaussian noise is quicker
        sampled = NoiseModel(noise.b, noise.root, noise.s0, noise.sigma, noise.rician and not local)
        first_look(y, sampled, problem, scratch, found, targets[v], results.below[v])
        if local:
            begin = local_rounds(y, first + v, noise, problem, scratch, found, targets[v], results.below[v])
            climb(y, noise, problem, begin, scratch, found)
        finish(signals, v, scale[v], problem.noise.b, problem.sampling, found, results.values, results.outcome)


@njit(**KERNEL)
def kept_points_kernel(start, stop, signals, scale, problem, proposal, kept):
    """Points about the posteriors of the voxels start..stop of signals (voxel, b), all of them good, into `kept`.

    `proposal` gives the points that are kept; the other arguments are those of `posterior_kernel`.
    """
    scratch, points = new_scratch(problem, signals.shape[1]), new_points(proposal.n, signals.shape[1])
    found, y = np.zeros(rows.ROWS, np.float32), np.zeros(signals.shape[1], np.float32)
    target, below, state = np.zeros(0, np.float32), np.zeros(3, np.float32), scratch.state
    for v in range(start, stop):
        for i in range(len(y)):
            y[i] = signals[v, i] * problem.noise.root[i] / scale[v]
        noise = scaled(problem.noise, scale[v])
        sampled = NoiseModel(noise.b, noise.root, noise.s0, noise.sigma, False)
        first_look(y, sampled, problem, scratch, found, target, below)
        local_rounds(y, v, noise, problem, scratch, found, target, below)
        begin = shift(proposal, problem.sampling.seed, v, problem.sampling.rounds)
        end = begin + proposal.n
        place(proposal, begin, state.mean, state.root, problem.sampling.wider, points.t)
        spread = Spread(proposal.spread.x[begin:end], proposal.spread.minus_log_density[begin:end])
        evaluate(y, noise, problem.prior, found[rows.S0], spread, points)
        kept.t[v] = points.t
        volume = np.float32(math.log(state.root[0, 0] * state.root[1, 1] * state.root[2, 2]))
        for m in range(proposal.n):
            value = points.terms.log_w[m] + proposal.minus_log_density[begin + m] + volume
            kept.log_ratio[v, m] = value if points.density[m] > OUTSIDE else OUTSIDE


def posteriors(problem: Problem, signals: NDArray[np.float32], launch: Launch, first: int = 0,
               targets: NDArray[np.float32] | None = None, block: int = BLOCK) -> Results:  # fmt: skip
    """The posteriors of all signals, on the CPU.

    Parameters
    ----------
    problem : what is the same for all voxels
    signals : (voxel, b)
    launch : its threads
    first : number of the first voxel in the whole data set
    targets : (voxel, 3) f, D, D* [µm²/ms] whose place in the posterior is asked for
    block : voxels per call of the kernel; changes no result
    """
    n = len(signals)
    scale = np.empty(n, np.float32)
    scales(signals, scale)
    targets = np.empty((n, 0), np.float32) if targets is None else targets
    results = Results(np.empty((rows.ROWS, n), np.float32), np.empty(n, np.uint8), np.full((n, 3), np.nan, np.float32))
    run_blocks(launch, posterior_kernel, n, first, signals, scale, targets, problem, results, block=block)
    return results
