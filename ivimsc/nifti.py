"""NIfTI in and out; the only file of the package that knows the format.

A series is read once, as it is stored, and packed block by block: scaled, averaged per b-value, masked and turned from
volumes (b, voxel) into voxels (voxel, b). So the memory is the stored series plus the float32 voxels. gzip goes through
ISA-L (`isal`), several times faster than zlib; files that it writes hold no time, and so are the same at every run.
"""

import hashlib
import io
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from ivimsc.physics.protocol import Protocol, read_bval
from ivimsc.voxels import Geometry, Voxels

__all__ = [
    "encode_volume",
    "little_endian",
    "read_series",
    "read_volume",
    "volume_stream",
    "write_bval",
    "write_volume",
]

_BLOCK = 16384  # voxels packed at once: their float64 copy stays in the cache
_LEVEL = 1  # of ISA-L's 0..3: on float32 maps 2 and 3 are no smaller, and 0 a third larger
_NEAR = 0.1  # of a voxel: headers keep float32 and quaternions, good to about 1e-3 of one; more is another place


class _Image(NamedTuple):
    """A file as it is stored: data (x, y, z, …) in Fortran order; values are data · slope + inter."""

    data: NDArray
    slope: float
    inter: float
    geometry: Geometry


def read_series(
    path: str | Path, bval: str | Path, mask: str | Path | None = None, bvec: str | Path | None = None
) -> Voxels:
    """Read a diffusion series and its b-values, and pack the voxels of the mask (of the whole volume without one).

    Parameters
    ----------
    path : NIfTI series (x, y, z, volume), .nii or .nii.gz, any integer or float type
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
        checksum = pool.submit(_sha256, path) if path.is_file() else None
        image = _read(path)
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
        attrs = {"notes": list(protocol.notes), "volumes": volumes, "repeats": protocol.repeats.tolist()}
        return Voxels(
            signals=_pack(image, protocol, places),
            bvalues=protocol.bvalues,
            index=_index(image.geometry.shape, places),
            geometry=image.geometry,
            source=path.name,
            source_sha256=checksum.result(),
            attrs=attrs | ({} if mask is None else {"mask": Path(mask).name}),
        )


def read_volume(path: str | Path) -> tuple[NDArray, Geometry]:
    """Read a NIfTI image: its array in the stored type, or float32 where the file scales its values; and its place."""
    image = _read(Path(path))
    if (image.slope, image.inter) == (1, 0):
        return image.data, image.geometry
    return (image.data * np.float64(image.slope) + image.inter).astype(np.float32), image.geometry


def write_volume(path: str | Path, volume: NDArray, geometry: Geometry, force: bool = False) -> Path:
    """Write (x, y, z) or (x, y, z, b) as NIfTI in its own type, in one piece; gzipped where the name ends in .gz.

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
    """Write the bytes of a NIfTI file to `file`; affine, qform, sform, codes, zooms and unit are those of `geometry`."""
    if volume.dtype == bool:
        volume = volume.astype(np.uint8)
    with volume_stream(file, volume.shape, volume.dtype, geometry, compress) as stream:
        stream.write(little_endian(volume.T))  # x fastest; no copy in Fortran order


@contextmanager
def volume_stream(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, geometry: Geometry, compress: bool = True
) -> Iterator[IO[bytes]]:
    """A NIfTI file whose volume follows bit by bit: what is yielded takes its bytes (`little_endian`), x fastest."""
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
    """The bytes of an array in C order, as NIfTI files have them."""
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def write_bval(path: str | Path, bvalues: ArrayLike, force: bool = False) -> Path:
    """Write b-values [s/mm²] as one row, as FSL and BIDS have it."""
    with written_whole(path, force) as temporary:
        temporary.write_text(" ".join(f"{b:.10g}" for b in np.ravel(bvalues)) + "\n", encoding="utf-8")
    return Path(path)


def _read(path: Path) -> _Image:
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
        return _Image(data, 1.0 if slope is None else slope, 0.0 if inter is None else inter, _geometry(path, header))


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


def _mask_places(mask: str | Path | None, path: Path, image: _Image) -> NDArray[np.intp] | None:
    """Places (voxel,) of the mask's voxels in the order of the file; None without a mask: all of them."""
    if mask is None:
        return None
    other = _read(Path(mask))
    shape = image.geometry.shape
    if other.data.shape[:3] != shape or other.data.size != np.prod(shape):
        raise InputError(f"{mask}: found a mask of shape {other.data.shape}, expected {shape} as in {path}")
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.array(shape)
    shift = (other.geometry.affine - image.geometry.affine) @ np.column_stack([corners, np.ones(8)]).T
    away = np.linalg.norm(shift[:3], axis=0).max()
    if away > _NEAR * min(image.geometry.zooms):
        raise InputError(
            f"{mask}: found an affine that puts a corner of the volume {away:.3g} mm away from where {path} has it, "
            f"expected at most {_NEAR:g} of a voxel"
        )
    with np.errstate(invalid="ignore"):
        places = np.flatnonzero(other.data.reshape(-1, order="F") * np.float64(other.slope) + other.inter > 0)
    if not len(places):
        raise InputError(f"{mask}: found no voxel above 0, expected a mask with at least one")
    return places


def _pack(image: _Image, protocol: Protocol, places: NDArray[np.intp] | None) -> NDArray[np.float32]:
    volumes = image.data.reshape((-1, image.data.shape[3]), order="F").T  # (volume, voxel), contiguous, no copy
    n = volumes.shape[1] if places is None else len(places)
    signals = np.empty((n, len(protocol.bvalues)), np.float32)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        some = slice(start, stop) if places is None else places[start:stop]
        block = volumes[:, some].astype(np.float64)
        if (image.slope, image.inter) != (1, 0):
            block *= image.slope
            block += image.inter
        signals[start:stop] = protocol.average(block.T)
    return signals


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
