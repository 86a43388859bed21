"""The estimate store: what one fit found, and the crash-safe way to it."""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, REQUIRED, Estimates, Spectrum
from ivimsc.outcome import Outcome
from ivimsc.store import kinds, opened
from ivimsc.store.hdf5 import ESTIMATES, Store, checked
from ivimsc.text import require_name

__all__ = ["EstimateStore", "StoredDictionary"]


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
