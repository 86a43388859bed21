"""Whether two images lie in the same place, voxel on voxel."""

from pathlib import Path

import numpy as np

from ivimsc.errors import InputError
from ivimsc.voxels import Geometry

__all__ = ["require_same_place"]

_NEAR = 0.1  # of a voxel: headers keep float32 and quaternions, good to about 1e-3 of one; more is another place


def require_same_place(path: str | Path, shape: tuple[int, ...], geometry: Geometry, of: str | Path, expected: Geometry) -> None:  # fmt: skip
    """Refuse a mask or labels that do not lie voxel on voxel on an image.

    Parameters
    ----------
    path : of the mask or the labels, for errors
    shape : of their array; axes of size 1 beyond the third do not count
    geometry : their place
    of : the image that they are for, for errors
    expected : its place

    Raises
    ------
    InputError
        for another shape, and where a corner of the volume lies more than a tenth of a voxel away
    """
    if tuple(shape[:3]) != tuple(expected.shape) or np.prod(shape) != np.prod(expected.shape):
        raise InputError(f"{path}: found a volume of shape {tuple(shape)}, expected {tuple(expected.shape)} as in {of}")
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.array(expected.shape)
    shift = (geometry.affine - expected.affine) @ np.column_stack([corners, np.ones(8)]).T
    away = np.linalg.norm(shift[:3], axis=0).max()
    if away > _NEAR * min(expected.zooms):
        raise InputError(
            f"{path}: found an affine that puts a corner of the volume {away:.3g} mm away from where {of} has it, "
            f"expected at most {_NEAR:g} of a voxel"
        )
