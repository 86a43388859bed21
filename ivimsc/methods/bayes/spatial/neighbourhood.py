"""Who is whose neighbour: voxels by their places in the volume, and the offsets of a neighbourhood by their distances in mm."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT
from ivimsc.errors import InputError

__all__ = ["PADDING", "Neighbourhood", "find_neighbours", "number_at", "places_of"]

PADDING = 2  # voxels of nothing round the volume: no offset reaches beyond
REACH = 2.1  # a neighbour lies within so many times the smallest distance of two voxels, or touches the voxel
SAME = 1e-3  # relative difference of distances that count as one


class Neighbourhood(NamedTuple):
    """Where voxels lie, and which offsets make a neighbourhood.

    Attributes
    ----------
    numbers : (x, y, z) int32, number of the voxel at each place, or -1; padded by `PADDING` on all sides
    places : (voxel, 3) int32, the place of each voxel in `numbers`
    offsets : (k, 3) int32
    ring : (k,) int64, which of the distances an offset has
    distances : (ring,) [mm], ascending
    """

    numbers: NDArray[np.int32]
    places: NDArray[np.int32]
    offsets: NDArray[np.int32]
    ring: NDArray[np.int64]
    distances: NDArray[np.float64]


@njit(**JIT)
def number_at(hood, voxel, k):
    """Number of the k-th neighbour of a voxel, or -1."""
    place, offset = hood.places[voxel], hood.offsets[k]
    return hood.numbers[place[0] + offset[0], place[1] + offset[1], place[2] + offset[2]]


def places_of(voxels: Any) -> tuple[NDArray[np.int32], tuple[int, int, int], tuple[float, float, float]]:
    """Places (voxel, 3) of the voxels of a `VoxelSource`, shape of their volume, and zooms [mm].

    Raises
    ------
    InputError
        for voxels that come from no volume, for places outside of it or taken twice, and for zooms that are no lengths
    """
    geometry, n = getattr(voxels, "geometry", None), len(voxels)
    if geometry is None:
        raise InputError("option prior of bayes: found spatial for signals (voxel, b) without places, expected signals (x, y, z, b) or (x, y, b), or a file")  # fmt: skip
    shape, zooms = tuple(int(s) for s in geometry.shape), tuple(float(z) for z in geometry.zooms)
    index = getattr(voxels, "index", None)
    if index is None:
        index = np.stack(np.unravel_index(np.arange(n), shape), axis=1)
    index = np.asarray(index[:], np.int32).reshape(-1, 3)
    if len(index) != n or (n and (index.min() < 0 or np.any(index >= np.array(shape)))):
        raise InputError(f"index: found places outside of the volume {shape}, expected all {n} voxels inside")
    bad = [z for z, length in zip(zooms, shape, strict=True) if length > 1 and not (np.isfinite(z) and z > 0)]
    if bad:
        raise InputError(f"zooms: found {' × '.join(f'{z:g}' for z in zooms)} mm, expected lengths > 0: the spatial prior asks how far voxels are apart")  # fmt: skip
    return index, shape, zooms


def _offsets(shape: tuple[int, int, int], zooms: tuple[float, float, float]) -> tuple[NDArray, NDArray]:
    """Offsets (k, 3) of a neighbourhood, nearest first, and their distances [mm]."""
    reach = [min(PADDING, length - 1) for length in shape]
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
    grid = grid[grid.any(1)]
    lengths = np.where(np.array(shape) > 1, zooms, 1.0)
    far = np.sqrt(((grid * lengths) ** 2).sum(1))
    near = REACH * far.min() if len(far) else 0.0
    some = (np.abs(grid).max(1) <= 1) | (far <= near) if len(far) else np.zeros(0, bool)
    order = np.argsort(far[some], kind="stable")
    return grid[some][order], far[some][order]


def find_neighbours(voxels: Any, good: NDArray[np.bool_]) -> Neighbourhood:
    """The neighbourhood of the voxels of a `VoxelSource`; those that are not `good` (voxel,) are nobody's neighbours."""
    index, shape, zooms = places_of(voxels)
    offsets, far = _offsets(shape, zooms)
    numbers = np.full([length + 2 * PADDING for length in shape], -1, np.int32)
    places = np.ascontiguousarray(index + PADDING, np.int32)
    numbers[tuple(places.T)] = np.arange(len(places), dtype=np.int32)
    if np.any(numbers[tuple(places.T)] != np.arange(len(places))):
        raise InputError(
            "index: found two voxels at one place, expected a place for each: the spatial prior needs them"
        )
    numbers[tuple(places[~good].T)] = -1
    starts = np.concatenate([[True], np.diff(far) > SAME * far[1:]]) if len(far) else np.zeros(0, bool)
    ring = np.cumsum(starts) - 1
    return Neighbourhood(
        numbers, places, offsets.astype(np.int32), ring.astype(np.int64), far[starts].astype(np.float64)
    )
