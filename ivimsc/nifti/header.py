"""NIfTI headers: those of files as people have them, and the place that they give to the voxels.

What is wrong and harmless is read as it is meant: a qform off by rounding, a negative voxel size, an unknown unit.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.voxels import Geometry

__all__ = ["files_of", "geometry_of", "new_header", "parse_header", "scaling_of"]

_SINGLE, _PAIR = (b"n+1\0", b"n+2\0"), (b"ni1\0", b"ni2\0")
_SIZES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_UNITS = {1: "meter", 2: "mm", 3: "micron"}  # bits 0 to 2 of xyzt_units; bits 6 and 7 are unused
_ALIGNED, _LAST_CODE = 2, 5  # of the spaces that a qform or sform can lead to
_FAR = 1e9  # mm: no voxel is so far away or so large
_ROUNDING = 1e-3  # the sum of squares of a quaternion's parts may be so far above 1


def files_of(path: Path) -> tuple[Path, Path]:
    """The file of the header and the file of the data: the same, but for a pair (.hdr and .img, each plain or gzipped).

    Parameters
    ----------
    path : NIfTI file, or either file of a pair

    Returns
    -------
    their paths; a file of a pair that is missing keeps the name that it should have
    """
    name = path.name.removesuffix(".gz")
    if not name.endswith((".hdr", ".img")):
        return path, path
    stem = name[:-4]
    found = [path if name.endswith(end) else _first(path.with_name(stem + end + gz) for gz in ("", ".gz")) for end in (".hdr", ".img")]  # fmt: skip
    return found[0], found[1]


def _first(paths: Iterable[Path]) -> Path:
    """The first of `paths` that is there, or the first."""
    paths = list(paths)
    return next((path for path in paths if path.exists()), paths[0])


def parse_header(path: Path, stream: IO[bytes]) -> tuple[nib.Nifti1Header, int]:
    """The header at the start of `stream`.

    Parameters
    ----------
    path : of the file, for errors
    stream : its bytes, unpacked; the header is read

    Returns
    -------
    header
        of NIfTI-1 or NIfTI-2
    offset
        the bytes before the data, in this file or in the other one of a pair

    Raises
    ------
    InputError
        for anything but an image of integers or floats of three axes or more
    """
    head = stream.read(348)
    size = next((n for n in _SIZES for order in ("little", "big") if n == int.from_bytes(head[:4], order)), 0)
    head += stream.read(max(size - 348, 0))
    magic = head[4:8] if size == 540 else head[344:348]
    if magic not in _SINGLE + _PAIR or len(head) < size or not size:
        old = "an Analyze header, which has no orientation" if size == 348 == len(head) else "a file that is not NIfTI"
        raise InputError(f"{path}: found {old}, expected a NIfTI file (.nii, .nii.gz, or .hdr and .img)")
    single = path.name.removesuffix(".gz")[-4:] not in (".hdr", ".img")
    if single != (magic in _SINGLE):
        found, names = ("one file", ".nii") if magic in _SINGLE else ("the header of a pair", ".hdr and .img")
        raise InputError(f"{path}: found {found}, expected names that end in {names} for it")
    try:
        header = _SIZES[size](head, check=False)
        dtype, shape = header.get_data_dtype(), tuple(header.get_data_shape())
        offset = float(header["vox_offset"])
    except (HeaderDataError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise InputError(f"{path}: found a damaged NIfTI header ({error}), expected a whole one") from error
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: found values of type {dtype}, expected integers or floats")
    if len(shape) < 3 or min(shape) < 1:
        raise InputError(f"{path}: found an image of shape {shape}, expected (x, y, z) or more")
    if not 0 <= offset < 2**40:
        raise InputError(f"{path}: found vox_offset {offset:g}, expected the place of the data in the file [bytes]")
    least = size + 4 if single else 0  # writers leave 0 where the data follow the header and its 4 bytes
    return header, max(int(offset), least)


def geometry_of(path: Path, header: nib.Nifti1Header) -> Geometry:
    """Where the voxels lie.

    The sform counts where its code is above 0, as in viewers; a qform that cannot be read is left out beside it.

    Parameters
    ----------
    path : of the file, for errors
    header : of the file; what is harmless is mended in it

    Raises
    ------
    InputError
        where no affine is left that is finite and invertible
    """
    _mend(header)
    try:
        sform, sform_code = header.get_sform(coded=True)
        qform, qform_code = _qform(header, needed=sform is None)
        affine = header.get_base_affine() if sform is qform is None else qform if sform is None else sform
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise InputError(f"{path}: found an unusable qform or sform ({error}), expected an affine") from error
    if not _is_place(affine):
        raise InputError(f"{path}: found the affine {affine[:3].tolist()}, expected a finite, invertible one")
    zooms = header["pixdim"][1:4].astype(float)
    zooms = np.where(np.isfinite(zooms) & (zooms > 0), zooms, np.linalg.norm(affine[:3, :3], axis=0))
    unit = _UNITS.get(int(header["xyzt_units"]) & 7, "unknown")
    place = (affine, qform, sform, int(qform_code), int(sform_code))
    return Geometry(tuple(header.get_data_shape()[:3]), *place, tuple(zooms.tolist()), unit)


def scaling_of(path: Path, header: nib.Nifti1Header) -> tuple[float, float]:
    """Slope and intercept of the values, 1 and 0 where the header has none; InputError for an intercept that is no number."""
    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise InputError(f"{path}: found a damaged NIfTI header ({error}), expected a whole one") from error
    return 1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter)


def _mend(header: nib.Nifti1Header) -> None:
    """Voxel sizes are positive, qfac is 1 or -1, codes are known, and the parts of the quaternion are at most 1 but for rounding."""
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    header["pixdim"][0] = -1 if header["pixdim"][0] == -1 else 1  # 0 stands for 1
    for name in ("qform_code", "sform_code"):
        if not 0 <= (code := int(header[name])) <= _LAST_CODE:
            header[name] = _ALIGNED if code > 0 else 0  # a space that nobody knows; none, as viewers take it
    names = ("quatern_b", "quatern_c", "quatern_d")
    parts = np.array([header[name] for name in names], np.float64)
    if 1 < (norm := parts @ parts) < 1 + _ROUNDING:
        for name, part in zip(names, parts / np.sqrt(norm), strict=True):
            header[name] = part


def _qform(header: nib.Nifti1Header, needed: bool) -> tuple[NDArray | None, int]:
    """The qform and its code; None and 0 where it is no place and not needed."""
    try:
        qform, code = header.get_qform(coded=True)
    except (HeaderDataError, ValueError):
        if needed:
            raise
        return None, 0
    return (qform, code) if qform is None or needed or _is_place(qform) else (None, 0)


def _is_place(affine: NDArray) -> bool:
    return bool(np.abs(affine).max() < _FAR and abs(np.linalg.det(affine[:3, :3])) > 0)  # NaN is not below


def new_header(
    shape: tuple[int, ...], dtype: np.dtype, geometry: Geometry, window: tuple[float, float] | None = None
) -> nib.Nifti1Header:
    """The header of a file to write, of NIfTI-2 where an axis is too long for NIfTI-1.

    Parameters
    ----------
    shape : (x, y, z) or (x, y, z, b)
    dtype : of the values
    geometry : where they lie
    window : the values that viewers show as the darkest and the brightest (cal_min, cal_max)
    """
    kind = nib.Nifti1Header if max(shape) < 2**15 else nib.Nifti2Header  # NIfTI-1 counts in int16
    header = kind()
    header.set_data_dtype(dtype.newbyteorder("<"))
    header.set_data_shape(shape)
    header.set_zooms((*geometry.zooms, *(1.0,) * (len(shape) - 3)))
    header.set_xyzt_units(geometry.xyz_unit)
    if geometry.qform is not None:
        header.set_qform(geometry.qform, geometry.qform_code)
    if geometry.sform is not None:
        header.set_sform(geometry.sform, geometry.sform_code)
    uncoded = header["qform_code"] == header["sform_code"] == 0
    if uncoded and not np.allclose(header.get_base_affine(), geometry.affine):
        header.set_sform(geometry.affine, "aligned")  # an affine of our own; of a file without codes it is the base
    header["scl_slope"], header["scl_inter"] = 1, 0
    if window is not None:
        header["cal_min"], header["cal_max"] = window
    header["vox_offset"] = header.sizeof_hdr + 4
    return header
