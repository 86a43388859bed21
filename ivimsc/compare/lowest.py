"""The Cramér-Rao bound averaged over voxels, as rows of a comparison need it."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.physics.models import Model
from ivimsc.store import VoxelStore

__all__ = ["mean_bound", "mean_cramer_rao"]

CRAMER_RAO = 20000  # voxels that the bound is averaged over


def mean_cramer_rao(true: dict[str, NDArray], kind: tuple, sigma: float) -> NDArray[np.float64]:
    """Mean over the voxels of the squared Cramér-Rao bound (3,) of f, D, D*; inf where one voxel's is."""
    used, s0_known = kind
    step = max(1, len(true["f"]) // CRAMER_RAO)
    S0, f, D, Dstar = (true[key][::step] for key in ("s0", "f", "d", "dstar"))
    return np.mean(cramer_rao(S0, f, D, Dstar, np.array(used), sigma, s0_known)[:, 1:] ** 2, axis=0)


def mean_bound(voxels: VoxelStore, true: dict[str, NDArray], model: Model, key: str) -> float:
    """Mean over the voxels of the squared Cramér-Rao bound of one parameter of a model; inf where one voxel's is."""
    step = max(1, len(true["d"]) // CRAMER_RAO)
    some = {k: values[::step] for k, values in true.items()}
    bound = model.bound(some, voxels.bvalues, float(voxels.attrs["sigma"]), voxels.weights)
    return float(np.mean(bound[key] ** 2))
