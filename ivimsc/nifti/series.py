"""A diffusion series into voxels: scaled, averaged per b-value, masked.

A series is read once, as it is stored, and packed block by block: it is turned from volumes (b, voxel) into voxels
(voxel, b). So the memory is the stored series plus the float32 voxels.
"""

import hashlib
import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.masks import auto_mask, background_share
from ivimsc.nifti.companions import companion_notes
from ivimsc.nifti.header import files_of
from ivimsc.nifti.image import Image, read_image
from ivimsc.nifti.place import require_same_place
from ivimsc.nifti.volumes import chosen_volumes
from ivimsc.physics.bvalue_text import read_bval
from ivimsc.physics.protocol import Protocol
from ivimsc.physics.volume_notes import missing_note, odd_volume_notes, rising_note
from ivimsc.regular import read_text
from ivimsc.text import readable_name
from ivimsc.voxels import Voxels

__all__ = ["AUTO", "read_images", "read_series"]

AUTO = "auto"  # the mask that is made from the series itself
_SEEN = 2**14  # voxels that tell how much of the volume is background
_BLOCK = 16384  # voxels packed at once: their float64 copy stays in the cache


def read_series(
    path: str | Path,
    bval: str | Path,
    mask: str | Path | NDArray[np.bool_] | None = None,
    bvec: str | Path | None = None,
    volumes: str | Path | Sequence[int] | None = None,
) -> Voxels:
    """Read a diffusion series and its b-values, and pack the voxels of the mask (of the whole volume without one).

    Parameters
    ----------
    path : NIfTI series (x, y, z, volume) of any integer or float type, .nii or .nii.gz, or a pair .hdr and .img
    bval : text file with one b-value per volume [s/mm²], in any order; repeats and directions are averaged
    mask : NIfTI volume (x, y, z) of any type; voxels above 0 are packed. "auto": those of `ivimsc.masks.auto_mask`;
        or an array (x, y, z) bool
    bvec : text file of directions; only its size is checked, as directions are averaged
    volumes : the volumes to use, numbered from 0: ``"0-99,150"``, a text file of numbers, or numbers; default: all

    Returns
    -------
    Voxels
        signals (voxel, b) float32 in the order of the file (x fastest); ``attrs["notes"]`` tells what was averaged

    Raises
    ------
    InputError
        for a file that is missing, truncated, not NIfTI, or does not fit the others
    """
    path = Path(path)
    with ThreadPoolExecutor(1) as pool:
        checksum = pool.submit(_sha256, files_of(path)[1]) if path.is_file() else None
        image = read_image(path)
        if image.data.ndim != 4:
            raise InputError(f"{path}: found a {image.data.ndim}-D image {image.data.shape}, expected 4-D (x, y, z, b)")
        values, count = read_bval(bval), image.data.shape[3]
        if len(values) != count:
            raise InputError(f"{bval}: found {len(values)} b-values, expected {count}, the volumes in {path}")
        if bvec is not None:
            _check_bvec(bvec, count)
        chosen = np.arange(count) if volumes is None else chosen_volumes(volumes, count)
        protocol = Protocol.from_volumes(values[chosen], str(bval))
        places = _mask_places(mask, path, image, chosen[protocol.shell == 0])
        signals, missing = _pack(image, protocol, places, chosen)
        notes = [] if volumes is None else [f"{len(chosen)} of {count} volumes are used"]
        notes += odd_volume_notes(_volume_levels(image, places, chosen), chosen, protocol)
        notes += [*companion_notes(path, chosen, count), *protocol.notes, *missing_note(missing, protocol)]
        notes += [*_mask_notes(mask, signals, image.geometry.shape), *rising_note(signals, protocol)]
        attrs = {"notes": notes, "volumes": len(chosen), "repeats": protocol.repeats.tolist()}
        return Voxels(
            signals=signals,
            bvalues=protocol.bvalues,
            index=_index(image.geometry.shape, places),
            geometry=image.geometry,
            source=readable_name(path),
            source_sha256=checksum.result(),
            attrs=attrs | ({"mask": Path(mask).name} if isinstance(mask, str | Path) else {}),
        )


