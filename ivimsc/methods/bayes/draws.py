"""The point sets of a posterior: draws of the prior that all voxels share, and the points of the local rounds."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import fdtri, gammaln, stdtrit

from ivimsc.methods.bayes.likelihood import NoiseModel, Spread, weighted_signals
from ivimsc.methods.bayes.priors import Prior, draw, log_prior, low_discrepancy, parameters, subtract_log_jacobian

__all__ = ["SHIFTS", "Draws", "Proposal", "empirical_draws", "make_proposal", "prior_draws"]

FREEDOM = 5  # of the Student t: tails heavier than those of a posterior, so that weights stay bounded
SHIFTS = 65536  # places where the local points of a voxel may begin
NEIGHBOURS = 20  # whose distance tells the density of an empirical prior at a draw


class Draws(NamedTuple):
    """Draws of the prior that all voxels share.

    Attributes
    ----------
    t : (3, n) their coordinates (see `priors`)
    theta : (3, n) f, D, D* [µm²/ms]
    signals : (b, n) signals for S0 = 1
    log_density : (n,) log density of theta under the prior, up to a constant
    spread : (n,) draws for S0
    """

    t: NDArray[np.float32]
    theta: NDArray[np.float32]
    signals: NDArray[np.float32]
    log_density: NDArray[np.float32]
    spread: Spread


class Proposal(NamedTuple):
    """The points of the local rounds: `n` neighbours, from anywhere in a long sequence (m,).

    Attributes
    ----------
    n : points of a round
    x : (3, m) points of a unit Student t
    minus_log_density : (m,) minus their log density
    spread : (m,) draws for S0
    """

    n: int
    x: NDArray[np.float32]
    minus_log_density: NDArray[np.float32]
    spread: Spread


def _student(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates x (3, n) of a unit Student t, from points (3, n) in (0, 1) for the radius and two for the direction.

    x'x / 3 follows Fisher's F: so the tails are as even as one dimension can be.
    """
    radius = np.sqrt(3 * fdtri(3, FREEDOM, points[0]))
    height, angle = 2 * points[1] - 1, 2 * np.pi * points[2]
    across = radius * np.sqrt(1 - height * height)
    return np.stack([across * np.cos(angle), across * np.sin(angle), radius * height])


def _minus_log_density(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the log density of a unit Student t at x (d, n)."""
    power = (FREEDOM + len(x)) / 2
    constant = gammaln(FREEDOM / 2) - gammaln(power) + len(x) / 2 * np.log(FREEDOM * np.pi)
    return constant + power * np.log1p((x * x).sum(0) / FREEDOM)


def _spread(points: NDArray[np.float64]) -> Spread:
    """Draws of a unit Student t from points (n,) in (0, 1)."""
    x = stdtrit(FREEDOM, points)
    return Spread(x.astype(np.float32), _minus_log_density(x[None]).astype(np.float32))


@lru_cache(maxsize=8)
def make_proposal(n: int, seed: int, shifts: int = SHIFTS) -> Proposal:
    """Make a sequence of which any n points in a row fill space evenly: they are the first n, shifted (modulo 1).

    So a random place in the sequence is a random shift of Cranley and Patterson (doi:10.1137/0713071): every point then
    has the density of the proposal, and estimates of two voxels share no error. Radius, direction and spread come from
    sequences of their own, of one, two and four dimensions: with one of three, radius and direction resonate.

    Parameters
    ----------
    n : points of a round
    seed : shifts the sequence
    shifts : places where the points of a voxel may begin: fewer are made sooner, and enough for few voxels
    """
    m = n + shifts
    x = _student(np.concatenate([low_discrepancy(m, 1, seed), low_discrepancy(m, 2, seed + 1)]))
    spread = _spread(low_discrepancy(m, 4, seed + 2)[0])
    return Proposal(n, x.astype(np.float32), _minus_log_density(x).astype(np.float32), spread)


def _with_signals(noise: NoiseModel, t: NDArray, theta: NDArray, log_density: NDArray, seed: int) -> Draws:
    signals = np.empty((len(noise.b), t.shape[1]), np.float32)
    theta = np.ascontiguousarray(theta, np.float32)
    weighted_signals(noise, theta, signals)
    spread = _spread(low_discrepancy(t.shape[1], 1, seed)[0])
    return Draws(np.ascontiguousarray(t, np.float32), theta, signals, log_density.astype(np.float32), spread)


def prior_draws(noise: NoiseModel, prior: Prior, n: int, seed: int) -> Draws:
    """About n draws of a prior with a density.

    Parameters
    ----------
    noise : tells the b-values
    prior : where the draws come from
    n : number of draws; a few more or less where the prior has limits
    seed : shifts the low-discrepancy points
    """
    t = draw(prior, n, seed)
    log_density, scratch = np.empty(t.shape[1], np.float32), np.empty(t.shape[1], np.float32)
    t32 = np.ascontiguousarray(t, np.float32)
    log_prior(prior, t32, scratch, log_density)
    subtract_log_jacobian(prior, t32, log_density)
    return _with_signals(noise, t, parameters(prior, t), log_density, seed)


def empirical_draws(noise: NoiseModel, theta: NDArray[np.float64], seed: int) -> Draws:
    """The draws `theta` themselves. Their density, which only the maximum needs, comes from the distance of neighbours.

    Parameters
    ----------
    noise : tells the b-values
    theta : (3, n) f, D, D* [µm²/ms]
    seed : of the draws for S0
    """
    scale = theta.std(1, keepdims=True)
    x = (theta / np.where(scale > 0, scale, 1.0)).T
    distance = cKDTree(x).query(x, min(NEIGHBOURS, len(x)))[0][:, -1]
    return _with_signals(noise, theta, theta, -3 * np.log(np.maximum(distance, 1e-6)), seed)
