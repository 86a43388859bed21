"""Fields of stores, read block by block: stores may be larger than memory."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "Column", "blocks", "values_at"]

BLOCK = 2**18  # voxels of a store read at once


class Column:
    """One field (voxel,) of a store: ``column[start:stop]`` reads.

    Parameters
    ----------
    read : read(start, stop) gives the values of these voxels
    n : number of voxels
    """

    def __init__(self, read: Callable[[int, int], NDArray], n: int) -> None:
        self._read, self._n = read, n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> NDArray:
        return self._read(*rows.indices(self._n)[:2])


def blocks(n: int, size: int = BLOCK) -> Iterator[slice]:
    """The voxels 0..n in blocks."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def values_at(column: Any, places: NDArray[np.intp]) -> NDArray:
    """The values of some voxels, of whose blocks alone something is read.

    Parameters
    ----------
    column : (voxel, …) an array, or a `Column`
    places : numbers of voxels, which ascend
    """
    parts = []
    for block in blocks(len(column)):
        here = places[np.searchsorted(places, block.start) : np.searchsorted(places, block.stop)]
        if len(here):
            parts.append(column[int(here[0]) : int(here[-1]) + 1][here - here[0]])
    return np.concatenate(parts) if parts else column[0:0]
