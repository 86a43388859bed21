"""The fixed point sets of a posterior: draws of the prior that all voxels share, and the points of the local rounds."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import chdtri, gammaln, ndtri

from ivimsc.kernels.likelihood import Model, unit_signals
from ivimsc.kernels.priors import Prior, draw, log_prior, low_discrepancy, parameters, subtract_log_jacobian

__all__ = ["Draws", "Proposal", "empirical_draws", "make_proposal", "prior_draws"]

FREEDOM = 5  # of the Student t: tails heavier than those of a posterior, so that weights stay bounded
NEIGHBOURS = 20  # whose distance tells the density of an empirical prior at a draw


class Draws(NamedTuple):
    """Shared draws of the prior: t and theta (3, n), unit signals (b, n), log density of theta (n,), spread (2, n)."""

    t: NDArray[np.float32]
    theta: NDArray[np.float32]
    signals: NDArray[np.float32]
    log_density: NDArray[np.float32]
    spread: NDArray[np.float32]


class Proposal(NamedTuple):
    """Fixed points of the local rounds: x (3, n) of a unit Student t, minus their log density (n,), spread (2, n)."""

    x: NDArray[np.float32]
    minus_log_density: NDArray[np.float32]
    spread: NDArray[np.float32]


def _student(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates x (d, n) of a d-dimensional unit Student t and minus its log density, from points (d + 1, n) in (0, 1)."""
    d = len(points) - 1
    x = ndtri(points[:-1]) * np.sqrt(FREEDOM / chdtri(FREEDOM, points[-1]))
    power = (FREEDOM + d) / 2
    constant = gammaln(FREEDOM / 2) - gammaln(power) + d / 2 * np.log(FREEDOM * np.pi)
    return x, constant + power * np.log1p((x * x).sum(0) / FREEDOM)


def _spread(points: NDArray[np.float64]) -> NDArray[np.float32]:
    x, minus_log = _student(points)
    return np.stack([x[0], minus_log]).astype(np.float32)


def make_proposal(n: int, seed: int) -> Proposal:
    """Make n local points; the first is not in the middle, so that none is special."""
    points = low_discrepancy(n, 6, seed)
    x, minus_log = _student(points[:4])
    return Proposal(x.astype(np.float32), minus_log.astype(np.float32), _spread(points[4:]))


def _finish(model: Model, t: NDArray, theta: NDArray, log_density: NDArray, seed: int) -> Draws:
    signals = np.empty((len(model.b), t.shape[1]), np.float32)
    theta = np.ascontiguousarray(theta, np.float32)
    unit_signals(model.b, theta, signals)
    spread = _spread(low_discrepancy(t.shape[1], 2, seed))
    return Draws(np.ascontiguousarray(t, np.float32), theta, signals, log_density.astype(np.float32), spread)


def prior_draws(model: Model, prior: Prior, n: int, seed: int) -> Draws:
    """About n draws of a prior with a density."""
    t = draw(prior, n, seed)
    log_density, scratch = np.empty(t.shape[1], np.float32), np.empty(t.shape[1], np.float32)
    t32 = np.ascontiguousarray(t, np.float32)
    log_prior(prior, t32, scratch, log_density)
    subtract_log_jacobian(prior, t32, log_density)
    return _finish(model, t, parameters(prior, t), log_density, seed)


def empirical_draws(model: Model, theta: NDArray[np.float64], seed: int) -> Draws:
    """The draws theta (3, n) themselves; their density, for the maximum alone, from the distance of neighbours."""
    scale = theta.std(1, keepdims=True)
    x = (theta / np.where(scale > 0, scale, 1.0)).T
    distance = cKDTree(x).query(x, min(NEIGHBOURS, len(x)))[0][:, -1]
    return _finish(model, theta, theta, -3 * np.log(np.maximum(distance, 1e-6)), seed)
