"""A mixture of Gaussians and its steps: maximisation with a proper prior, and extrapolation.

The last component is the broad prior, and keeps its mean and covariance.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BROAD", "TISSUE", "WORTH", "Mixture", "extrapolated", "log_penalty", "maximise", "shares"]

BROAD = 0.01  # least share of the broad prior
TISSUE = np.diag(np.square([0.3, 0.1, 0.3]))  # covariance within a tissue: of logit f, ln D, ln D*
WORTH = 20.0  # voxels that the prior of a covariance counts as
LONGEST = 32.0  # extrapolation


class Mixture(NamedTuple):
    """Gaussians over (logit f, ln D, ln D*): weights (c,), means (c, 3), covariances (c, 3, 3); the last is the broad prior."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]


def log_penalty(mixture: Mixture, broad: Mixture) -> float:
    """Log density of the mixture's own prior, up to a constant."""
    precision = np.linalg.inv(mixture.covariances[:-1])
    value = (
        -0.5 * WORTH * (np.einsum("cij,ji->", precision, TISSUE) + np.linalg.slogdet(mixture.covariances[:-1])[1].sum())
    )
    away = mixture.means[:-1] - broad.means[0]
    return float(value - 0.5 * np.einsum("ci,ij,cj->", away, np.linalg.inv(broad.covariances[0]), away))


def maximise(sums: NDArray[np.float64], mixture: Mixture, broad: Mixture) -> Mixture:
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
    return Mixture(shares(count), means, covariances)


def shares(count: NDArray[np.float64]) -> NDArray[np.float64]:
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
    return Mixture(shares(weights), means, covariances)


def extrapolated(first: Mixture, second: Mixture, third: Mixture, broad: Mixture) -> Mixture:
    """Where three mixtures in a row of EM lead to, at least the third: the scheme S3 of Varadhan and Roland."""
    a, b, c = (_to_vector(mixture) for mixture in (first, second, third))
    r, v = b - a, (c - b) - (b - a)
    length = max(1.0, min(np.sqrt((r @ r) / max(v @ v, 1e-300)), LONGEST))
    return _from_vector(a + 2 * length * r + length**2 * v, broad)
