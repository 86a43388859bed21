"""A mixture of Gaussians, its own proper prior, and coordinates in which a search for the likeliest one moves freely.

The last component is the broad prior, and keeps its mean and covariance.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BROAD", "MOMENTS", "TISSUE", "WORTH", "Chart", "Mixture", "chart", "fewer", "log_penalty", "shares"]

BROAD = 0.01  # least share of the broad prior
TISSUE = np.diag(np.square([0.3, 0.1, 0.3]))  # covariance within a tissue: of logit f, ln D, ln D*
WORTH = 20.0  # voxels that the prior of a covariance counts as
MOMENTS = 10  # sums of a component over the voxels: its weight, its first moments, its second ones as in `PAIRS`
PAIRS = (0, 0, 1, 0, 1, 2), (0, 1, 1, 2, 2, 2)
LOWER, DIAGONAL = np.tril_indices(3), np.arange(3)
FARTHEST = 4.0  # that the log of a share, or of a spread, moves in the first search


class Mixture(NamedTuple):
    """Gaussians over (logit f, ln D, ln D*): weights (c,), means (c, 3), covariances (c, 3, 3); the last is the broad prior."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]


def log_penalty(mixture: Mixture, broad: Mixture) -> float:
    """Log density of the mixture's own prior over its largest value: 0 for components alike `TISSUE`, at the broad mean."""
    ratio = np.linalg.inv(mixture.covariances[:-1]) @ TISSUE
    value = -0.5 * WORTH * (np.einsum("cii->", ratio) - np.linalg.slogdet(ratio)[1].sum() - 3 * len(ratio))
    away = mixture.means[:-1] - broad.means[0]
    return float(value - 0.5 * np.einsum("ci,ij,cj->", away, np.linalg.inv(broad.covariances[0]), away))


