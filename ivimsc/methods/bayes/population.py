"""The population that voxels come from, learnt from their own signals: a mixture of Gaussians over (logit f, ln D, ln D*).

Each voxel of a sample gets points of its own about its posterior (`posterior.kept_points_kernel`), with the ratio of
likelihood to the density of the points. The likelihood of the population is then a sum over these points
for any mixture, and expectation and maximisation (EM) climbs it, made faster by squared extrapolation (Varadhan and Roland,
doi:10.1111/j.1467-9469.2007.00585.x). Points of one voxel are not those of another, so that no component can shrink onto
a few shared draws. When EM has converged, the points are renewed under the mixture found, and EM goes on, until new
points change it no more.

Every component has a proper prior (inverse Wishart for its covariance, normal for its mean), so that there is an optimum
to converge to: one tissue, with the spread that tissues have, unless the data say otherwise. One more component is fixed:
the broad prior, with a share of at least `BROAD`, for voxels unlike any of the sample.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import SUM_JIT
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods.bayes.draws import make_proposal, prior_draws
from ivimsc.methods.bayes.likelihood import NoiseModel
from ivimsc.methods.bayes.posterior import Kept, kept_points_kernel
from ivimsc.methods.bayes.priors import Prior, gaussian_prior
from ivimsc.methods.bayes.problem import Problem, Sampling
from ivimsc.numerics.lanes import exp32
from ivimsc.numerics.scaling import scales

__all__ = ["Mixture", "Population", "learn_population", "mixture_prior", "variance_left"]

ZERO, ONE = np.float32(0), np.float32(1)
BLOCK = 64  # voxels whose sums are made together: fixed, so that threads cannot change the order of a sum
COMPONENTS = 12
BROAD = 0.01  # least share of the broad prior
TISSUE = np.diag(np.square([0.3, 0.1, 0.3]))  # covariance within a tissue: of logit f, ln D, ln D*
WORTH = 20.0  # voxels that the prior of a covariance counts as
MOMENTS = 10  # sums of a component: its weight, and its first and second moments
DRAWS, POINTS, KEPT = 2048, 512, 256  # shared draws; points of a local round; points that are kept
WIDER, SHIFTS = np.float32(1.15), 8192  # the kept points lie wider than the posterior; places where they may begin
TARGET, TEMPERED, ROUNDS = np.float32(150), np.float32(50), 4  # of the local rounds, as in `problem.Sampling`
PARTS = 4, 2, 1, 1  # every fourth voxel at first, then all: one set of points each
MOST, TOLERANCE = 150, 0.5  # EM steps for one set of points; gain of the log-likelihood at which they have converged
SPENT = 1e9  # growth of Σ w² by this much over the number of points, from which the points are spent
NEAR_NOISE = 3.0  # noise SDs: where the Rician likelihood differs from the Gaussian one
CORRECT = np.float32(0.0)
LONGEST = 32.0  # extrapolation
SCALE = np.array([0.5, 0.12, 0.5])  # by which the first components are told apart: about a posterior SD


class Mixture(NamedTuple):
    """Gaussians over (logit f, ln D, ln D*): weights (c,), means (c, 3), covariances (c, 3, 3); the last is the broad prior."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]


class Population(NamedTuple):
    """The mixture; the EM steps taken; whether the last of them moved nothing any more."""

    mixture: Mixture
    steps: int
    converged: bool


class _Place(NamedTuple):
    """A mixture, its sums, the log of its likelihood times its prior, and the mean Σ w² of the points."""

    mixture: Mixture
    sums: NDArray[np.float64]
    value: float
    spent: float


@njit(**SUM_JIT, cache=True)
def _expectation(start, stop, kept, constants, means, whiten, sums, told):
    """Add the voxels start..stop to sums (block, component, moment), and to told (block, 2) their log-likelihood and Σ w² of their points."""
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
        everything = squares = ZERO
        for m in range(n):
            everything += total[m]
            squares += total[m] * total[m]
        inverse = ONE / everything
        squares *= inverse * inverse
        told[block, 0] += np.log(np.float64(everything)) + highest + CORRECT * 0.5 * squares
        told[block, 1] += squares
        for m in range(n):
            total[m] = inverse * (ONE + CORRECT * (total[m] * inverse - squares))
        for c in range(n_c):
            row, out, m0, m1, m2 = w[c], sums[block, c], means[c, 0], means[c, 1], means[c, 2]
            s = s0 = s1 = s2 = s00 = s01 = s11 = s02 = s12 = s22 = ZERO
            for m in range(n):
                d0, d1, d2, g = x[m] - m0, y[m] - m1, z[m] - m2, row[m] * total[m]
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


