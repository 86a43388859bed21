"""Stores, open for reading: what both kinds share. No byte of a file reaches the HDF5 library (see `reading`)."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.store.kinds import Attributes, checked, damaged, expect_checksums, first_line, require_kind
from ivimsc.store.reading import Damaged, File, Table
from ivimsc.voxels import Geometry

__all__ = ["ESTIMATES", "VERSION", "VOXELS", "Store", "open_file", "require_format"]

VOXELS, ESTIMATES, VERSION = "ivimsc-voxels", "ivimsc-estimates", 1
MOST_PLACES, MOST_IN_SLICE = 2**28, 2**24  # voxels of a volume: 645 × 645 × 645; of a slice: 4096 × 4096
BLOCK = 2**18  # rows read at once


class Store:
    """What both kinds of store share: opening, checking, geometry, closing."""

    FORMAT = ""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = open_file(self.path)
        try:
            with checked(self.path):
                require_format(self.path, self._file, self.FORMAT)
                attributes = Attributes(self._file.attrs)
                self.geometry = _read_geometry(attributes)
                self.source = attributes.text("source")
                self.source_sha256 = attributes.text("source_sha256")
                self.signals_sha256 = attributes.text("signals_sha256")
                self.created = attributes.text("created")
                self.version = attributes.text("ivimsc_version")
                self.attrs: dict[str, Any] = attributes.json("attrs", dict)
                self.index: Table = self._file["index"]  # (voxel, 3) int32; index[start:stop] reads
                require_kind(self.index, "i", (None, 3))
                self.index.require = self._require_inside
                self._load(attributes)
                self._require_volume()
                self._require_kinds(attributes)
                self.has_checksums = expect_checksums(self._file)
        except BaseException:
            self.close()
            raise

    def _load(self, attributes: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _require_kinds(self, attributes: Attributes) -> None:
        """Refuse tables and attributes of another type or shape than ivimsc writes (Damaged)."""
        raise NotImplementedError

    def _require_lengths(self, group: str, lengths: Mapping[str, int]) -> None:
        for name, length in lengths.items():
            if length != len(self):
                raise InputError(
                    f"{self.path}: found {length} rows in {group}{name}, expected {len(self)}, as many as voxels"
                )

    def _require_volume(self) -> None:
        """Refuse a volume that is out of all proportion: a slice of it is an array in memory."""
        shape = self.geometry.shape
        slices, volume = max(MOST_IN_SLICE, 16 * len(self)), max(MOST_PLACES, 16 * len(self))
        if math.prod(shape[:2]) > slices or math.prod(shape) > volume:
            raise Damaged(f"{len(self):,} voxels in a volume of shape {shape}, expected at most {volume:,} places")

    def _require_inside(self, index: NDArray[np.int32]) -> None:
        """Refuse places (voxel, 3) outside the volume (InputError)."""
        shape = self.geometry.shape
        if ((index < 0) | (index >= shape)).any():
            raise InputError(f"{self.path}: found an index outside the volume, expected all within {shape}")

    def places(self, run: int = BLOCK) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The places of the voxels in the volume, x fastest, as (first voxel, places (voxel,)), `run` voxels at a time.

        Raises
        ------
        InputError
            for a place outside the volume, and for one that comes twice
        """
        shape, last, unordered = self.geometry.shape, -1, False
        for start in range(0, len(self.index), run):
            places = np.ravel_multi_index(tuple(self.index[start : start + run].T), shape, order="F")
            unordered |= bool(len(places) and (places[0] <= last or (np.diff(places) <= 0).any()))
            last = int(places[-1])
            yield start, places
        if unordered:
            self._require_distinct()

    def _require_distinct(self) -> None:
        shape = self.geometry.shape
        found = np.sort(np.ravel_multi_index(tuple(self.index[:].T), shape, order="F"))
        if (np.diff(found) == 0).any():
            raise InputError(f"{self.path}: found two voxels in one place of the volume, expected a place for each")

    def verify(self) -> list[str]:
        """Read everything that has a checksum, and compare.

        Returns
        -------
        names of the tables that have none: an earlier ivimsc wrote the store

        Raises
        ------
        InputError
            for a store that was changed since it was written
        """
        tables = self._file.tables()
        for table in tables.values():
            table.verify()
        return [name for name, table in tables.items() if not table.has_checksum]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_geometry(attributes: Attributes) -> Geometry:
    """The geometry among the attributes of a store."""
    forms = {name: attributes.numbers(name, 4, 4) for name in ("qform", "sform") if name in attributes}
    shape = tuple(int(size) for size in attributes.numbers("shape", 3))
    if min(shape) < 1:
        raise Damaged(f"a volume of shape {shape}, expected lengths of at least 1")
    codes = {name: attributes.of_kind(name, int) for name in ("qform_code", "sform_code")}
    if not set(codes.values()) <= set(range(6)):
        raise Damaged("a qform_code or sform_code that NIfTI does not have")
    unit = attributes.text("xyz_unit")
    if unit not in ("unknown", "meter", "mm", "micron"):
        raise Damaged(f"the unit {unit[:20]!r} of lengths")
    affine, zooms = attributes.numbers("affine", 4, 4), attributes.numbers("zooms", 3)
    return Geometry(shape, affine, **forms, **codes, zooms=tuple(zooms.tolist()), xyz_unit=unit)


def open_file(path: Path) -> File:
    """Open an HDF5 file of ivimsc for reading.

    Parameters
    ----------
    path : of the file

    Raises
    ------
    InputError
        for a file that is missing, no HDF5, truncated or damaged, or with anything in it that ivimsc does not write
    """
    if path.is_dir() or not path.exists():
        raise InputError(f"{path}: found {'a folder' if path.is_dir() else 'no such file'}, expected a store (.h5)")
    try:
        return File(path, lambda text: damaged(path, text))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected a store of ivimsc (.h5)") from error
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # Damaged among them
        found = "a truncated or damaged HDF5 file" if isinstance(error, Damaged) else "a damaged HDF5 file"
        found = "no readable HDF5 file" if str(error) == "no HDF5 file" else found
        raise InputError(f"{path}: found {found} ({first_line(error)[:200]}), expected a store of ivimsc") from error


def require_format(path: Path, file: File, kind: str) -> None:
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
    if not isinstance(found, str) or found != kind:
        other = (
            f"format {str(found)[:60]!r}"
            if found is not None and str(found)
            else "an HDF5 file of something else (no format)"
        )
        raise InputError(f"{path}: found {other}, expected {kind!r}")
    if not isinstance(version, int) or version != VERSION:
        version, made = (str(text)[:20] for text in (version, file.attrs.get("ivimsc_version", "unknown")))
        raise InputError(f"{path}: found format_version {version} (ivimsc {made}), expected {VERSION}")
