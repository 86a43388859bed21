"""A diffusion series into voxels: scaled, averaged per b-value, masked.

A series is read once, as it is stored, and packed block by block: it is turned from volumes (b, voxel) into voxels
(voxel, b). So the memory is the stored series plus the float32 voxels.
"""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import told
from ivimsc.nifti.header import files_of
from ivimsc.nifti.image import Image, read_image
from ivimsc.nifti.place import require_same_place
from ivimsc.physics.bvalue_text import read_bval
from ivimsc.physics.protocol import Protocol, missing_note
from ivimsc.voxels import Voxels

__all__ = ["read_series"]

_BLOCK = 16384  # voxels packed at once: their float64 copy stays in the cache


def read_series(
    path: str | Path, bval: str | Path, mask: str | Path | None = None, bvec: str | Path | None = None
) -> Voxels:
    """Read a diffusion series and its b-values, and pack the voxels of the mask (of the whole volume without one).

    Parameters
    ----------
    path : NIfTI series (x, y, z, volume) of any integer or float type, .nii or .nii.gz, or a pair .hdr and .img
    bval : text file with one b-value per volume [s/mm²], in any order; repeats and directions are averaged
    mask : NIfTI volume (x, y, z) of any type; voxels above 0 are packed
    bvec : text file of directions; only its size is checked, as directions are averaged

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
        values = read_bval(bval)
        volumes = image.data.shape[3]
        if len(values) != volumes:
            raise InputError(f"{bval}: found {len(values)} b-values, expected {volumes}, the volumes in {path}")
        if bvec is not None:
            _check_bvec(bvec, volumes)
        protocol = Protocol.from_volumes(values, str(bval))
        places = _mask_places(mask, path, image)
        signals, missing = _pack(image, protocol, places)
        notes = [*protocol.notes, *missing_note(missing, protocol)]
        attrs = {"notes": notes, "volumes": volumes, "repeats": protocol.repeats.tolist()}
        return Voxels(
            signals=signals,
            bvalues=protocol.bvalues,
            index=_index(image.geometry.shape, places),
            geometry=image.geometry,
            source=path.name,
            source_sha256=checksum.result(),
            attrs=attrs | ({} if mask is None else {"mask": Path(mask).name}),
        )


def _mask_places(mask: str | Path | None, path: Path, image: Image) -> NDArray[np.intp] | None:
    """Places (voxel,) of the mask's voxels in the order of the file; None without a mask: all of them."""
    if mask is None:
        return None
    other = read_image(Path(mask))
    require_same_place(mask, other.data.shape, other.geometry, path, image.geometry)
    with np.errstate(invalid="ignore"):
        places = np.flatnonzero(other.data.reshape(-1, order="F") * np.float64(other.slope) + other.inter > 0)
    if not len(places):
        raise InputError(f"{mask}: found no voxel above 0, expected a mask with at least one")
    return places


def _pack(image: Image, protocol: Protocol, places: NDArray[np.intp] | None) -> tuple[NDArray[np.float32], int]:
    """Signals (voxel, b) of the voxels at `places`, and how many of them have volumes that are not finite."""
    volumes = image.data.reshape((-1, image.data.shape[3]), order="F").T  # (volume, voxel), contiguous, no copy
    n = volumes.shape[1] if places is None else len(places)
    signals, missing = np.empty((n, len(protocol.bvalues)), np.float32), 0
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        some = slice(start, stop) if places is None else places[start:stop]
        block = volumes[:, some].astype(np.float64)
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
    try:
        with told(bvec, "a text file of directions"):
            directions = np.loadtxt(io.StringIO(Path(bvec).read_text(encoding="utf-8-sig")), ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{bvec}: found no table of numbers, expected 3 rows of {volumes} directions") from error
    if directions.shape not in ((3, volumes), (volumes, 3)):
        raise InputError(f"{bvec}: found a table of {directions.shape}, expected 3 rows of {volumes} directions")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