def _sums(kept: Kept, mixture: Mixture, launch: Launch) -> tuple[NDArray[np.float64], float, float]:
    """Moments (component, moment) about the means, summed over the voxels; their log-likelihood; Σ w² of their points."""
    whiten = np.linalg.inv(np.linalg.cholesky(mixture.covariances))
    constants = np.log(mixture.weights) + np.log(np.einsum("cii->ci", whiten)).sum(1) - 1.5 * np.log(2 * np.pi)
    blocks = -(-len(kept.t) // BLOCK)
    sums, told = np.zeros((blocks, len(constants), MOMENTS)), np.zeros((blocks, 2))
    small = (a.astype(np.float32) for a in (constants, mixture.means, whiten))
    run_blocks(launch, _expectation, len(kept.t), kept, *small, sums, told, block=BLOCK)
    return sums.sum(0), *told.sum(0)


def _penalty(mixture: Mixture, broad: Mixture) -> float:
    """Log density of the mixture's own prior, up to a constant."""
    precision = np.linalg.inv(mixture.covariances[:-1])
    value = (
        -0.5 * WORTH * (np.einsum("cij,ji->", precision, TISSUE) + np.linalg.slogdet(mixture.covariances[:-1])[1].sum())
    )
    away = mixture.means[:-1] - broad.means[0]
    return float(value - 0.5 * np.einsum("ci,ij,cj->", away, np.linalg.inv(broad.covariances[0]), away))


def _maximise(sums: NDArray[np.float64], mixture: Mixture, broad: Mixture) -> Mixture:
    """The M step; the last component, the broad prior, changes its share alone."""
    count = sums[:, 0]
    safe = np.maximum(count, 1e-9)[:, None]
    moved = sums[:, 1:4] / safe
    second = np.empty((len(count), 3, 3))
    for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))):
        second[:, i, j] = second[:, j, i] = sums[:, 4 + k]
    precision = np.linalg.inv(mixture.covariances) * count[:, None, None]
    prior = np.linalg.inv(broad.covariances[0])
    target = np.einsum("cij,cj->ci", precision, mixture.means + moved) + prior @ broad.means[0]
    means = np.linalg.solve(precision + prior, target[:, :, None])[:, :, 0]
    off = means - mixture.means
    scatter = second - np.einsum("ci,cj->cij", sums[:, 1:4], off) - np.einsum("ci,cj->cij", off, sums[:, 1:4])
    scatter += count[:, None, None] * np.einsum("ci,cj->cij", off, off)
    covariances = (scatter + WORTH * TISSUE) / (count + WORTH)[:, None, None]
    means[-1], covariances[-1] = broad.means[0], broad.covariances[0]
    return Mixture(_shares(count), means, covariances)


