"""The population that voxels come from, learnt from their own signals: a mixture of Gaussians over (logit f, ln D, ln D*).

Each voxel of a sample gets points of its own about its posterior (`posterior.kept_points_kernel`), with the ratio of
likelihood to the density of the points. The likelihood of the population is then a sum over these points
for any mixture, and a quasi-Newton search (L-BFGS) finds the likeliest. Expectation and maximisation would stop long before:
where one voxel tells little, such as D* of the brain, it takes thousands of steps. Points of one voxel are not those of
another, so that no component can shrink onto a few shared draws.
Components that earn less of the likelihood than their free numbers are taken out or made one before the next search.
A sum over few points favours the mixture that they were made for. So the points are made anew under the mixture found, and
there are more of them, for a second search.

Every component has a proper prior (inverse Wishart for its covariance, normal for its mean), so that there is an optimum
to converge to: one tissue, with the spread that tissues have, unless the data say otherwise. One more component is fixed:
the broad prior, with a share of at least `mixture.BROAD`, for voxels unlike any of the sample.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import minimize

from ivimsc.compiling import SUM_JIT
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods.bayes.draws import make_proposal, prior_draws
from ivimsc.methods.bayes.likelihood import NoiseModel
from ivimsc.methods.bayes.mixture import (
    BROAD,
    MOMENTS,
    TISSUE,
    WORTH,
    Chart,
    Mixture,
    chart,
    fewer,
    log_penalty,
    shares,
)
from ivimsc.methods.bayes.posterior import Kept, kept_points_kernel
from ivimsc.methods.bayes.priors import Prior, gaussian_prior
from ivimsc.methods.bayes.problem import Problem, Sampling
from ivimsc.numerics.lanes import exp32
from ivimsc.numerics.scaling import scales

__all__ = ["Population", "learn_population", "mixture_prior", "variance_left"]

ZERO, ONE = np.float32(0), np.float32(1)
BLOCK = 64  # voxels whose sums are made together: fixed, so that threads cannot change the order of a sum
COMPONENTS = 20
LEAST = 2e-3  # share of a component that goes on to the second search
EARNS = 10.0  # of the log-likelihood that a component must be worth: its free numbers (Akaike)
PAIRS = 4  # of components that may be one
ENOUGH, SOME_POINTS = 2048, 128  # voxels, and points of each, that tell what a component earns
DRAWS, POINTS = 2048, 512  # shared draws; points of a local round
WIDER, SHIFTS = np.float32(1.15), 8192  # the kept points lie wider than the posterior; places where they may begin
TARGET, TEMPERED, ROUNDS = np.float32(150), np.float32(50), 4  # of the local rounds, as in `problem.Sampling`
SEARCHES = (  # points of a voxel; gain of the log-likelihood in a step at which a search has converged; how far it may go
    (256, 0.5, np.inf),
    (256, 0.5, 1.0),
    (256, 0.5, 1.0),
    (512, 0.1, 1.0),
)
MOST, MEMORY = 400, 20  # evaluations in a search; steps that it remembers
TOLD = 256  # points of a voxel that say whether the data tell a population
NEAR_NOISE = 3.0  # noise SDs: where the Rician likelihood differs from the Gaussian one
SCALE = np.array([0.5, 0.12, 0.5])  # by which the first components are told apart: about a posterior SD


class Population(NamedTuple):
    """The mixture; evaluations of its likelihood; whether the last search converged."""

    mixture: Mixture
    steps: int
    converged: bool


@njit(**SUM_JIT, cache=True)
def _expectation(start, stop, kept, constants, means, whiten, sums, told):
    """Add the voxels start..stop to sums (block, component, moment), and their log-likelihood to told (block,)."""
    n_c, n = len(constants), kept.t.shape[2]
    w = np.empty((n_c, n), np.float32)
    high, total = np.empty(n, np.float32), np.empty(n, np.float32)
    for v in range(start, stop):
        block = v // BLOCK
        x, y, z = kept.t[v, 0], kept.t[v, 1], kept.t[v, 2]
        ratio = kept.log_ratio[v]
        high[:] = np.float32(-1e30)
        for c in range(n_c):
            row, a, m0, m1, m2 = w[c], whiten[c], means[c, 0], means[c, 1], means[c, 2]
            a00, a10, a11, a20, a21, a22 = a[0, 0], a[1, 0], a[1, 1], a[2, 0], a[2, 1], a[2, 2]
            constant = constants[c]
            for m in range(n):
                d0, d1, d2 = x[m] - m0, y[m] - m1, z[m] - m2
                p, q, r = a00 * d0, a10 * d0 + a11 * d1, a20 * d0 + a21 * d1 + a22 * d2
                row[m] = constant + ratio[m] - np.float32(0.5) * (p * p + q * q + r * r)
                high[m] = max(high[m], row[m])
        highest = np.float32(-1e30)
        for m in range(n):
            highest = max(highest, high[m])
        total[:] = ZERO
        for c in range(n_c):
            row = w[c]
            for m in range(n):
                row[m] = exp32(row[m] - highest)
                total[m] += row[m]
        everything = ZERO
        for m in range(n):
            everything += total[m]
        inverse = ONE / everything
        told[block] += np.log(np.float64(everything)) + highest
        for c in range(n_c):
            row, out, m0, m1, m2 = w[c], sums[block, c], means[c, 0], means[c, 1], means[c, 2]
            s = s0 = s1 = s2 = s00 = s01 = s11 = s02 = s12 = s22 = ZERO
            for m in range(n):
                d0, d1, d2, g = x[m] - m0, y[m] - m1, z[m] - m2, row[m] * inverse
                g0, g1, g2 = g * d0, g * d1, g * d2
                s += g
                s0 += g0
                s1 += g1
                s2 += g2
                s00 += g0 * d0
                s01 += g0 * d1
                s11 += g1 * d1
                s02 += g0 * d2
                s12 += g1 * d2
                s22 += g2 * d2
            out[0] += s
            out[1] += s0
            out[2] += s1
            out[3] += s2
            out[4] += s00
            out[5] += s01
            out[6] += s11
            out[7] += s02
            out[8] += s12
            out[9] += s22


def _sums(kept: Kept, mixture: Mixture, launch: Launch) -> tuple[NDArray[np.float64], float]:
    """Moments (component, moment) about the means, summed over the voxels; and their log-likelihood."""
    whiten = np.linalg.inv(np.linalg.cholesky(mixture.covariances))
    constants = np.log(mixture.weights) + np.log(np.einsum("cii->ci", whiten)).sum(1) - 1.5 * np.log(2 * np.pi)
    blocks = -(-len(kept.t) // BLOCK)
    sums, told = np.zeros((blocks, len(constants), MOMENTS)), np.zeros(blocks)
    small = (a.astype(np.float32) for a in (constants, mixture.means, whiten))
    run_blocks(launch, _expectation, len(kept.t), kept, *small, sums, told, block=BLOCK)
    return sums.sum(0), float(told.sum())


def _search(kept: Kept, about: Chart, tolerance: float, launch: Launch) -> Population:
    """The likeliest mixture for these points, by L-BFGS; it has converged when a step gains less than `tolerance`."""

    def value_and_slope(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        mixture = about.mixture(x)
        sums, value = _sums(kept, mixture, launch)
        return -value - log_penalty(mixture, about.broad), -about.gradient(x, sums)

    limits = about.limits
    begin, _ = value_and_slope(np.zeros(len(limits)))
    best = minimize(value_and_slope, np.zeros(len(limits)), jac=True, method="L-BFGS-B", bounds=limits, options={
        "maxcor": MEMORY, "maxfun": MOST, "maxiter": MOST, "ftol": tolerance / abs(begin), "gtol": 0})  # fmt: skip
    return Population(about.mixture(best.x), best.nfev, bool(best.success))


def _keep_points(noise: NoiseModel, signals: NDArray[np.float32], prior: Prior, number: int, seed: int,
                 launch: Launch) -> Kept:  # fmt: skip
    """So many points of each voxel. The Rician likelihood is for voxels near the noise: its points carry the noise of their S0."""
    limits = Sampling(TARGET, ZERO, ROUNDS, TEMPERED, 1, seed, wider=WIDER)
    draws, kept_proposal = prior_draws(noise, prior, DRAWS, seed), make_proposal(number, 4, SHIFTS)
    kept = Kept(np.empty((len(signals), 3, number), np.float32), np.empty((len(signals), number), np.float32))
    low = signals.min(1) < NEAR_NOISE * noise.sigma
    for rician in (False, True):
        which = np.flatnonzero((low & noise.rician) == rician)
        some, scale = np.ascontiguousarray(signals[which]), np.empty(len(which), np.float32)
        if noise.rician and not rician:
            # the mean of a magnitude lies above its signal by about half of its noise variance over it
            some = np.sqrt(np.maximum(some * some - noise.sigma * noise.sigma, 0)).astype(np.float32)
        scales(some, scale)
        part = Kept(np.empty((len(which), 3, number), np.float32), np.empty((len(which), number), np.float32))
        problem = Problem(
            noise._replace(rician=rician, root=np.ones_like(noise.root) if rician else noise.root),
            prior,
            draws,
            make_proposal(POINTS, 1, SHIFTS),
            limits,
        )
        run_blocks(launch, kept_points_kernel, len(which), some, scale, problem, kept_proposal, part, block=BLOCK)
        kept.t[which], kept.log_ratio[which] = part
    return kept


def mixture_prior(mixture: Mixture, bounds: NDArray[np.float64]) -> Prior:
    """The mixture as the kernels take it, without the components that weigh nothing."""
    some = mixture.weights > 1e-4
    return gaussian_prior(*(part[some] for part in mixture), bounds)


def _posterior_weights(kept: Kept, broad: Mixture) -> NDArray[np.float64]:
    """Weights (voxel, n) of the points under the broad prior, normalised."""
    away = kept.t - broad.means[0][:, None]
    square = np.einsum("vin,ij,vjn->vn", away, np.linalg.inv(broad.covariances[0]), away, optimize=True)
    logs = kept.log_ratio - 0.5 * square
    w = np.exp(logs - logs.max(1, keepdims=True))
    return w / w.sum(1, keepdims=True)


def _first_mixture(kept: Kept, broad: Mixture, seed: int) -> Mixture:
    """Posterior means under the broad prior, cut into clusters (k-means++); each with the spread of its posteriors."""
    w = _posterior_weights(kept, broad)
    y = np.einsum("vn,vin->vi", w, kept.t) / SCALE
    random = np.random.Generator(np.random.Philox(seed))
    centres = y[random.integers(len(y))][None]
    while len(centres) < COMPONENTS:
        distance = ((y[:, None] - centres) ** 2).sum(2).min(1) + 1e-9
        centres = np.append(centres, y[random.choice(len(y), p=distance / distance.sum())][None], 0)
    for _ in range(20):
        own = ((y[:, None] - centres) ** 2).sum(2).argmin(1)
        centres = np.stack([y[own == c].mean(0) if np.any(own == c) else centres[c] for c in range(COMPONENTS)])
    means, covariances = centres * SCALE, np.empty((COMPONENTS, 3, 3))
    for c in range(COMPONENTS):
        away = kept.t[own == c] - means[c][:, None]
        scatter = np.einsum("vn,vin,vjn->ij", w[own == c], away, away, optimize=True)
        covariances[c] = (scatter + WORTH * TISSUE) / (np.sum(own == c) + WORTH)
    count = np.append(np.bincount(own, minlength=COMPONENTS) + 1.0, BROAD * len(y))
    return Mixture(shares(count), np.append(means, broad.means, 0), np.append(covariances, broad.covariances, 0))


def _without_small(mixture: Mixture) -> Mixture:
    some = mixture.weights > LEAST
    weights, means, covariances = (part[some] for part in mixture)
    return Mixture(shares(weights), means, covariances)


def _simpler(kept: Kept, mixture: Mixture, launch: Launch) -> Mixture:
    """The mixture with fewer components, as long as each that goes costs less of the log-likelihood than `EARNS`.

    Some of the voxels, and some of their points, are enough to tell.
    """
    every = max(len(kept.t) // ENOUGH, 1)
    some = Kept(*(np.ascontiguousarray(a[::every, ..., :SOME_POINTS]) for a in kept))
    value = _sums(some, mixture, launch)[1]
    while trials := [(_sums(some, trial, launch)[1], trial) for trial in fewer(mixture, PAIRS)]:
        new, trial = max(trials, key=lambda pair: pair[0])
        if (value - new) * every > EARNS:
            break
        mixture, value = trial, new
    return mixture


def variance_left(
    signals: NDArray[np.float32], noise: NoiseModel, broad: Mixture, bounds: NDArray, launch: Launch
) -> float:
    """The part of the broad prior's variance of ln D that the data leave, on average over the voxels: 1 tells nothing."""
    kept = _keep_points(noise, signals, mixture_prior(broad, bounds), TOLD, 0, launch)
    w, x = _posterior_weights(kept, broad), kept.t[:, 1].astype(np.float64)
    mean = (w * x).sum(1)
    return float(np.mean((w * x * x).sum(1) - mean * mean) / broad.covariances[0, 1, 1])


def learn_population(signals: NDArray[np.float32], noise: NoiseModel, broad: Mixture, bounds: NDArray[np.float64],
                     seed: int, launch: Launch) -> Population:  # fmt: skip
    """The population of a sample of voxels.

    Parameters
    ----------
    signals : (voxel, b), all of them good
    noise : of these signals
    broad : the broad prior, one Gaussian
    bounds : (3, 2) bounds of f, D, D* [µm²/ms], which hold for the prior too
    seed : shifts the points
    launch : its threads
    """
    found = Population(broad, 0, False)
    for k, (number, tolerance, near) in enumerate(SEARCHES):
        kept = _keep_points(noise, signals, mixture_prior(found.mixture, bounds), number, seed + k, launch)
        first = _simpler(kept, _without_small(found.mixture), launch) if k else _first_mixture(kept, broad, seed)
        more = _search(kept, chart(first, broad, len(kept.t), near), tolerance, launch)
        found = more._replace(steps=found.steps + more.steps)
    return found
