"""Regions: which voxels of a fit lie in which labelled region, what the regions are called, and which values to take.

Labels are a NIfTI volume of whole numbers that lies voxel on voxel on the fit, or a voxel store with tissues. Their names are
in a table: a .tsv file as BIDS has it (columns ``index`` and ``name``), or a .txt file with a number and a name per line, as
FreeSurfer and ITK-SNAP write them. It is found where it is called like the labels, or it is given.
"""

import csv
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import told
from ivimsc.nifti import read_volume, require_same_place
from ivimsc.outcome import Outcome
from ivimsc.store import EstimateStore, VoxelStore

__all__ = ["ALL", "read_names", "regions_of", "usable"]

ALL = "all"  # the region of all voxels
USABLE = (Outcome.CONVERGED, Outcome.AT_BOUND, Outcome.DSTAR_UNIDENTIFIABLE)  # for every map but those of D*
_LINE = re.compile(r"\s*(\d+)[\s,;:]+(.*)")  # of a .txt file: the number, and the rest
_QUOTED = re.compile(r'"([^"]*)"')


def usable(key: str, outcome: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The voxels whose values count in the statistics of a region (docs/outcomes.md says why).

    Parameters
    ----------
    key : of the map, as in files
    outcome : (voxel,) `Outcome` codes

    Returns
    -------
    (voxel,) bool: outcome 1 for D* and its error, outcomes 1, 2 and 4 for other maps
    """
    if key.startswith("dstar"):
        return outcome == Outcome.CONVERGED
    return np.isin(outcome, [int(code) for code in USABLE])


def regions_of(
    fit: EstimateStore, labels: Path | None = None, names: Path | None = None
) -> dict[str, NDArray[np.bool_]]:
    """The regions of a fit: all voxels, then those of the labels.

    Parameters
    ----------
    fit : estimate store
    labels : voxel store (.h5) with tissue labels, or NIfTI volume of label numbers; 0 is no region
    names : table of their names, see the module; default: one that is called like `labels`

    Returns
    -------
    Name of each region -> (voxel,) bool, which voxels belong to it; a label without a name is called ``label 3``

    Raises
    ------
    InputError
        where the labels do not belong to the estimates, or their names are no such table
    """
    inside = {ALL: np.ones(len(fit), bool)}
    if labels is None:
        return inside
    values, known = _stored_labels(fit, labels) if labels.suffix == ".h5" else _volume_labels(fit, labels, names)
    for code in np.unique(values):
        if code > 0:
            name = known.get(int(code), f"label {int(code)}")
            if name in inside:
                raise InputError(
                    f"{names or labels}: found the name {name!r} for two labels, expected one name for each"
                )
            inside[name] = values == code
    return inside


def _stored_labels(fit: EstimateStore, labels: Path) -> tuple[NDArray, dict[int, str]]:
    with VoxelStore(labels) as voxels:
        if voxels.signals_sha256 != fit.signals_sha256:
            raise InputError(
                f"{labels}: found other signals than those of {fit.path}, expected the voxels that were fitted"
            )
        if voxels.tissue is None:
            raise InputError(f"{labels}: found no tissue labels, expected a labelled store")
        return np.asarray(voxels.tissue), voxels.tissue_names


def _volume_labels(fit: EstimateStore, labels: Path, names: Path | None) -> tuple[NDArray, dict[int, str]]:
    known = read_names(names) if names is not None else _names_beside(labels)
    volume, geometry = read_volume(labels)
    require_same_place(labels, volume.shape, geometry, fit.path, fit.geometry)
    values = volume.reshape(fit.geometry.shape)[tuple(fit.index[:].T)]
    if (values != np.round(values)).any():  # NaN differs from itself
        odd = values[values != np.round(values)][0]
        raise InputError(f"{labels}: found the label {odd:g}, expected whole numbers")
    return values, known


def _names_beside(labels: Path) -> dict[int, str]:
    """The names in the table that is called like the labels, none where there is no such table."""
    stem = labels.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".hdr").removesuffix(".img")
    tables = [labels.with_name(stem + ending) for ending in (".tsv", ".txt")]
    return next((read_names(table) for table in tables if table.is_file()), {})


def read_names(path: str | Path) -> dict[int, str]:
    """Read the names of labels.

    Parameters
    ----------
    path : .tsv file with the columns ``index`` and ``name``, or a text file with a number and a name per line

    Returns
    -------
    label -> name

    Raises
    ------
    InputError
        for a file that is missing or no such table, and for a label or a name that comes twice
    """
    path = Path(path)
    with told(path, "a table of label names"):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"{path}: found binary data, expected a table of label names") from None
    pairs = _bids_names(path, text) if path.suffix.lower() == ".tsv" else _plain_names(path, text)
    names: dict[int, str] = {}
    for number, name in pairs:
        if number in names:
            raise InputError(f"{path}: found the label {number} twice, expected one name for each")
        if name in names.values() and number > 0:
            raise InputError(f"{path}: found the name {name!r} for two labels, expected one name for each")
        names[number] = name
    return names


def _bids_names(path: Path, text: str) -> list[tuple[int, str]]:
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    columns = list(rows[0]) if rows else []
    if not {"index", "name"} <= set(columns):
        found = ", ".join(str(column) for column in columns) or "no rows"
        raise InputError(f"{path}: found {found}, expected a table with the columns index and name, apart by tabs")
    return [(_whole(path, row["index"] or ""), (row["name"] or "").strip()) for row in rows]


def _plain_names(path: Path, text: str) -> list[tuple[int, str]]:
    pairs = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        name = "" if found is None else _name_in(found[2])
        if not name:
            raise InputError(f"{path}: found {line.strip()!r}, expected a number and a name in each line")
        pairs.append((int(found[1]), name))
    return pairs


def _name_in(rest: str) -> str:
    """The name in the rest of a line: what is in quotes, else the words before the first number (colours follow there)."""
    quoted = _QUOTED.search(rest)
    if quoted:
        return quoted[1].strip()
    words: list[str] = []
    for word in re.split(r"[\s,;]+", rest.strip()):
        if re.fullmatch(r"-?[\d.]+", word):
            break
        words.append(word)
    return " ".join(words)


def _whole(path: Path, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{path}: found the index {text!r}, expected a whole number") from None
