"""Voxels to fit, in memory, with the geometry that leads them back into a volume."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import is_on_gpu

__all__ = ["Geometry", "Voxels"]


@dataclass(frozen=True)
class Geometry:
    """Where the voxels lie: volume shape (x, y, z), affine (4, 4), NIfTI qform and sform with codes, zooms [mm], units.

    `affine` is the one that viewers use (sform where its code > 0, else qform). `sform` and `qform` are None where the
    file has none (code 0).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    qform: NDArray[np.float64] | None = None
    sform: NDArray[np.float64] | None = None
    qform_code: int = 0
    sform_code: int = 0
    zooms: tuple[float, float, float] = (1.0, 1.0, 1.0)
    xyz_unit: str = "mm"


@dataclass(frozen=True)
class Voxels:
    """Signals to fit, held in memory; `VoxelStore` offers the same attributes from disk.

    signals (voxel, b) float32, C-contiguous, or such an array on a GPU; bvalues (b,) float64 [s/mm²], ascending and distinct; index (voxel, 3) int32.
    truth: arrays (voxel,) under the keys s0, f, d, dstar where the data are simulated; tissue (voxel,) uint8 with
    tissue_names, code -> name. attrs: whatever else the source says of itself (phantom, seed, snr, noise …), JSON types.
    """

    signals: NDArray[np.float32]
    bvalues: NDArray[np.float64]
    index: NDArray[np.int32]
    geometry: Geometry
    source: str = ""
    source_sha256: str = ""
    truth: dict[str, NDArray[np.float32]] | None = None
    tissue: NDArray[np.uint8] | None = None
    tissue_names: dict[int, str] = field(default_factory=dict)
    attrs: dict[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.signals)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Signals (voxel, b) of the voxels start..stop, in host memory: samples are looked at there."""
        part = self.signals[start:stop]
        return part.copy_to_host() if is_on_gpu(part) else part

    @cached_property
    def signals_sha256(self) -> str:
        """SHA-256 of the float32 little-endian signals in voxel order: ties estimates to their voxels."""
        return hashlib.sha256(np.ascontiguousarray(self.signals, dtype="<f4").data).hexdigest()
