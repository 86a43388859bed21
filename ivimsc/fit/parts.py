"""One of n equal parts of the voxels of a data set, for several machines without anything between them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError

__all__ = ["PartRange", "VoxelRange", "part_range"]

MOST = 100_000  # parts


class PartRange(NamedTuple):
    """The part `number` of `of`, from 1 on: voxels start..stop of the data set."""

    number: int
    of: int
    start: int
    stop: int


def part_range(part: tuple[int, int], n: int | None = None) -> PartRange:
    """Which of `n` voxels belong to a part; parts differ by at most one voxel. Without `n`, the part alone is checked.

    Raises
    ------
    InputError
        for a part that is not among 1 to its number of parts, and for more parts than voxels
    """
    number, of = part
    if not 1 <= number <= of <= MOST:
        raise InputError(f"part: found {number}/{of}, expected i/n with i from 1 to n, and n at most {MOST:,}")
    if n is None:
        return PartRange(number, of, 0, 0)
    if of > n:
        raise InputError(f"part: found {of:,} parts of {n:,} voxels, expected at most as many parts as voxels")
    return PartRange(number, of, n * (number - 1) // of, n * number // of)


class VoxelRange:
    """The voxels start..stop of a source, numbered from 0; checksum, geometry and origin stay those of the whole."""

    def __init__(self, voxels: Any, start: int, stop: int) -> None:
        self._voxels, self._start, self._stop = voxels, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._voxels, name)

    @property
    def index(self) -> "_Rows":
        """The places (voxel, 3) in the volume; ``index[start:stop]`` reads."""
        return _Rows(self._voxels.index, self._start, self._stop)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Signals (voxel, b)."""
        return self._voxels.read(self._start + start, self._start + stop)

    def read_s0(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """The signal at b = 0 (voxel,) where `read` leaves it out."""
        return self._voxels.read_s0(self._start + start, self._start + stop)


class _Rows:
    """The rows first..last of a table, numbered from 0."""

    def __init__(self, table: Any, first: int, last: int) -> None:
        self._table, self._first, self._last = table, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, rows: slice) -> NDArray[np.int32]:
        start, stop, _ = rows.indices(len(self))
        return self._table[self._first + start : self._first + stop]
