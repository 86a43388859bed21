"""Names of files as BIDS has them, and which file says something of which other one (the inheritance principle).

Written here and not taken from pybids: what is needed is one pattern of names and one rule, and pybids brings a database, an
index of every file of the data set, and seconds of start for it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ivimsc.errors import InputError
from ivimsc.files import told

__all__ = ["Dataset", "Name", "name_of"]

_NAME = re.compile(r"((?:[a-zA-Z0-9]+-[a-zA-Z0-9+]+_)*)([a-zA-Z0-9]+)(\.[a-zA-Z0-9.]+)")


class Name(NamedTuple):
    """The parts of a name: entities (``sub`` -> ``01``), suffix (``dwi``) and extension (``.nii.gz``)."""

    entities: Mapping[str, str]
    suffix: str
    extension: str


def name_of(path: str | Path) -> Name | None:
    """The parts of the name of a file; None for a name that BIDS does not have."""
    found = _NAME.fullmatch(Path(path).name)
    if not found:
        return None
    pairs = [part.split("-", 1) for part in found[1].split("_") if part]
    entities = dict(pairs)
    return Name(entities, found[2], found[3]) if len(entities) == len(pairs) else None


class Dataset:
    """The files of a data set, each folder listed once.

    Parameters
    ----------
    root : folder of the data set
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[Path, list[tuple[Path, Name]]] = {}

    def files(self, folder: Path) -> list[tuple[Path, Name]]:
        """The files of a folder that have a BIDS name, sorted; none where there is no such folder.

        Raises
        ------
        InputError
            for a folder that cannot be read
        """
        if folder not in self._seen:
            with told(folder, "a folder that can be read"):
                names = sorted(folder.iterdir()) if folder.is_dir() else []
            parts = ((path, name_of(path)) for path in names if not path.name.startswith("."))
            self._seen[folder] = [(path, name) for path, name in parts if name is not None and not path.is_dir()]
        return self._seen[folder]

    def folders(self, folder: Path, prefix: str) -> list[Path]:
        """The folders within `folder` whose names begin with `prefix`, sorted."""
        with told(folder, "a folder that can be read"):
            return sorted(path for path in folder.iterdir() if path.name.startswith(prefix) and path.is_dir())

    def inherited(self, path: Path, extension: str, suffix: str | None = None) -> list[Path]:
        """The files that apply to a data file by the inheritance principle, from the root of the data set downward.

        A file applies where it lies in the folder of the data file or above it, has the same suffix, and has no entity that the
        data file lacks or has another value of. A table counts by the last of the list, and JSON files add up.

        Parameters
        ----------
        path : the data file, within the data set
        extension : of the files wanted, as ``.bval``
        suffix : of the files wanted; default: that of the data file

        Raises
        ------
        InputError
            where two files of one folder apply, which BIDS forbids: neither is the right one
        """
        name = name_of(path)
        if name is None:
            return []
        folders = [folder for folder in reversed(path.parents) if folder.is_relative_to(self.root)]
        found = []
        for folder in folders:
            here = [
                other
                for other, parts in self.files(folder)
                if parts.extension == extension
                and parts.suffix == (suffix or name.suffix)
                and parts.entities.items() <= name.entities.items()
            ]
            if len(here) > 1:
                names = " and ".join(other.name for other in here)
                raise InputError(f"{path}: found {names} in {folder}, expected at most one {extension} file that applies to it there")  # fmt: skip
            found += here
        return found
