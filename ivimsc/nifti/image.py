"""NIfTI files: an image in, as it is stored, and a volume out.

gzip goes through ISA-L (`isal`), several times faster than zlib; files that it writes hold no time, and so are the same
at every run.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.spatialimages import HeaderDataError
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.files import told, written_whole
from ivimsc.voxels import Geometry

__all__ = [
    "Image",
    "encode_volume",
    "little_endian",
    "read_image",
    "read_volume",
    "volume_stream",
    "write_bval",
    "write_volume",
]

_LEVEL = 1  # of ISA-L's 0..3: on float32 maps 2 and 3 are no smaller, and 0 a third larger


class Image(NamedTuple):
    """An image as its file stores it: data (x, y, z, …) in Fortran order; the values are data · slope + inter."""

    data: NDArray
    slope: float
    inter: float
    geometry: Geometry


def read_volume(path: str | Path) -> tuple[NDArray, Geometry]:
    """Read a NIfTI image.

    Parameters
    ----------
    path : NIfTI file, .nii or .nii.gz, of any integer or float type

    Returns
    -------
    volume
        (x, y, z, …) in the type that the file has, or float32 where the file scales its values
    geometry
        where the volume lies

    Raises
    ------
    InputError
        for a file that is missing, truncated or not NIfTI
    """
    image = read_image(Path(path))
    if (image.slope, image.inter) == (1, 0):
        return image.data, image.geometry
    return (image.data * np.float64(image.slope) + image.inter).astype(np.float32), image.geometry


def write_volume(path: str | Path, volume: NDArray, geometry: Geometry, force: bool = False) -> Path:
    """Write a volume as a NIfTI file in its own type, in one piece; gzipped where the name ends in .gz.

    Parameters
    ----------
    path : file to write
    volume : (x, y, z) or (x, y, z, b)
    geometry : where the volume lies
    force : replace a file of the same name

    Returns
    -------
    `path`

    Raises
    ------
    InputError
        if the file exists (without `force`), cannot be written, or the shape is not that of `geometry`
    """
    path = Path(path)
    with written_whole(path, force) as temporary, open(temporary, "wb") as file:
        encode_volume(file, volume, geometry, compress=path.suffix == ".gz")
    return path


def encode_volume(file: IO[bytes], volume: NDArray, geometry: Geometry, compress: bool = True) -> None:
    """Write the bytes of a NIfTI file.

    Parameters
    ----------
    file : open for writing bytes
    volume : (x, y, z) or (x, y, z, b); a bool volume is written as uint8
    geometry : gives the file its affine, qform, sform, codes, zooms and unit
    compress : as .nii.gz
    """
    if volume.dtype == bool:
        volume = volume.astype(np.uint8)
    with volume_stream(file, volume.shape, volume.dtype, geometry, compress) as stream:
        stream.write(little_endian(volume.T))  # x fastest; no copy in Fortran order


@contextmanager
def volume_stream(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, geometry: Geometry, compress: bool = True
) -> Iterator[IO[bytes]]:
    """A NIfTI file whose volume follows piece by piece; use as a context manager.

    Parameters
    ----------
    file : open for writing bytes
    shape : (x, y, z) or (x, y, z, b), of the whole volume
    dtype : type of its values
    geometry, compress : as for `encode_volume`

    Yields
    ------
    a file that takes the bytes of the volume (`little_endian`), x fastest

    Raises
    ------
    InputError
        where the shape is not that of `geometry`
    """
    if shape[:3] != tuple(geometry.shape):
        raise InputError(f"volume: found shape {shape}, expected {tuple(geometry.shape)} first")
    head = _header(shape, np.dtype(dtype), geometry).binaryblock + bytes(4)  # four zeros: no extensions
    if not compress:
        file.write(head)
        yield file
        return
    with igzip.IGzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as stream:
        stream.write(head)
        yield stream


def little_endian(values: NDArray) -> memoryview:
    """The bytes of an array of any shape in C order, as NIfTI files have them."""
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def write_bval(path: str | Path, bvalues: ArrayLike, force: bool = False) -> Path:
    """Write b-values as one row of text, as FSL and BIDS have it.

    Parameters
    ----------
    path : file to write
    bvalues : (b,) in s/mm²
    force : replace a file of the same name

    Returns
    -------
    `path`

    Raises
    ------
    InputError
        if the file exists (without `force`) or cannot be written
    """
    with written_whole(path, force) as temporary:
        temporary.write_text(" ".join(f"{b:.10g}" for b in np.ravel(bvalues)) + "\n", encoding="utf-8")
    return Path(path)


def read_image(path: Path) -> Image:
    """Read a NIfTI image without scaling its values.

    Parameters
    ----------
    path : NIfTI file, .nii or .nii.gz

    Raises
    ------
    InputError
        for a file that is missing, truncated, damaged or not NIfTI
    """
    with told(path, "a NIfTI file that can be read"), open(path, "rb") as file, _whole(path):
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = igzip.IGzipFile(fileobj=file, mode="rb") if packed else file
        header = _parse(path, stream)
        data = np.empty(header.get_data_shape(), header.get_data_dtype(), order="F")
        rest = data.reshape(-1, order="F").view(np.uint8).data
        size = len(rest)
        while len(rest) and (got := stream.readinto(rest)):
            rest = rest[got:]
        if len(rest):
            raise InputError(f"{path}: found {size - len(rest)} of {size} bytes of image data: the file is truncated")
        while packed and stream.read(1 << 20):
            pass  # to the end of the stream, where gzip compares its checksum
        slope, inter = header.get_slope_inter()
        return Image(data, 1.0 if slope is None else slope, 0.0 if inter is None else inter, _geometry(path, header))


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Tell in one line what is wrong with a compressed stream."""
    try:
        yield
    except EOFError as error:
        raise InputError(
            f"{path}: found the end of the file inside its gzip data, expected a whole file: it is truncated"
        ) from error
    except (zlib.error, igzip.BadGzipFile, igzip.isal_zlib.error) as error:
        raise InputError(f"{path}: found damaged gzip data ({error}), expected a whole NIfTI file") from error