def _shares(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the components, the last at least `BROAD`."""
    weights = np.maximum(count / count.sum(), 1e-7)
    last = max(weights[-1], BROAD)
    weights[:-1] *= (1 - last) / weights[:-1].sum()
    weights[-1] = last
    return weights


def _to_vector(mixture: Mixture) -> NDArray[np.float64]:
    """Coordinates without bounds: log weights, means, and the roots of the covariances with the log of their diagonals."""
    root = np.linalg.cholesky(mixture.covariances)
    k = np.arange(3)
    root[:, k, k] = np.log(root[:, k, k])
    lower = root[:, *np.tril_indices(3)]
    return np.concatenate([np.log(mixture.weights), mixture.means.ravel(), lower.ravel()])


def _from_vector(vector: NDArray[np.float64], broad: Mixture) -> Mixture:
    n = len(vector) // 10
    root = np.zeros((n, 3, 3))
    root[:, *np.tril_indices(3)] = vector[4 * n :].reshape(n, 6)
    k = np.arange(3)
    root[:, k, k] = np.exp(np.clip(root[:, k, k], -7, 3))
    weights = np.exp(vector[:n] - vector[:n].max())
    means, covariances = vector[n : 4 * n].reshape(n, 3).copy(), root @ root.transpose(0, 2, 1)
    means[-1], covariances[-1] = broad.means[0], broad.covariances[0]
    return Mixture(_shares(weights), means, covariances)


def _climb(kept: Kept, mixture: Mixture, broad: Mixture, launch: Launch) -> Population:
    """EM with squared extrapolation until it has converged, or the points are spent."""

    def look(some: Mixture) -> _Place:
        sums, value, squares = _sums(kept, some, launch)
        return _Place(some, sums, value + _penalty(some, broad), squares / len(kept.t))

    here, steps = look(mixture), 0
    limit = here.spent + SPENT / KEPT
    while steps < MOST:
        one = look(_maximise(here.sums, here.mixture, broad))
        two = _maximise(one.sums, one.mixture, broad)
        there = look(_extrapolated(here.mixture, one.mixture, two, broad))
        steps += 3
        if not (there.value >= one.value and there.spent <= limit):
            there, steps = look(two), steps + 1
        if there.spent > limit:
            return Population(here.mixture, steps, False)
        gain, here = there.value - here.value, there
        if gain < TOLERANCE:
            return Population(here.mixture, steps, True)
    return Population(here.mixture, steps, False)


def _extrapolated(first: Mixture, second: Mixture, third: Mixture, broad: Mixture) -> Mixture:
    """Where three mixtures in a row of EM lead to, at least the third: the scheme S3 of Varadhan and Roland."""
    a, b, c = (_to_vector(mixture) for mixture in (first, second, third))
    r, v = b - a, (c - b) - (b - a)
    length = max(1.0, min(np.sqrt((r @ r) / max(v @ v, 1e-300)), LONGEST))
    return _from_vector(a + 2 * length * r + length**2 * v, broad)


def _keep_points(noise: NoiseModel, signals: NDArray[np.float32], prior: Prior, seed: int, launch: Launch) -> Kept:
    """Points of all voxels. The Rician likelihood is for voxels near the noise: its points carry the noise of their S0."""
    limits = Sampling(TARGET, ZERO, ROUNDS, TEMPERED, 1, seed, wider=WIDER)
    draws, kept_proposal = prior_draws(noise, prior, DRAWS, seed), make_proposal(KEPT, 4, SHIFTS)
    kept = Kept(np.empty((len(signals), 3, KEPT), np.float32), np.empty((len(signals), KEPT), np.float32))
    low = signals.min(1) < NEAR_NOISE * noise.sigma
    for rician in (False, True):
        which = np.flatnonzero((low & noise.rician) == rician)
        some, scale = np.ascontiguousarray(signals[which]), np.empty(len(which), np.float32)
        scales(some, scale)
        part = Kept(np.empty((len(which), 3, KEPT), np.float32), np.empty((len(which), KEPT), np.float32))
        problem = Problem(noise._replace(rician=rician), prior, draws, make_proposal(POINTS, 1, SHIFTS), limits)
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
    return Mixture(_shares(count), np.append(means, broad.means, 0), np.append(covariances, broad.covariances, 0))


def variance_left(
    signals: NDArray[np.float32], noise: NoiseModel, broad: Mixture, bounds: NDArray, launch: Launch
) -> float:
    """The part of the broad prior's variance of ln D that the data leave, on average over the voxels: 1 tells nothing."""
    kept = _keep_points(noise, signals, mixture_prior(broad, bounds), 0, launch)
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
    mixture, steps, converged = broad, 0, False
    for k, part in enumerate(PARTS):
        some = np.ascontiguousarray(signals[k % part :: part]) if len(signals) > 1000 else signals
        kept = _keep_points(noise, some, mixture_prior(mixture, bounds), seed + k, launch)
        mixture = _first_mixture(kept, broad, seed) if k == 0 else mixture
        mixture, more, converged = _climb(kept, mixture, broad, launch)
        steps += more
    return Population(mixture, steps, converged)
