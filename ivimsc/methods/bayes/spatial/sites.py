"""What each voxel's own signal says, as a Gaussian over (logit f, ln D, ln D*): its site, as in expectation propagation.

The points about the voxel's posterior under the population give its mean m and covariance S. The likelihood times a wide
Gaussian about m, of covariance 2 S, has moments of its own; dividing by that Gaussian leaves the site. Far from m, where a likelihood that tells little of D* is no Gaussian at all, nothing is asked of it: a site has its mean within
ten SDs of the wide Gaussian, moved there in the directions in which it says least. (A wider one, with the spread of a tissue, was tried, and gave far larger errors.)
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.likelihood import NoiseModel, Spread, scaled
from ivimsc.methods.bayes.posterior import OUTSIDE, evaluate, first_look, local_rounds, new_points, new_scratch
from ivimsc.methods.bayes.priors import Prior
from ivimsc.methods.bayes.spatial.gaussians import along, definite, evidence, inverse, plus, scaled_by
from ivimsc.methods.bayes.weighted_points import place, shift

__all__ = ["Beliefs", "Population", "Sites", "empty_beliefs", "empty_sites", "population_of", "sites_kernel"]

BASE, FARTHEST = (
    2.0,
    3.0,
)  # covariance of the wide Gaussian over that of the posterior; SDs of it that a site may lie away
LEAST = 1e-2  # precision of a site in any direction: an SD of 10 is no knowledge
FLOOR = 1e-6  # variance that is added to those of points


class Beliefs(NamedTuple):
    """A Gaussian for each voxel.

    Attributes
    ----------
    mean : (voxel, 3)
    covariance : (voxel, 6), as in `gaussians`
    lent : (voxel, 6) the covariance with which the voxel stands in the priors of its neighbours; see `sweeps`
    """

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    lent: NDArray[np.float32]


class Measured(NamedTuple):
    """A Gaussian factor for each voxel: mean (voxel, 3), and precision (voxel, 6), which float32 holds better than its inverse."""

    mean: NDArray[np.float32]
    precision: NDArray[np.float32]


class Sites(NamedTuple):
    """What each voxel's signal says alone, and what follows with the population for a prior.

    Attributes
    ----------
    own : the site
    with_population : mean and covariance of site × population
    told : (voxel,) log ∫ site × population
    """

    own: Measured
    with_population: Beliefs
    told: NDArray[np.float32]


class Population(NamedTuple):
    """The components of the population as the sweeps take them: log weight (c,), mean (c, 3), covariance (c, 6)."""

    log_weight: NDArray[np.float64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def empty_beliefs(n: int) -> Beliefs:
    """Beliefs of n voxels, all NaN."""
    return Beliefs(*(np.full((n, k), np.nan, np.float32) for k in (3, 6, 6)))


def empty_sites(n: int) -> Sites:
    """Sites of n voxels, all NaN."""
    own = Measured(*(np.full((n, k), np.nan, np.float32) for k in (3, 6)))
    return Sites(own, empty_beliefs(n), np.full(n, np.nan, np.float32))


def population_of(prior: Prior) -> Population:
    """The components of a prior that is a mixture of Gaussians."""
    root = np.linalg.inv(prior.whiten.astype(np.float64))
    covariance = root @ root.transpose(0, 2, 1)
    log_weight = prior.constants + np.log(np.einsum("cii->ci", root)).sum(1) + 1.5 * np.log(2 * np.pi)
    upper = np.triu_indices(3)
    return Population(log_weight - np.log(np.exp(log_weight).sum()), prior.means.astype(np.float64),
                      np.ascontiguousarray(covariance[:, upper[0], upper[1]]))  # fmt: skip


@njit(**JIT)
def _moments(t, logs):
    """Mean and covariance of points t (3, n) whose log weights are `logs` (n,)."""
    highest = logs[0]
    for m in range(len(logs)):
        highest = max(highest, logs[m])
    s = x = y = z = 0.0
    for m in range(len(logs)):
        w = math.exp(np.float64(logs[m] - highest))
        s += w
        x += w * t[0, m]
        y += w * t[1, m]
        z += w * t[2, m]
    x, y, z = x / s, y / s, z / s
    a = b = c = d = e = f = 0.0
    for m in range(len(logs)):
        w, p, q, r = math.exp(np.float64(logs[m] - highest)), t[0, m] - x, t[1, m] - y, t[2, m] - z
        a += w * p * p
        b += w * p * q
        c += w * p * r
        d += w * q * q
        e += w * q * r
        f += w * r * r
    return x, y, z, (a / s + FLOOR, b / s, c / s, d / s + FLOOR, e / s, f / s + FLOOR)


@njit(**JIT)
def _put(mean, square, v, x, y, z, values):
    mean[v, 0], mean[v, 1], mean[v, 2] = x, y, z
    for k in range(6):
        square[v, k] = values[k]


@njit(**JIT)
def six(row):
    """Six numbers of an array as a tuple of float64."""
    return float(row[0]), float(row[1]), float(row[2]), float(row[3]), float(row[4]), float(row[5])


@njit(**JIT)
def _not_far(precision, base, h0, h1, h2):
    """Where a site lies whose precision times mean is (h0, h1, h2): precision⁻¹ h, or as near to that as `FARTHEST` allows."""
    pull = 0.0
    while True:
        a, b, c = along(inverse(plus(precision, scaled_by(base, pull)))[0], h0, h1, h2)
        x, y, z = along(base, a, b, c)
        if not a * x + b * y + c * z > FARTHEST * FARTHEST:
            return a, b, c
        pull = max(2.0 * pull, 1e-3)


@njit(**JIT)
def _put_site(t, log_ratio, density, own, v):
    """The site of a voxel from its points t (3, n), log (likelihood / density of the points), and log prior `density`."""
    logs = np.empty(len(log_ratio), np.float32)
    for m in range(len(logs)):
        logs[m] = log_ratio[m] + density[m]
    x, y, z, spread = _moments(t, logs)
    base, _ = inverse(scaled_by(spread, BASE))
    for m in range(len(logs)):
        p, q, r = t[0, m] - x, t[1, m] - y, t[2, m] - z
        a, b, c = along(base, p, q, r)
        logs[m] = log_ratio[m] - 0.5 * (a * p + b * q + c * r)
    mx, my, mz, tilted = _moments(t, logs)
    mx, my, mz = mx - x, my - y, mz - z
    precision = definite(plus(inverse(tilted)[0], scaled_by(base, -1.0)), LEAST)
    h0, h1, h2 = along(plus(precision, base), mx, my, mz)
    a, b, c = _not_far(precision, base, h0, h1, h2)
    _put(own.mean, own.precision, v, x + a, y + b, z + c, precision)


@njit(**JIT)
def _meet_population(sites, v, population, logs, trial):
    """Site × population of the voxel v; scratch: logs (c,), trial (c, 9)."""
    p = six(sites.own.precision[v])
    s0, s1, s2 = float(sites.own.mean[v, 0]), float(sites.own.mean[v, 1]), float(sites.own.mean[v, 2])
    for k in range(len(logs)):
        mean, a = population.mean[k], population.covariance[k]
        log_density, step, rest = evidence(six(a), p, s0 - mean[0], s1 - mean[1], s2 - mean[2])
        logs[k] = population.log_weight[k] + log_density
        trial[k, 0], trial[k, 1], trial[k, 2] = mean[0] + step[0], mean[1] + step[1], mean[2] + step[2]
        trial[k, 3], trial[k, 4], trial[k, 5], trial[k, 6], trial[k, 7], trial[k, 8] = rest
    told, x, y, z, covariance = collapse(logs, trial, len(logs))
    sites.told[v] = told
    _put(sites.with_population.mean, sites.with_population.covariance, v, x, y, z, covariance)


@njit(**JIT)
def collapse(logs, trial, n):
    """Log of the sum of n weights, which then stand in logs (n,); mean and covariance of the mixture with them.

    trial (n, 9): mean and covariance of each component.
    """
    highest = -1e300
    for k in range(n):
        highest = max(highest, logs[k])
    s = x = y = z = 0.0
    for k in range(n):
        logs[k] = math.exp(logs[k] - highest)
        s += logs[k]
    for k in range(n):
        logs[k] /= s
        x += logs[k] * trial[k, 0]
        y += logs[k] * trial[k, 1]
        z += logs[k] * trial[k, 2]
    a = b = c = d = e = f = 0.0
    for k in range(n):
        w, p, q, r = logs[k], trial[k, 0] - x, trial[k, 1] - y, trial[k, 2] - z
        a += w * (trial[k, 3] + p * p)
        b += w * (trial[k, 4] + p * q)
        c += w * (trial[k, 5] + p * r)
        d += w * (trial[k, 6] + q * q)
        e += w * (trial[k, 7] + q * r)
        f += w * (trial[k, 8] + r * r)
    return highest + math.log(s), x, y, z, (a, b, c, d, e, f)


@njit(**KERNEL)
def sites_kernel(start, stop, first, signals, scale, problem, kept, population, sites):
    """Sites of the voxels start..stop of signals (voxel, b), whose numbers in the data set begin at `first`.

    Parameters
    ----------
    start, stop, first, signals, scale, problem : as for `posterior.posterior_kernel`
    kept : `Proposal` of the points that the site is told from
    population : `Population`, the prior of `problem`
    sites : `Sites`, filled at first + v; NaN stays for bad signals
    """
    scratch, points = new_scratch(problem, signals.shape[1]), new_points(kept.n, signals.shape[1])
    found, y = np.zeros(rows.ROWS, np.float32), np.zeros(signals.shape[1], np.float32)
    target, below, state = np.zeros(0, np.float32), np.zeros(3, np.float32), scratch.state
    logs, trial = np.empty(len(population.mean)), np.empty((len(population.mean), 9))
    log_ratio = np.empty(kept.n, np.float32)
    for v in range(start, stop):
        if scale[v] == 0:
            continue
        for i in range(len(y)):
            y[i] = signals[v, i] * problem.noise.root[i] / scale[v]
        noise = scaled(problem.noise, scale[v])
        sampled = NoiseModel(noise.b, noise.root, noise.s0, noise.sigma, False)
        first_look(y, sampled, problem, scratch, found, target, below)
        local_rounds(y, first + v, noise, problem, scratch, found, target, below)
        begin = shift(kept, problem.sampling.seed, first + v, problem.sampling.rounds)
        end = begin + kept.n
        place(kept, begin, state.mean, state.root, problem.sampling.wider, points.t)
        spread = Spread(kept.spread.x[begin:end], kept.spread.minus_log_density[begin:end])
        evaluate(y, noise, problem.prior, found[rows.S0], spread, points)
        for m in range(kept.n):
            value = points.terms.log_w[m] + kept.minus_log_density[begin + m]
            log_ratio[m] = value if points.density[m] > OUTSIDE else OUTSIDE
        _put_site(points.t, log_ratio, points.density, sites.own, first + v)
        _meet_population(sites, first + v, population, logs, trial)


__all__ += ["collapse", "six"]
