"""NIfTI files: an image in, as it is stored, and a volume out.

gzip goes through ISA-L (`isal`), several times faster than zlib; files that it writes hold no time, and so are the same
at every run.
"""

import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.files import told, written_whole
from ivimsc.nifti.header import files_of, geometry_of, new_header, parse_header, scaling_of
from ivimsc.regular import open_regular
from ivimsc.voxels import Geometry

__all__ = [
    "Image",
    "bval_text",
    "encode_volume",
    "geometry_like",
    "little_endian",
    "read_geometry",
    "read_image",
    "read_shape",
    "read_volume",
    "volume_stream",
    "write_bval",
    "write_volume",
]

_DEFLATE = 1100  # no gzip file unpacks to more than this many times its size
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
    path : NIfTI file of any integer or float type, .nii or .nii.gz, or either file of a pair, .hdr and .img

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


def read_geometry(path: str | Path) -> Geometry:
    """Where the voxels of a NIfTI file lie; its data are not read. InputError for a file that is missing or not NIfTI."""
    about = files_of(Path(path))[0]
    with told(about, "a NIfTI file that can be read"), open(about, "rb") as file, _whole(about):
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        return geometry_of(about, parse_header(about, igzip.IGzipFile(fileobj=file, mode="rb") if packed else file)[0])


def geometry_like(like: Any) -> Geometry:
    """Where the voxels lie of whatever has a place: a NIfTI file, a nibabel image, a store, or a `Geometry`.

    Raises
    ------
    InputError
        for anything else
    """
    if isinstance(like, str | Path):
        return read_geometry(like)
    found = getattr(like, "geometry", like)
    if isinstance(found, Geometry):
        return found
    if isinstance(getattr(like, "header", None), nib.Nifti1Header):
        return geometry_of(Path(like.get_filename() or "like"), like.header.copy())
    raise InputError(
        f"like: found {type(like).__name__}, expected a NIfTI file, a nibabel image, a store or a Geometry"
    )


def encode_volume(
    file: IO[bytes],
    volume: NDArray,
    geometry: Geometry,
    compress: bool = True,
    window: tuple[float, float] | None = None,
) -> None:
    """Write the bytes of a NIfTI file.

    Parameters
    ----------
    file : open for writing bytes
    volume : (x, y, z) or (x, y, z, b); a bool volume is written as uint8
    geometry : gives the file its affine, qform, sform, codes, zooms and unit
    compress : as .nii.gz
    window : the values that viewers show as the darkest and the brightest
    """
    if volume.dtype == bool:
        volume = volume.astype(np.uint8)
    with volume_stream(file, volume.shape, volume.dtype, geometry, compress, window) as stream:
        stream.write(little_endian(volume.T))  # x fastest; no copy in Fortran order


@contextmanager
def volume_stream(
    file: IO[bytes],
    shape: tuple[int, ...],
    dtype: np.dtype,
    geometry: Geometry,
    compress: bool = True,
    window: tuple[float, float] | None = None,
) -> Iterator[IO[bytes]]:
    """A NIfTI file whose volume follows piece by piece; use as a context manager.

    Parameters
    ----------
    file : open for writing bytes
    shape : (x, y, z) or (x, y, z, b), of the whole volume
    dtype : type of its values
    geometry, compress, window : as for `encode_volume`

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
    head = new_header(shape, np.dtype(dtype), geometry, window).binaryblock + bytes(4)  # four zeros: no extensions
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
        temporary.write_text(bval_text(bvalues), encoding="utf-8")
    return Path(path)


def bval_text(bvalues: ArrayLike) -> str:
    """The content of a .bval file: b-values (b,) [s/mm²] as one row of text."""
    return " ".join(f"{b:.10g}" for b in np.ravel(bvalues)) + "\n"


def read_image(path: Path) -> Image:
    """Read a NIfTI image without scaling its values.

    Axes of size 1 beyond the third are left out where there are more than four: (x, y, z, 1, b) is (x, y, z, b).

    Parameters
    ----------
    path : NIfTI file, .nii or .nii.gz, or either file of a pair, .hdr and .img

    Raises
    ------
    InputError
        for a file that is missing, truncated, damaged or not NIfTI
    """
    about, values = files_of(path)
    with _opened(about) as stream:
        header, offset = parse_header(about, stream)
        geometry = geometry_of(about, header)
        slope, inter = scaling_of(about, header)
        if values == about:
            data = _read_data(path, stream, header, offset - header.sizeof_hdr)
    if values != about:
        with _opened(values) as stream:
            data = _read_data(values, stream, header, offset)
    if data.ndim > 4:
        longer = [n for n in data.shape[3:] if n > 1]
        data = data.reshape(*data.shape[:3], *(longer or [1]), order="F")
    return Image(data, slope, inter, geometry)


def read_shape(path: str | Path) -> tuple[int, ...]:
    """The shape of a NIfTI image, from its header alone.

    Parameters
    ----------
    path : as for `read_image`

    Raises
    ------
    InputError
        for a file that is missing or not NIfTI
    """
    about = files_of(Path(path))[0]
    with told(about, "a NIfTI file that can be read"), open(about, "rb") as file, _whole(about):
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = igzip.IGzipFile(fileobj=file, mode="rb") if packed else file
        return tuple(int(size) for size in parse_header(about, stream)[0].get_data_shape())


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked; at the end of the block the checksum of packed ones is compared."""
    expected = "a NIfTI file that can be read"
    with told(path, expected), open_regular(path, expected) as file, _whole(path):
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = igzip.IGzipFile(fileobj=file, mode="rb") if packed else file
        yield stream
        while packed and stream.read(1 << 20):
            pass  # to the end of the stream, where gzip compares its checksum


def _read_data(path: Path, stream: IO[bytes], header: nib.Nifti1Header, skipped: int) -> NDArray:
    """The values that follow in `stream` after `skipped` bytes, in Fortran order."""
    declared = math.prod(map(int, header.get_data_shape())) * header.get_data_dtype().itemsize
    size = path.stat().st_size * (1 if isinstance(stream, io.FileIO) else _DEFLATE)
    if skipped + declared > size:  # before memory is taken
        raise InputError(
            f"{path}: found {size:,} bytes at most, expected {skipped + declared:,}: the file is truncated"
        )
    while skipped and (got := len(stream.read(min(skipped, 1 << 20)))):
        skipped -= got
    data = np.empty(header.get_data_shape(), header.get_data_dtype(), order="F")
    rest = data.reshape(-1, order="F").view(np.uint8).data
    size = len(rest)
    while len(rest) and (got := stream.readinto(rest)):
        rest = rest[got:]
    if len(rest):
        raise InputError(f"{path}: found {size - len(rest)} of {size} bytes of image data: the file is truncated")
    return data


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