def shares(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the components, the last at least `BROAD`."""
    weights = np.maximum(count / count.sum(), 1e-7)
    last = max(weights[-1], BROAD)
    weights[:-1] *= (1 - last) / weights[:-1].sum()
    weights[-1] = last
    return weights


def fewer(mixture: Mixture, most: int) -> list[Mixture]:
    """Mixtures of one component less: without one of them, or with two made one; the broad prior, the last, stays.

    Two made one have the weight, mean and covariance of both. Of all pairs those `most` are given that change the density
    least, by a bound of the Kullback-Leibler divergence (A. Runnalls, IEEE Trans. Aerosp. Electron. Syst. 43:989, 2007).
    """
    w, means, covariances = mixture
    free = len(w) - 1
    if free < 2:
        return []
    i, j = np.tril_indices(free, -1)
    both = w[i] + w[j]
    a, b = (w[i] / both)[:, None], (w[j] / both)[:, None]
    away = means[i] - means[j]
    mean = a * means[i] + b * means[j]
    spread = a[..., None] * covariances[i] + b[..., None] * covariances[j]
    spread += (a * b)[..., None] * away[:, :, None] * away[:, None]
    log_volume = np.linalg.slogdet(covariances)[1]
    change = both * np.linalg.slogdet(spread)[1] - w[i] * log_volume[i] - w[j] * log_volume[j]
    found = [
        Mixture(shares(np.delete(w, k)), np.delete(means, k, 0), np.delete(covariances, k, 0)) for k in range(free)
    ]
    for k in np.argsort(change)[:most]:
        others = np.delete(np.arange(len(w)), [i[k], j[k]])
        new = both[k : k + 1], mean[k : k + 1], spread[k : k + 1]
        found.append(Mixture(*(np.append(one, part[others], 0) for one, part in zip(new, mixture, strict=True))))
    return found


class Chart(NamedTuple):
    """Coordinates x about a first mixture, in units of about one posterior SD of each.

    Shares move by their logarithms, a mean in units of its component's spread, and a spread by a triangular matrix behind its
    root. Zero is the first mixture, and the curvature of the log-likelihood would be one for voxels whose parameters are known.
    """

    first: Mixture
    broad: Mixture
    root: NDArray[np.float64]
    share_step: NDArray[np.float64]
    step: NDArray[np.float64]
    near: float

    @property
    def limits(self) -> NDArray[np.float64]:
        """Bounds (n, 2) of x: a mean may move by `near` spreads, and the log of a share or a spread by half of that."""
        half = min(self.near / 2, FARTHEST)
        inner = np.where(LOWER[0] == LOWER[1], half, self.near) / self.step[:, None]
        means = np.repeat(self.near / self.step, 3)
        whole = np.concatenate([half / self.share_step, means, inner.ravel()])
        return np.stack([-whole, whole], axis=1)

    def _inner(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        inner = np.zeros((len(self.root), 3, 3))
        inner[:, *LOWER] = x[len(self.first.weights) + 3 * len(self.root) :].reshape(-1, 6) * self.step[:, None]
        inner[:, DIAGONAL, DIAGONAL] = np.exp(inner[:, DIAGONAL, DIAGONAL])
        return inner

    def mixture(self, x: NDArray[np.float64]) -> Mixture:
        """The mixture at x."""
        n, free = len(self.first.weights), len(self.root)
        logs = np.log(self._own_shares(self.first.weights)) + x[:n] * self.share_step
        weights = np.exp(logs - logs.max())
        weights *= (1 - BROAD) / weights.sum()
        weights[-1] += BROAD
        means, covariances = self.first.means.copy(), self.first.covariances.copy()
        means[:-1] += np.einsum("cij,cj->ci", self.root, x[n : n + 3 * free].reshape(-1, 3) * self.step[:, None])
        root = self.root @ self._inner(x)
        covariances[:-1] = root @ root.transpose(0, 2, 1)
        return Mixture(weights, means, covariances)

    def gradient(self, x: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gradient (n,) at x of the log-likelihood with the log of the mixture's prior, from the moments (c, moment)."""
        here, inner = self.mixture(x), self._inner(x)
        share = self._own_shares(here.weights)
        slope = (1 - BROAD) * sums[:, 0] / here.weights
        shares_part = share * (slope - share @ slope) * self.share_step
        precision = np.linalg.inv(here.covariances[:-1])
        means = np.einsum("cij,cj->ci", precision, sums[:-1, 1:4])
        means -= (here.means[:-1] - self.broad.means[0]) @ np.linalg.inv(self.broad.covariances[0])
        second = np.empty((len(self.root), 3, 3))
        for k, (i, j) in enumerate(zip(*PAIRS, strict=True)):
            second[:, i, j] = second[:, j, i] = sums[:-1, 4 + k]
        spread = precision @ (second + WORTH * TISSUE) @ precision - (sums[:-1, 0] + WORTH)[:, None, None] * precision
        lower = self.root.transpose(0, 2, 1) @ spread @ self.root @ inner
        lower[:, DIAGONAL, DIAGONAL] *= inner[:, DIAGONAL, DIAGONAL]
        moved = np.einsum("cji,cj->ci", self.root, means) * self.step[:, None]
        return np.concatenate([shares_part, moved.ravel(), (lower[:, *LOWER] * self.step[:, None]).ravel()])

    @staticmethod
    def _own_shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights without the share that the broad prior has in any case."""
        own = weights.copy()
        own[-1] = max(own[-1] - BROAD, 1e-7)
        return own / own.sum()


def chart(first: Mixture, broad: Mixture, voxels: int, near: float = np.inf) -> Chart:
    """Coordinates about `first`, for a search over so many voxels that stays within `near` spreads."""
    count = first.weights * voxels
    return Chart(first, broad, np.linalg.cholesky(first.covariances[:-1]), 1 / np.sqrt(count + 1),
                 1 / np.sqrt(count[:-1] + WORTH), near)  # fmt: skip
