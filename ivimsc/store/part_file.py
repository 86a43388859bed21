"""The part file of a running fit, which becomes its estimate store (see `ivimsc.store.estimates`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ivimsc import __version__
from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, REQUIRED, Estimates, Spectrum
from ivimsc.files import FailSafeFile
from ivimsc.store.hdf5 import BLOCK, ESTIMATES, File, column, created, describe
from ivimsc.store.journal import Journal, discard
from ivimsc.store.same_fit import to_json

__all__ = ["PartFile"]


class PartFile:
    """The crash-safe way to an estimate store: append finished chunks, then `finish`; see `ivimsc.store.journal`.

    Until `finish` has renamed the whole store into place, nothing exists under its name but ``NAME.part`` and its
    journal, from which another process resumes. Use as a context manager, which closes and keeps them.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any], resume: bool = False, force: bool = False) -> None:
        self.path, self._force = Path(path), force
        self._journal = Journal(path, header, resume, force)
        self._header = dict(header)

    @classmethod
    def open(cls, path: str | Path, header: Mapping[str, Any], resume: bool = False, force: bool = False) -> Self:
        """Start an estimate store, or go on with it.

        Parameters
        ----------
        path : the estimate store
        header : from `PartFile.header`: says which fit this is
        resume : go on with the part file, if there is one
        force : replace a store of the same name; without `resume` start anew, whatever part file there is

        Raises
        ------
        InputError
            if the store exists (without `force`); if a part file exists (without `resume` or `force`), belongs to
            another fit, or is being written by another process
        """
        return cls(path, header, resume, force)

    @staticmethod
    def header(voxels: Any, method: str, options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """What makes two fits the same fit: signals, method, options, b-values and version.

        Parameters
        ----------
        voxels : what is fitted (bvalues, signals_sha256, and how many)
        method : its name
        options : of the method
        more : whatever else sets the fit apart; JSON types
        """
        same = {"method": method, "options": dict(options), "bvalues": voxels.bvalues, "voxels": len(voxels)}
        return same | {"signals_sha256": voxels.signals_sha256, "ivimsc_version": __version__} | more

    @staticmethod
    def discard(path: Path) -> None:
        """Remove what a kill left of the part file of the finished store `path`."""
        discard(path)

    @property
    def done(self) -> int:
        """Voxels finished, from the first."""
        return self._journal.done

    @property
    def dropped(self) -> str:
        """A sentence about finished chunks that were found damaged and have to be fitted again; else empty."""
        return self._journal.dropped

    @property
    def chunks(self) -> list[tuple[int, int, str]]:
        """Finished chunks: voxels start..stop, and the checksum of what was read up to there, as given to `append`."""
        return [(record.start, record.stop, record.seen) for record in self._journal.records]

    def append(self, estimates: Estimates, seen: str = "") -> None:
        """Add the next chunk of voxels; once this returns, `kill -9` cannot lose it.

        Parameters
        ----------
        estimates : fields (voxel,), the same ones in every chunk; floats are stored as float32
        seen : checksum of all signals that were read up to the end of the chunk
        """
        arrays = {key: np.asarray(values) for key, values in estimates.items()}
        arrays = {key: v.astype("<f4") if v.dtype.kind == "f" else v for key, v in arrays.items()}
        if estimates.spectrum is not None:
            data, indices, indptr = estimates.spectrum
            arrays["spectrum/data"] = np.asarray(data, "<f4")
            arrays["spectrum/indices"] = np.asarray(indices, "<i4")
            arrays["spectrum/indptr"] = np.diff(indptr).astype("<i8")  # row lengths; added up in finish
        self._journal.append(self.done + len(estimates.outcome), arrays, seen)

    def finish(
        self,
        voxels: Any,
        *,
        device: str,
        threads: int,
        seconds: float,
        notes: Sequence[str] = (),
        dictionary: Any | None = None,
    ) -> Path:
        """Turn the chunks into the estimate store, in one atomic rename, and remove the part file.

        Parameters
        ----------
        voxels : what was fitted (index, geometry, source, source_sha256, attrs)
        device, threads : where the fit ran
        seconds : how long it took
        notes : sentences for the user, kept in the store
        dictionary : behind the spectrum, with D and Dstar [mm²/s] and perhaps atoms

        Returns
        -------
        path of the estimate store

        Raises
        ------
        InputError
            if not all voxels are fitted, or the chunks differ in their fields or are damaged
        IvimscError
            if the disk is full
        """
        if self.done != len(voxels) or not self.done:
            raise InputError(f"{self.path}: found {self.done} voxels fitted, expected {max(len(voxels), 1)}")
        about = {name: getattr(voxels, name) for name in ("source", "source_sha256", "attrs")}
        about |= {name: self._header[name] for name in ("method", "bvalues", "signals_sha256")}
        about |= {"device": device, "threads": threads, "seconds": seconds}
        about |= {"options": to_json(self._header["options"]), "notes": to_json(list(notes))}
        about["identity"] = {k: v for k, v in self._header.items() if k not in ("options", "bvalues")}
        with created(self.path, self._force) as (file, guard):
            describe(file, ESTIMATES, voxels.geometry, about)
            _copy_index(file, voxels, guard)
            _copy_records(file, self._journal, len(voxels), guard)
            if dictionary is not None:
                grids = {"d": dictionary.D, "dstar": dictionary.Dstar, "atoms": getattr(dictionary, "atoms", None)}
                for name, grid in grids.items():
                    if grid is not None:
                        file[f"dictionary/{name}"] = np.asarray(grid)
        self._journal.remove()
        return self.path

    def close(self) -> None:
        """Close the part file and keep it, for a later `open` with `resume`."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _copy_index(file: File, voxels: Any, guard: FailSafeFile) -> None:
    for _ in voxels.places() if hasattr(voxels, "places") else ():
        pass  # refuses two voxels in one place
    places = column(file, "index", (len(voxels), 3), np.int32)
    for start in range(0, len(voxels), BLOCK):
        places[start : start + BLOCK] = voxels.index[start : start + BLOCK]
        guard.check()


def _copy_records(file: File, journal: Journal, n: int, guard: FailSafeFile) -> None:
    """Stream the records of a part file into /estimates and /spectrum, one record in memory at a time."""
    columns, at = {}, {}
    for key, (dtype, length) in _totals(journal, n).items():
        name = key if "/" in key else f"estimates/{key}"
        columns[key] = column(file, name, (length + (key == "spectrum/indptr"),), dtype)
        at[key] = 0
    entries = 0
    for record in journal.records:
        for key, values in journal.read(record).items():
            stop = at[key] + len(values)
            if key == "spectrum/indptr":
                values = entries + np.cumsum(values)
                entries = int(values[-1]) if len(values) else entries
                columns[key][at[key] + 1 : stop + 1] = values  # the first is 0, as HDF5 leaves it
            else:
                columns[key][at[key] : stop] = values
            guard.check()
            at[key] = stop
    if entries != at.get("spectrum/data", 0) or entries != at.get("spectrum/indices", 0):
        raise InputError(f"{journal.part}: found spectra of another length than they say, expected whole ones: force=True starts anew")  # fmt: skip


def _totals(journal: Journal, n: int) -> dict[str, tuple[str, int]]:
    """Type and total length of every array in the records, of `n` voxels in all; damaged ones are an InputError."""
    totals: dict[str, tuple[str, int]] = {}
    for record in journal.records:
        if totals and [(key, dtype) for key, dtype, _ in record.layout] != [(k, t[0]) for k, t in totals.items()]:
            raise InputError(f"{journal.part}: found chunks with different fields, expected the same in all")
        for key, dtype, length in record.layout:
            totals[key] = (dtype, totals.get(key, (dtype, 0))[1] + length)
    rows = {key: length for key, (_, length) in totals.items() if key not in ("spectrum/data", "spectrum/indices")}
    known = {*(field.key for field in FIELDS), *(f"spectrum/{name}" for name in Spectrum._fields)}
    if set(rows.values()) != {n} or not totals.keys() <= known or not set(REQUIRED) <= totals.keys():
        raise InputError(f"{journal.part}: found chunks with other fields than those of {n} voxels, expected {', '.join(REQUIRED)} and what else a fit has: force=True starts anew")  # fmt: skip
    return totals
