"""Decay curves as a table: mean signals of regions, say, fitted like voxels, to a table of estimates.

The first row names the curves' column and then the b-values; every other row is one curve: its name, then its signals.
The other way round, a column of b-values and a column per curve, is read as well: its first cell is ``b``.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.files import make_folder, refuse_existing, written_whole
from ivimsc.fit.arrays import fit_signals
from ivimsc.outcome import Outcome
from ivimsc.physics.bvalue_text import parse_number
from ivimsc.regular import read_text
from ivimsc.text import cell

__all__ = ["Curves", "fit_curves", "read_curves"]

SEPARATORS = ",;\t"
UPRIGHT = ("b", "bvalue", "bvalues", "b-value", "b-values")  # first cell of a table with a column of b-values


class Curves(NamedTuple):
    """names (curve,); bvalues (b,) [s/mm²], in the order of the file; signals (curve, b)."""

    names: list[str]
    bvalues: NDArray[np.float64]
    signals: NDArray[np.float64]


def read_curves(path: str | Path) -> Curves:
    """Read a table of decay curves, apart by commas, semicolons or tabs.

    Parameters
    ----------
    path : text file (.csv, .tsv or .txt)

    Raises
    ------
    InputError
        for a file that is missing or no table, cells that are no numbers, missing values, and names that come twice
    """
    path = Path(path)
    text = read_text(path, "a table of decay curves")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) < 2:
        raise InputError(f"{path}: found {len(lines)} rows, expected a header of b-values and at least one curve")
    separator = max(SEPARATORS, key=lines[0].count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    except csv.Error as error:
        raise InputError(f"{path}: found no table ({error}), expected a table of decay curves") from None
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}: found {len(row)} cells in row {number}, expected {len(rows[0])} as in the header"
            )
    if rows[0][0].lower() in UPRIGHT and not _are_numbers(rows[0][1:]):
        rows = [list(column) for column in zip(*rows, strict=True)]
    names = [row[0] for row in rows[1:]]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: found the name {twice!r} twice, expected one curve of each name")
    bvalues = np.array([_number(path, cell, "b-value") for cell in rows[0][1:]])
    signals = np.array([[_number(path, cell, f"signal of {row[0]!r}") for cell in row[1:]] for row in rows[1:]])
    return Curves(names, bvalues, signals)


def _are_numbers(cells: list[str]) -> bool:
    numbers = [parse_number(cell) for cell in cells]
    return all(number is not None and np.isfinite(number) for number in numbers)


def _number(path: Path, cell: str, what: str) -> float:
    value = parse_number(cell)
    if value is None:
        expected = "a number with a decimal point" if "," in cell else "a number"
        raise InputError(f"{path}: found {cell[:40]!r} as {what}, expected {expected}")
    return value


def fit_curves(
    path: str | Path,
    out: str | Path,
    method: str = "nlls",
    settings: Mapping[str, Any] | None = None,
    force: bool = False,
) -> tuple[Path, Estimates]:
    """Fit every curve of a table, and write the table of estimates ``<stem>_<method>.csv``.

    Parameters
    ----------
    path : table of curves: see `read_curves`
    out : folder of the results
    method, settings : name of the method, and its options
    force : overwrite an earlier table

    Returns
    -------
    path, estimates
        the table: name, S0 and rmse in the unit of the signals, f, D and D* in mm²/s, their errors, the outcome in words;
        and the same estimates (curve,)

    Raises
    ------
    InputError
        for a bad table, what the method refuses, and a table that exists (without `force`)
    """
    curves = read_curves(path)
    target = Path(out) / f"{Path(path).stem}_{method}.csv"
    refuse_existing(target, force)
    estimates = fit_signals(curves.signals, curves.bvalues, method, **(settings or {}))
    columns = dict(estimates.items())
    make_folder(Path(out))
    with written_whole(target, force) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *columns, "meaning"])
        for k, name in enumerate(curves.names):
            numbers = (f"{values[k]:.7g}" for values in columns.values())
            writer.writerow([cell(name), *numbers, Outcome(int(estimates.outcome[k])).sentence])
    return target, estimates
