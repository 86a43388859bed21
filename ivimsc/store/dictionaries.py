"""Dictionary files: the atoms of a fixed or learned dictionary, with the b-values that they are for."""

from pathlib import Path

import numpy as np

from ivimsc.errors import InputError
from ivimsc.physics.dictionary import Dictionary
from ivimsc.store.hdf5 import created
from ivimsc.store.kinds import Attributes, checked, expect_checksums, require_kind
from ivimsc.store.opened import open_file, require_format

__all__ = ["read_dictionary", "write_dictionary"]

DICTIONARY, VERSION = "ivimsc-dictionary", 1


def write_dictionary(path: str | Path, dictionary: Dictionary, force: bool = False) -> None:
    """Write `dictionary` whole: b-values [s/mm²], grids [mm²/s], origin, and its matrix where it is a learned one."""
    with created(Path(path), force) as (file, _):
        file.attrs["format"], file.attrs["format_version"] = DICTIONARY, VERSION
        for name, value in dictionary.to_arrays().items():
            if isinstance(value, str):
                file.attrs[name] = value
            else:
                file[name] = value


def read_dictionary(path: str | Path) -> Dictionary:
    """Read a dictionary file; a truncated, foreign or damaged one is refused in one line (InputError)."""
    path = Path(path)
    with open_file(path) as file, checked(path):
        require_format(path, file, DICTIONARY)
        for name in ("bvalues", "d", "dstar"):
            require_kind(file[name], "f", (None,))
        if "atoms" in file:
            require_kind(file["atoms"], "f", (None, None))
        arrays = {name: np.array(file[name], np.float64) for name in ("bvalues", "d", "dstar")}
        atoms = np.array(file["atoms"], np.float64) if "atoms" in file else None
        origin = Attributes(file.attrs).text("origin")
        try:
            dictionary = Dictionary(arrays["bvalues"], arrays["d"], arrays["dstar"], origin, atoms)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        expect_checksums(file)
        for table in file.tables().values():
            table.verify()
        return dictionary
