"""The Cramér-Rao bound averaged over voxels, as rows of a comparison need it."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ivimsc.compare.columns import Column, values_at
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.physics.models import MODELS
from ivimsc.store import VoxelStore

__all__ = ["mean_bound", "mean_cramer_rao", "spread_out", "truth_at"]

CRAMER_RAO = 20000  # voxels that the bound is averaged over


def spread_out(n: int, inside: NDArray[np.bool_] | None, most: int = CRAMER_RAO) -> NDArray[np.intp]:
    """About `most` voxels at most of those `inside`, or of all `n`, evenly spread."""
    if inside is None:
        return np.arange(0, n, max(1, n // most))
    places = np.flatnonzero(inside)
    return places[:: max(1, len(places) // most)].copy()


def truth_at(voxels: VoxelStore, places: NDArray[np.intp]) -> dict[str, NDArray[np.float32]]:
    """The true parameters of some voxels, which ascend, by key."""
    n = len(voxels)
    return {key: values_at(Column(partial(voxels.read_truth, key), n), places) for key in voxels.truth_keys}


def mean_cramer_rao(true: dict[str, NDArray], kind: tuple, sigma: float) -> NDArray[np.float64]:
    """Mean over the voxels of the squared Cramér-Rao bound (3,) of f, D, D*; inf where one voxel's is."""
    used, s0_known = kind
    S0, f, D, Dstar = (true[key] for key in ("s0", "f", "d", "dstar"))
    return np.mean(cramer_rao(S0, f, D, Dstar, np.array(used), sigma, s0_known)[:, 1:] ** 2, axis=0)


def mean_bound(voxels: VoxelStore, true: dict[str, NDArray]) -> dict[str, float]:
    """Mean over the voxels of the squared Cramér-Rao bound of each parameter of the store's own model, by key.

    It is inf where one voxel's is, and there is none where the model is a mixture or the noise is not known.
    """
    model, sigma = MODELS.get(str(voxels.attrs.get("model", "biexp"))), float(voxels.attrs.get("sigma", 0.0))
    if model is None or not sigma > 0:
        return {}
    bound = model.bound(true, voxels.bvalues, sigma, voxels.weights)
    return {key: float(np.mean(values**2)) for key, values in bound.items()}