def _parse(path: Path, stream: IO[bytes]) -> nib.Nifti1Header:
    """The header at the start of `stream`, which is left at the first byte of the data."""
    head = stream.read(348)
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    if 540 in sizes:
        head += stream.read(540 - 348)
    kind, magic = (nib.Nifti2Header, head[4:8]) if 540 in sizes else (nib.Nifti1Header, head[344:348])
    if not sizes & {348, 540} or magic not in (b"n+1\0", b"n+2\0") or len(head) < 348:
        found = "a header of a .hdr/.img pair" if magic in (b"ni1\0", b"ni2\0") else "a file that is not NIfTI"
        raise InputError(f"{path}: found {found}, expected a NIfTI file (.nii or .nii.gz)")
    try:
        header = kind(head)
        dtype, shape = header.get_data_dtype(), header.get_data_shape()
        offset = header.get_data_offset()
    except (HeaderDataError, ValueError, KeyError) as error:
        raise InputError(f"{path}: found a damaged NIfTI header ({error}), expected a whole one") from error
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: found values of type {dtype}, expected integers or floats")
    if len(shape) < 3 or min(shape) < 1:
        raise InputError(f"{path}: found an image of shape {shape}, expected (x, y, z) or more")
    stream.read(max(offset - len(head), 0))
    return header


def _geometry(path: Path, header: nib.Nifti1Header) -> Geometry:
    try:
        qform, qform_code = header.get_qform(coded=True)
        sform, sform_code = header.get_sform(coded=True)
        affine = header.get_best_affine()
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise InputError(f"{path}: found an unusable qform or sform ({error}), expected an affine") from error
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) == 0:
        raise InputError(f"{path}: found the affine {affine[:3].tolist()}, expected a finite, invertible one")
    zooms = tuple(float(zoom) for zoom in header.get_zooms()[:3])
    unit = header.get_xyzt_units()[0]
    return Geometry(header.get_data_shape()[:3], affine, qform, sform, int(qform_code), int(sform_code), zooms, unit)


def _header(shape: tuple[int, ...], dtype: np.dtype, geometry: Geometry) -> nib.Nifti1Header:
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
    header["vox_offset"] = header.sizeof_hdr + 4
    return header
