"""Voxels to fit, in memory, with the geometry that leads them back into a volume; and the selection of some b-values."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.device.launch import is_on_gpu
from ivimsc.errors import InputError
from ivimsc.physics.protocol import select_bvalues

__all__ = [
    "Geometry",
    "SelectedVoxels",
    "VoxelSource",
    "Voxels",
    "inside_of",
    "sample_signals",
    "weights_of",
    "with_nan",
]

SAMPLE, RUN = 8192, 16  # voxels that tell what a whole data set has in common, in runs of neighbours


class VoxelSource(Protocol):
    """What a method sees of the data, in memory (`Voxels`) or on disk (`VoxelStore`)."""

    bvalues: NDArray[np.float64]

    @property
    def weights(self) -> NDArray[np.float64]:
        """Images (b,) that the signal at each b-value is the mean of: a mean of n has noise σ/√n."""
        ...

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Signals (voxel, b) of the voxels start..stop, in host memory."""
        ...

    @property
    def leaves_out_s0(self) -> bool:
        """The data have a signal at b = 0 that is not among `bvalues`."""
        ...

    def read_s0(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """The signal at b = 0 (voxel,) of the voxels start..stop where `read` leaves it out, else None."""
        ...


def weights_of(repeats: ArrayLike | None, n: int) -> NDArray[np.float64]:
    """Images (b,) behind each of `n` b-values: 1 each where `repeats` is None.

    Raises
    ------
    InputError
        for another number of b-values, and for numbers below 1
    """
    weights = np.ones(n) if repeats is None else np.asarray(repeats, np.float64)
    if weights.shape != (n,) or not np.all((weights >= 1) & np.isfinite(weights)):
        raise InputError(f"repeats: found {repeats}, expected {n} numbers of images of at least 1, one per b-value")
    return weights


def with_nan(signals: ArrayLike) -> NDArray:
    """The signals as an array; masked values are NaN."""
    if not np.ma.is_masked(signals):
        return np.asarray(signals)
    if signals.dtype.kind not in "fiub":  # told of by those who need real numbers
        return signals.data
    return signals.astype(np.result_type(signals.dtype, np.float32)).filled(np.nan)


def inside_of(mask: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask (…) of signals (…, b) as bool: voxels above 0.

    Parameters
    ----------
    mask : (…), of any type of numbers
    shape : of the signals without b

    Raises
    ------
    InputError
        for a mask of another shape, and for one without a voxel
    """
    inside = np.asarray(mask)
    if inside.shape != shape:
        raise InputError(f"mask: found shape {inside.shape}, expected {shape}, that of the signals without b")
    inside = inside if inside.dtype == bool else inside > 0
    if not inside.any():
        raise InputError("mask: found no voxel above 0, expected at least one")
    return inside


def sample_signals(voxels: VoxelSource, most: int = SAMPLE) -> NDArray[np.float32]:
    """Signals (voxel, b) of at most `most` voxels, in runs of neighbours spread evenly over the data set."""
    n = len(voxels)
    if n <= most:
        return np.ascontiguousarray(voxels.read(0, n))
    starts = np.linspace(0, n - RUN, most // RUN).astype(int)
    return np.concatenate([voxels.read(int(start), int(start) + RUN) for start in starts])


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

    Attributes
    ----------
    signals : (voxel, b) float32, C-contiguous, or such an array on a GPU
    bvalues : (b,) float64 [s/mm²], ascending and distinct
    repeats : (b,) int, images that the signal at each b-value is the mean of; None: as ``attrs["repeats"]`` says, else 1
    index, geometry : (voxel, 3) int32, the place of each voxel in the volume, and the volume; None for signals that
        come from no volume
    source, source_sha256 : the file that they come from
    truth : arrays (voxel,) under the keys s0, f, d, dstar where the data are simulated
    tissue, tissue_names : (voxel,) uint8, and code -> name
    attrs : whatever else the source says of itself (phantom, seed, snr, noise …), JSON types
    """

    signals: NDArray[np.float32]
    bvalues: NDArray[np.float64]
    index: NDArray[np.int32] | None = None
    geometry: Geometry | None = None
    source: str = ""
    source_sha256: str = ""
    truth: dict[str, NDArray[np.float32]] | None = None
    tissue: NDArray[np.uint8] | None = None
    tissue_names: dict[int, str] = field(default_factory=dict)
    attrs: dict[str, object] = field(default_factory=dict)
    repeats: NDArray[np.intp] | None = None

    leaves_out_s0 = False

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Images (b,) that the signal at each b-value is the mean of."""
        return weights_of(self.attrs.get("repeats") if self.repeats is None else self.repeats, len(self.bvalues))

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Signals (voxel, b) of the voxels start..stop, in host memory: samples are looked at there."""
        part = self.signals[start:stop]
        return part.copy_to_host() if is_on_gpu(part) else part

    def read_s0(self, start: int, stop: int) -> None:
        """None: nothing is left out here."""

    @cached_property
    def signals_sha256(self) -> str:
        """SHA-256 of the float32 little-endian signals in voxel order: ties estimates to their voxels."""
        return hashlib.sha256(np.ascontiguousarray(self.signals, dtype="<f4").data).hexdigest()


class SelectedVoxels:
    """Voxels with a subset of their b-values; the checksum stays that of the whole, which the estimates belong to.

    Parameters
    ----------
    voxels : `Voxels` or a `VoxelStore`
    wanted : (b,) b-values to keep [s/mm²]
    source : what names them, for messages
    """

    def __init__(self, voxels: Any, wanted: NDArray[np.float64], source: str = "bvalues") -> None:
        self._voxels, self._columns = voxels, select_bvalues(voxels.bvalues, wanted, source)
        self.bvalues = voxels.bvalues[self._columns]
        zero = np.flatnonzero(voxels.bvalues == 0)
        self._zero = int(zero[0]) if len(zero) and not (self.bvalues == 0).any() else None

    @property
    def weights(self) -> NDArray[np.float64]:
        """Images (b,) that the signal at each chosen b-value is the mean of."""
        return self._voxels.weights[self._columns]

    @property
    def s0_images(self) -> float:
        """Images that the signal at b = 0 is the mean of, where it was not chosen."""
        return 1.0 if self._zero is None else float(self._voxels.weights[self._zero])

    def __len__(self) -> int:
        return len(self._voxels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._voxels, name)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Signals (voxel, b) at the chosen b-values."""
        return np.ascontiguousarray(self._voxels.read(start, stop)[:, self._columns])

    @property
    def leaves_out_s0(self) -> bool:
        """The data have a signal at b = 0 that was not chosen."""
        return self._zero is not None

    def read_s0(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """The signal at b = 0 (voxel,) that was not chosen, None where there is none."""
        return None if self._zero is None else np.array(self._voxels.read(start, stop)[:, self._zero], np.float32)
