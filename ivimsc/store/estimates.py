"""The estimate store: what one fit found, and the crash-safe way to it."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ivimsc import __version__
from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, REQUIRED, Estimates, Spectrum
from ivimsc.files import FailSafeFile
from ivimsc.outcome import Outcome
from ivimsc.store import kinds, opened
from ivimsc.store.hdf5 import BLOCK, ESTIMATES, File, Store, checked, column, created, describe
from ivimsc.store.journal import Journal, discard, to_json
from ivimsc.text import require_name

__all__ = ["EstimateStore", "PartFile", "StoredDictionary"]


class StoredDictionary(NamedTuple):
    """The dictionary that a spectrum refers to: the grids D and Dstar [mm²/s] and, where stored, atoms (b, atom)."""

    D: NDArray[np.float64]
    Dstar: NDArray[np.float64]
    atoms: NDArray | None = None


class EstimateStore(Store):
    """An estimate store, open for reading: ``store["f"]`` or ``store.read().f``. Use as a context manager.

    Attributes: method, options (dict), bvalues [s/mm²], device, threads, seconds, notes (list), keys (the fields),
    index, geometry, source, source_sha256, signals_sha256, attrs.
    """

    FORMAT = ESTIMATES

    def _load(self, attributes: Mapping[str, Any]) -> None:
        self._fields = self._file["estimates"]
        self.keys = [field.key for field in FIELDS if field.key in self._fields]
        missing = [key for key in REQUIRED if key not in self._fields]
        if missing:
            raise InputError(f"{self.path}: found no estimates/{missing[0]}, expected {', '.join(REQUIRED)}")
        self.method = require_name(str(attributes["method"]), "method", self.path)  # names of maps are made of it
        self.device = str(attributes["device"])
        self.options: dict[str, Any] = json.loads(attributes["options"])
        self.notes: list[str] = json.loads(attributes["notes"])
        self.threads, self.seconds = int(attributes["threads"]), float(attributes["seconds"])
        self.bvalues = np.array(attributes["bvalues"], np.float64)
        self._identity: Any = json.loads(attributes.get("identity", "null"))
        self._require_lengths("", {"index": len(self.index)})
        self._require_lengths("estimates/", {key: len(self._fields[key]) for key in self.keys})

    @property
    def header(self) -> dict[str, Any] | None:
        """What the fit depended on (see `PartFile.header`); None where an older ivimsc wrote the store."""
        if not isinstance(self._identity, dict):
            return None
        return self._identity | {"options": self.options, "bvalues": self.bvalues}

    def _require_kinds(self, attributes: kinds.Attributes) -> None:
        kinds.require_bvalues(attributes.of_kind("bvalues", np.ndarray))
        for name in ("method", "device"):
            if not re.fullmatch(r"[A-Za-z0-9_:.-]{1,64}", attributes.text(name)):
                raise kinds.Damaged(f"{name} of another kind, expected a word")
        attributes.json("options", dict)
        if not all(isinstance(note, str) for note in attributes.json("notes", list)):
            raise kinds.Damaged("notes of another kind, expected a list of texts")
        attributes.of_kind("threads", int), attributes.of_kind("seconds", float, int)
        for key in self.keys:
            kinds.require_kind(self._fields[key], "u" if key == "outcome" else "fiu", (None,))
        self._fields["outcome"].require = kinds.require_known
        kinds.require_spectrum(self._file, len(self))

    def __len__(self) -> int:
        return len(self._fields["s0"])

    def __getitem__(self, key: str) -> NDArray:
        """The whole field `key` (voxel,)."""
        return self.read_field(key)

    def dtype_of(self, key: str) -> np.dtype:
        """The type of a field as maps have it.

        Parameters
        ----------
        key : one of `keys`

        Returns
        -------
        uint8 for a field that is stored as such, float32 for all others
        """
        return np.dtype(np.uint8 if self._fields[key].dtype == np.uint8 else np.float32)

    def read_field(self, key: str, start: int = 0, stop: int | None = None) -> NDArray:
        """One field of the voxels start..stop.

        Parameters
        ----------
        key : one of `keys`
        start, stop : numbers of voxels; default: all

        Returns
        -------
        (voxel,) in the unit of the field (`ivimsc.estimates.FIELDS`)

        Raises
        ------
        InputError
            for a field that the method does not have, and for a damaged store
        """
        if key not in self.keys:
            raise InputError(f"{self.path}: found no field {key!r}, expected one of {', '.join(self.keys)}")
        with checked(self.path):
            return self._fields[key][start:stop]

    def read(self, start: int = 0, stop: int | None = None) -> Estimates:
        """The estimates of the voxels start..stop, without the spectrum.

        Parameters
        ----------
        start, stop : numbers of voxels; default: all

        Returns
        -------
        Estimates with fields (voxel,); those that the method does not have are None

        Raises
        ------
        InputError
            for a damaged store
        """
        with checked(self.path):
            arrays = {field.code: self._fields[field.key][start:stop] for field in FIELDS if field.key in self.keys}
        absent = dict.fromkeys(field.code for field in FIELDS if field.key not in REQUIRED)
        return Estimates(**(absent | arrays), method=self.method, bvalues=self.bvalues, options=self.options)

    def count_outcomes(self) -> dict[Outcome, int]:
        """Voxels per outcome, those that occur; read some at a time, for `np.bincount` takes 8 bytes per voxel."""
        counts = np.zeros(len(Outcome), np.int64)
        for start in range(0, len(self), opened.BLOCK):
            counts += np.bincount(self.read_field("outcome", start, start + opened.BLOCK), minlength=len(Outcome))
        return {outcome: int(counts[outcome]) for outcome in Outcome if counts[outcome]}

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """The sparse coefficients of all voxels; None for a method without a dictionary."""
        if "spectrum" not in self._file:
            return None
        with checked(self.path):
            found = Spectrum(*(self._file["spectrum"][name][:] for name in Spectrum._fields))
            atoms = sum(len(self._file["dictionary"][name]) for name in ("d", "dstar"))
            ends = found.indptr[0] == 0 and found.indptr[-1] == len(found.data)
            if not ends or (np.diff(found.indptr) < 0).any() or ((found.indices < 0) | (found.indices >= atoms)).any():
                raise kinds.Damaged("a spectrum whose parts do not belong together")
            return found

    @cached_property
    def dictionary(self) -> StoredDictionary | None:
        """The grids behind `spectrum`; None for a method without a dictionary."""
        if "dictionary" not in self._file:
            return None
        with checked(self.path):
            group = self._file["dictionary"]
            return StoredDictionary(group["d"][:], group["dstar"][:], group["atoms"][:] if "atoms" in group else None)


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
