"""HDF5 for the stores: the only file of the package that imports h5py."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from ivimsc import __version__
from ivimsc.errors import InputError
from ivimsc.files import FailSafeFile, written_whole
from ivimsc.store.journal import to_json
from ivimsc.voxels import Geometry

__all__ = [
    "BLOCK",
    "ESTIMATES",
    "VOXELS",
    "Dataset",
    "File",
    "Store",
    "checked",
    "column",
    "created",
    "describe",
    "open_file",
]

VOXELS, ESTIMATES, VERSION = "ivimsc-voxels", "ivimsc-estimates", 1
BLOCK = 65536  # voxels per copy: some MB
_ROWS = 16384  # voxels per HDF5 chunk of a table: 640 KB at 10 b-values
_CACHE = 2**20  # bytes of chunk cache per dataset: the pieces come in order, so one chunk is enough
File, Dataset = h5py.File, h5py.Dataset


class Store:
    """What both kinds of store share: opening, checking, geometry, closing."""

    FORMAT = ""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = open_file(self.path)
        try:
            with checked(self.path):
                require_format(self.path, self._file, self.FORMAT)
                attributes = dict(self._file.attrs)
                self.geometry = read_geometry(attributes)
                self.source = str(attributes["source"])
                self.source_sha256 = str(attributes["source_sha256"])
                self.signals_sha256 = str(attributes["signals_sha256"])
                self.created = str(attributes["created"])
                self.version = str(attributes["ivimsc_version"])
                self.attrs: dict[str, Any] = json.loads(attributes["attrs"])
                self.index: h5py.Dataset = self._file["index"]  # (voxel, 3) int32; index[start:stop] reads
                self._load(attributes)
        except BaseException:
            self.close()
            raise

    def _load(self, attributes: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _require_lengths(self, group: str, lengths: Mapping[str, int]) -> None:
        for name, length in lengths.items():
            if length != len(self):
                raise InputError(
                    f"{self.path}: found {length} rows in {group}{name}, expected {len(self)}, as many as voxels"
                )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def column(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """A new dataset with chunks that depend on nothing but its shape.

    Parameters
    ----------
    file : open for writing
    name : of the dataset; groups are made
    shape : (voxel,) or (voxel, column)
    dtype : type of its values
    """
    rows = min(shape[0], _ROWS if len(shape) > 1 else BLOCK)
    return file.create_dataset(name, shape, dtype, chunks=(rows, *shape[1:]) if rows else None)


@contextmanager
def created(path: Path, force: bool) -> Iterator[tuple[h5py.File, FailSafeFile]]:
    """Write an HDF5 file, whole or not at all; use as a context manager.

    Parameters
    ----------
    path : the file, which appears under its name only when the block ends well
    force : replace a file of the same name

    Yields
    ------
    the open file, and the guard whose `check` raises what a write met

    Raises
    ------
    InputError
        if the file exists (without `force`) or cannot be written
    IvimscError
        if the disk is full
    """
    with written_whole(path, force) as temporary:
        guard = FailSafeFile(temporary)
        try:
            with h5py.File(guard, "w", rdcc_nbytes=_CACHE) as file:
                yield file, guard
        except (OSError, RuntimeError):
            guard.check()  # a failed write is the cause, what HDF5 makes of it is not
            raise
        finally:
            guard.close()
        guard.check()


def describe(file: h5py.File, kind: str, geometry: Geometry, about: Mapping[str, Any]) -> None:
    """Write the attributes of a store.

    Parameters
    ----------
    file : open for writing
    kind : its format, `VOXELS` or `ESTIMATES`
    geometry : where its voxels lie
    about : whatever else it says; dicts are written as JSON, None is left out
    """
    made = {"format": kind, "format_version": VERSION, "ivimsc_version": __version__}
    made |= {"created": datetime.now(UTC).isoformat(timespec="seconds")}
    places = {name: getattr(geometry, name) for name in Geometry.__dataclass_fields__}
    for name, value in (made | places | dict(about)).items():
        if value is not None:
            file.attrs[name] = to_json(value) if isinstance(value, dict) else value


def read_geometry(attributes: Mapping[str, Any]) -> Geometry:
    """The geometry among the attributes of a store."""
    forms = {name: np.array(attributes[name], np.float64) for name in ("qform", "sform") if name in attributes}
    return Geometry(
        shape=tuple(int(size) for size in attributes["shape"]),
        affine=np.array(attributes["affine"], np.float64),
        qform_code=int(attributes["qform_code"]),
        sform_code=int(attributes["sform_code"]),
        zooms=tuple(float(zoom) for zoom in attributes["zooms"]),
        xyz_unit=str(attributes["xyz_unit"]),
        **forms,
    )


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Parameters
    ----------
    path : of the file

    Raises
    ------
    InputError
        for a file that is missing, no HDF5, truncated or damaged
    """
    if not path.is_file():
        raise InputError(f"{path}: found {'a folder' if path.is_dir() else 'no such file'}, expected a store (.h5)")
    try:
        # a store never changes once it has its name, so it needs no lock, which network file systems often refuse
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        found = "a truncated or damaged HDF5 file" if "truncated" in str(error) else "no readable HDF5 file"
        raise InputError(f"{path}: found {found} ({_first_line(error)}), expected a store of ivimsc") from error


def require_format(path: Path, file: h5py.File, kind: str) -> None:
    """Refuse a file of another format or version.

    Parameters
    ----------
    path : of the file, for the error
    file : open for reading
    kind : format that is wanted

    Raises
    ------
    InputError
        if the file is not of that kind, in the version that this code reads
    """
    found, version = file.attrs.get("format"), file.attrs.get("format_version")
    if found != kind:
        other = f"format {found!r}" if found else "an HDF5 file of something else (no format)"
        raise InputError(f"{path}: found {other}, expected {kind!r}")
    if version != VERSION:
        made = file.attrs.get("ivimsc_version", "unknown")
        raise InputError(f"{path}: found format_version {version} (ivimsc {made}), expected {VERSION}")


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """Tell in one line what HDF5 cannot find or read in a store; use as a context manager.

    Parameters
    ----------
    path : of the store

    Raises
    ------
    InputError
        for a damaged store
    """
    try:
        yield
    except InputError:
        raise
    except (KeyError, OSError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: found a damaged store ({_first_line(error)}), expected a whole one") from error


def _first_line(error: Exception) -> str:
    return str(error.args[-1] if error.args else error).splitlines()[0]
