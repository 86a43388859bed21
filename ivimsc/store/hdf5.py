"""Writing HDF5 files: the only file of the package that imports h5py. They are read without it, by `opened`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ivimsc import __version__
from ivimsc.files import FailSafeFile, written_whole
from ivimsc.store.kinds import CHECKSUMS, checked, checksum_of_attributes
from ivimsc.store.opened import ESTIMATES, VERSION, VOXELS, Store
from ivimsc.store.reading.tables import Checksum
from ivimsc.store.same_fit import to_json
from ivimsc.voxels import Geometry

__all__ = [
    "BLOCK",
    "ESTIMATES",
    "VOXELS",
    "File",
    "Store",
    "checked",
    "column",
    "created",
    "describe",
]

BLOCK = 65536  # voxels per copy: some MB
_ROWS = 16384  # voxels per HDF5 chunk of a table: 640 KB at 10 b-values
_CACHE = 2**20  # bytes of chunk cache per dataset: the pieces come in order, so one chunk is enough
File = h5py.File


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
            # the oldest form of the format, which `reading` knows
            with h5py.File(guard, "w", libver=("earliest", "v108"), rdcc_nbytes=_CACHE) as file:
                yield file, guard
                guard.check()
                _seal(file)
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


def _seal(file: h5py.File) -> None:
    """Note the checksums of everything in the file, in the attribute `CHECKSUMS`."""
    sums: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            rows = range(0, len(item), BLOCK)
            sums[name] = Checksum.of(np.ascontiguousarray(item[k : k + BLOCK]).reshape(-1).view(np.uint8) for k in rows)

    file.visititems(visit)
    sums["attributes"] = checksum_of_attributes(dict(file.attrs))
    file.attrs[CHECKSUMS] = json.dumps(sums)