def read_images(
    path: str | Path,
    bval: str | Path,
    index: NDArray[np.int32],
    volumes: str | Path | Sequence[int] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """Read the single images of a series, without averaging, at some voxels.

    Parameters
    ----------
    path, bval, volumes : as for `read_series`
    index : (voxel, 3) places in the volume

    Returns
    -------
    signals
        (voxel, volume) float32, in the order of the file
    numbers
        (volume,) of the volumes in the file, from 0
    shell
        (volume,) which of the distinct, ascending b-values each volume has

    Raises
    ------
    InputError
        as `read_series`
    """
    path = Path(path)
    image, values = read_image(path), read_bval(bval)
    chosen = np.arange(image.data.shape[3]) if volumes is None else chosen_volumes(volumes, image.data.shape[3])
    places = np.ravel_multi_index(tuple(np.asarray(index).T), image.geometry.shape, order="F")
    flat = image.data.reshape((-1, image.data.shape[3]), order="F")
    signals = np.empty((len(places), len(chosen)), np.float32)
    for column, k in enumerate(chosen):
        signals[:, column] = flat[places, k] * np.float64(image.slope) + image.inter
    return signals, chosen, Protocol.from_volumes(values[chosen], str(bval)).shell


def _volume_levels(image: Image, places: NDArray[np.intp] | None, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """The mean signal of each volume over some thousand voxels, (volume,)."""
    voxels = np.arange(np.prod(image.geometry.shape)) if places is None else places
    some = voxels[:: max(len(voxels) // _SEEN, 1)]
    values = image.data.reshape((-1, image.data.shape[3]), order="F")[some][:, chosen].astype(np.float64)
    return np.nanmean(np.where(np.isfinite(values), values, np.nan) * image.slope + image.inter, axis=0)


def _mask_places(mask: str | Path | NDArray | None, path: Path, image: Image, b0: NDArray) -> NDArray[np.intp] | None:
    """Places (voxel,) of the mask's voxels in the order of the file; None without a mask: all of them.

    `b0` (volume,) are the volumes of the smallest b-value, which an automatic mask is made from.
    """
    if mask is None:
        return None
    if isinstance(mask, np.ndarray):
        if mask.shape != image.geometry.shape:
            raise InputError(
                f"{path}: found a volume of shape {image.geometry.shape}, expected {mask.shape} as in the mask"
            )
        return np.flatnonzero(mask.reshape(-1, order="F"))
    if isinstance(mask, str) and mask == AUTO:
        inside = auto_mask(_mean_image(image, b0))
        if not inside.any():
            raise InputError(f"mask: found '{AUTO}', expected a mask file: {path} has no signal at the smallest b")
        return np.flatnonzero(inside.reshape(-1, order="F"))
    other = read_image(Path(mask))
    require_same_place(mask, other.data.shape, other.geometry, path, image.geometry)
    with np.errstate(invalid="ignore"):
        places = np.flatnonzero(other.data.reshape(-1, order="F") * np.float64(other.slope) + other.inter > 0)
    if not len(places):
        raise InputError(f"{mask}: found no voxel above 0, expected a mask with at least one")
    return places


def _mean_image(image: Image, volumes: NDArray) -> NDArray[np.float64]:
    """Mean (x, y, z) of the finite values of some volumes, scaled."""
    total, n = np.zeros(image.geometry.shape), np.zeros(image.geometry.shape, np.intp)
    for volume in volumes:
        values = image.data[..., volume] * np.float64(image.slope) + image.inter
        finite = np.isfinite(values)
        total[finite] += values[finite]
        n += finite
    return total / np.maximum(n, 1)


def _mask_notes(mask: str | Path | NDArray | None, signals: NDArray, shape: tuple[int, ...]) -> list[str]:
    """How many voxels an automatic mask has; and, without a mask, that one would leave most of them out."""
    n = np.prod(shape)
    if isinstance(mask, str) and mask == AUTO:
        return [
            f"mask: {len(signals):,} of {n:,} voxels, bright at the smallest b-value; look at it before you trust it"
        ]
    share = background_share(signals[:: max(len(signals) // _SEEN, 1), 0]) if mask is None else 0
    if share <= 0.5:
        return []
    return [f"{100 * share:.0f} % of the voxels look like background; mask='{AUTO}' leaves them out"]


def _pack(
    image: Image, protocol: Protocol, places: NDArray[np.intp] | None, chosen: NDArray[np.intp]
) -> tuple[NDArray[np.float32], int]:
    """Signals (voxel, b) of the voxels at `places`, and how many of them have volumes that are not finite.

    `chosen` (volume,) are the volumes that `protocol` is of.
    """
    volumes = image.data.reshape((-1, image.data.shape[3]), order="F").T  # (volume, voxel), contiguous, no copy
    every = len(chosen) == len(volumes)
    n = volumes.shape[1] if places is None else len(places)
    signals, missing = np.empty((n, len(protocol.bvalues)), np.float32), 0
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        some = slice(start, stop) if places is None else places[start:stop]
        block = (volumes[:, some] if every else np.stack([volumes[k, some] for k in chosen])).astype(np.float64)
        if (image.slope, image.inter) != (1, 0):
            block *= image.slope
            block += image.inter
        signals[start:stop], lost = protocol.average_and_count(block.T)
        missing += lost
    return signals, missing


def _index(shape: tuple[int, ...], places: NDArray[np.intp] | None) -> NDArray[np.int32]:
    places = np.arange(np.prod(shape)) if places is None else places
    index = np.empty((len(places), 3), np.int32)
    for axis, coordinates in enumerate(np.unravel_index(places, shape, order="F")):
        index[:, axis] = coordinates
    return index


def _check_bvec(bvec: str | Path, volumes: int) -> None:
    text = read_text(bvec, "a text file of directions")
    try:
        with warnings.catch_warnings(action="ignore"):  # of an empty file
            directions = np.loadtxt(io.StringIO(text), ndmin=2)
    except ValueError as error:
        raise InputError(f"{bvec}: found no table of numbers, expected 3 rows of {volumes} directions") from error
    if directions.shape not in ((3, volumes), (volumes, 3)):
        raise InputError(f"{bvec}: found a table of {directions.shape}, expected 3 rows of {volumes} directions")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
