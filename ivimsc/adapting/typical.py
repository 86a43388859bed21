"""The mixture of `models.typical`: which inputs of a network are those of its population."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.models.typical import TYPICAL, log_density

__all__ = ["MISSED", "learn_typical"]

PARTS, ROUNDS, CENTRED = 24, 15, 20_000  # Gaussians; rounds of the clustering, and voxels that it looks at
MISSED = 2e-3  # share of the voxels of the population itself that are told to be of another one
LEAST = 1e-3  # SD of a Gaussian along any axis, over that of all inputs


def learn_typical(inputs: NDArray[np.float32], truth: NDArray[np.float32], seed: int) -> dict[str, NDArray[np.float32]]:
    """The arrays of `models.typical.TYPICAL`.

    Parameters
    ----------
    inputs : (voxel, input) what a network takes of voxels of the population, the last one perhaps the noise
    truth : (voxel, 3) their f, D, D* [1, µm²/ms], by which alike voxels are put together
    seed : keys the clustering

    Returns
    -------
    A Gaussian for each cluster of voxels that are alike in truth and noise, with the offset that leaves out `MISSED` of the voxels
    """
    random = np.random.Generator(np.random.Philox([seed, 4]))
    f = np.clip(truth[:, :1], 1e-4, 1 - 1e-4)
    place = np.column_stack([np.log(f / (1 - f)), np.log(np.maximum(truth[:, 1:], 1e-4)), inputs[:, -1:]])
    own = _clusters((place - place.mean(0)) / (place.std(0) + 1e-9), random)
    x = inputs.astype(np.float64)
    floor = np.diag(np.square(LEAST * x.std(0)) + 1e-12)
    whiten, shift, offset = [], [], []
    for part in np.unique(own):
        some = x[own == part]
        if len(some) <= 2 * x.shape[1]:
            continue
        root = np.linalg.inv(np.linalg.cholesky(np.cov(some.T) + floor))
        whiten.append(root)
        shift.append(-root @ some.mean(0))
        offset.append(np.log(len(some) / len(x)) + np.log(np.diag(root)).sum())
    parts = np.array(whiten), np.array(shift), np.array(offset)
    parts = *parts[:2], parts[2] - np.quantile(log_density(x, *parts), MISSED)
    return {name: np.ascontiguousarray(a, np.float32) for name, a in zip(TYPICAL, parts, strict=True)}


def _clusters(place: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.intp]:
    """The cluster (voxel,) of each of the places (voxel, coordinate): k-means, with centres spread out at first (k-means++)."""
    some = place[random.permutation(len(place))[:CENTRED]]
    centres = some[:1]
    nearest = np.full(len(some), np.inf)
    while len(centres) < min(PARTS, len(some)):
        nearest = np.minimum(nearest, ((some - centres[-1]) ** 2).sum(1))
        if not nearest.sum() > 0:  # fewer different places than clusters
            break
        centres = np.append(centres, some[random.choice(len(some), p=nearest / nearest.sum())][None], 0)
    for _ in range(ROUNDS):
        own = _nearest(some, centres)
        centres = np.stack([some[own == c].mean(0) if np.any(own == c) else centres[c] for c in range(len(centres))])
    return _nearest(place, centres)


def _nearest(place: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    return (np.square(centres).sum(1) - 2 * place @ centres.T).argmin(1)
