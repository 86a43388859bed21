"""What tells the data of one fit from those of another: checksums of their signals and of their places."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.store import VoxelStore
from ivimsc.store.same_fit import to_json
from ivimsc.voxels import Geometry

__all__ = ["Seen", "places_sha256", "require_signals"]

BLOCK = 2**18  # voxels read at once


class Seen:
    """The checksum of all signals that a fit has read so far, whatever the chunks were that it read them in."""

    def __init__(self) -> None:
        self._signals, self._s0 = hashlib.sha256(), hashlib.sha256()

    def add(self, signals: NDArray[np.float32], s0: NDArray[np.float32] | None) -> None:
        """The next voxels: their signals (voxel, b), and those at b = 0 (voxel,) where they are read apart."""
        self._signals.update(np.ascontiguousarray(signals, "<f4").data)
        if s0 is not None:
            self._s0.update(np.ascontiguousarray(s0, "<f4").data)

    def sha256(self) -> str:
        """The checksum up to here."""
        return hashlib.sha256(self._signals.digest() + self._s0.digest()).hexdigest()


def places_sha256(voxels: Any) -> str:
    """SHA-256 of where the voxels lie: of their places in the volume, and of its geometry."""
    geometry = {name: getattr(voxels.geometry, name) for name in Geometry.__dataclass_fields__}
    total = hashlib.sha256(to_json(geometry).encode())
    for start in range(0, len(voxels), BLOCK):
        total.update(np.ascontiguousarray(voxels.index[start : min(start + BLOCK, len(voxels))], "<i4").data)
    return total.hexdigest()


def require_signals(voxels: VoxelStore) -> None:
    """Refuse a voxel store whose signals are not those that its checksum is of: they changed, or are damaged.

    Raises
    ------
    InputError
        naming both checksums
    """
    total = hashlib.sha256()
    for start in range(0, len(voxels), BLOCK):
        total.update(np.ascontiguousarray(voxels.read(start, min(start + BLOCK, len(voxels))), "<f4").data)
    if total.hexdigest() != voxels.signals_sha256:
        raise InputError(f"{voxels.path}: found signals of SHA-256 {total.hexdigest()}, expected {voxels.signals_sha256} as the store says: they are damaged")  # fmt: skip
