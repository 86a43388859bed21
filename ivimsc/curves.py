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
from ivimsc.files import make_folder, refuse_existing, written_together
from ivimsc.fit.arrays import fit_signals
from ivimsc.outcome import Outcome
from ivimsc.physics.bvalue_text import parse_number
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.physics.protocol import Protocol
from ivimsc.regular import read_text
from ivimsc.tables import fill_table

__all__ = ["Curves", "draw_curves", "fit_curves", "read_curves"]

MOST = 24  # curves in a picture

SEPARATORS = "\t;,"  # in this order: a table of semicolons or tabs may have commas in its names
MISSING = ("", "nan", "na", "n/a", "none", "null", "-")  # cells that stand for no value
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
    separator = _separator(path, lines[0])
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    except csv.Error as error:
        raise InputError(f"{path}: found no table ({error}), expected a table of decay curves") from None
    if len(rows[0]) < 2:
        raise InputError(f"{path}: found one column, expected cells apart by commas, semicolons or tabs")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{path}: found {len(row)} cells in row {number}, expected {len(rows[0])} as in the header"
            )
    if rows[0][0].lower() in UPRIGHT and not _are_numbers(rows[0][1:]):
        rows = [list(column) for column in zip(*rows, strict=True)]
    names = [row[0] for row in rows[1:]]
    if "" in names:
        raise InputError(f"{path}: found no name in row {names.index('') + 2}, expected one for every curve")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: found the name {twice!r} twice, expected one curve of each name")
    bvalues = np.array([_number(path, cell, "b-value") for cell in rows[0][1:]])
    Protocol.from_volumes(
        bvalues, str(path)
    )  # b-values that no scanner makes are refused, with the unit they may be in
    signals = np.array([[_number(path, cell, f"signal of {row[0]!r}") for cell in row[1:]] for row in rows[1:]])
    return Curves(names, bvalues, signals)


def _are_numbers(cells: list[str]) -> bool:
    numbers = [parse_number(cell) for cell in cells]
    return all(number is not None and np.isfinite(number) for number in numbers)


def _number(path: Path, cell: str, what: str) -> float:
    if cell.lower() in MISSING:
        raise InputError(f"{path}: found {cell!r} as {what}, expected a number: a curve has no missing values")
    value = parse_number(cell)
    if value is None:
        expected = "a number with a decimal point" if "," in cell else "a number"
        raise InputError(f"{path}: found {cell[:40]!r} as {what}, expected {expected}")
    if not np.isfinite(value):
        raise InputError(f"{path}: found {cell!r} as {what}, expected a finite number")
    return value


def _separator(path: Path, header: str) -> str:
    """What parts the cells: of tabs, semicolons and commas the first that is there; decimal commas are told of."""
    separator = next((mark for mark in SEPARATORS if mark in header), ",")
    cells = header.split(separator)
    if separator != "," and any("," in cell and _are_numbers([cell.replace(",", ".")]) for cell in cells):
        odd = next(cell.strip() for cell in cells if "," in cell)
        raise InputError(f"{path}: found {odd!r} as b-value, expected a number with a decimal point")
    return separator


def fit_curves(
    path: str | Path,
    out: str | Path,
    method: str = "nlls",
    settings: Mapping[str, Any] | None = None,
    force: bool = False,
    device: str | None = None,
    threads: int | None = None,
) -> tuple[list[Path], Estimates]:
    """Fit every curve of a table; write the table of estimates ``<stem>_<method>.csv`` and a picture, ``<stem>_<method>.png``.

    Parameters
    ----------
    path : table of curves: see `read_curves`
    out : folder of the results
    method, settings : name of the method, and its options
    force : overwrite an earlier table and picture
    device, threads : where to run, as for `ivimsc.fit_signals`

    Returns
    -------
    paths, estimates
        the table (name, S0 and rmse in the unit of the signals, f, D and D* in mm²/s, their errors, the outcome in words) and
        the picture of the curves with their fits; and the same estimates (curve,)

    Raises
    ------
    InputError
        for a bad table, what the method refuses, and files that exist (without `force`); nothing is written then
    """
    curves = read_curves(path)
    targets = [Path(out) / f"{Path(path).stem}_{method}{ending}" for ending in (".csv", ".png")]
    for target in targets:
        refuse_existing(target, force)
    estimates = fit_signals(curves.signals, curves.bvalues, method, device, threads, **(settings or {}))
    columns = dict(estimates.items())
    rows = [[name, *(float(f"{values[k]:.7g}") for values in columns.values())] for k, name in enumerate(curves.names)]
    rows = [[*row, Outcome(int(code)).sentence] for row, code in zip(rows, estimates.outcome, strict=True)]
    code = 1 + list(columns).index("outcome")
    for row in rows:
        row[code] = int(row[code])
    make_folder(Path(out))
    with written_together(targets, force) as (table, picture):
        fill_table(table, ["name", *columns, "meaning"], rows)
        draw_curves(curves, estimates, picture)
    return targets, estimates


def draw_curves(curves: Curves, estimates: Estimates, path: Path) -> None:
    """The curves over their signal at the smallest b, with their fits, a panel for each; the first 24 of many.

    Parameters
    ----------
    curves : as they were read
    estimates : (curve,) of them
    path : PNG file to write
    """
    from ivimsc.figures import CURVES, bare, new_figure, save  # matplotlib is loaded only where something is drawn

    n = min(len(curves.names), MOST)
    columns = min(n, 4)
    rows = -(-n // columns)
    figure, grid = new_figure(rows, columns, (max(4.2 * columns, 5.5), 3.3 * rows), squeeze=False, sharex=True)
    fine = np.unique(
        np.concatenate([np.linspace(0, curves.bvalues.max(), 200), np.geomspace(1, curves.bvalues.max(), 40)])
    )
    fitted = estimates.predict(fine)
    for k, axes in enumerate(grid.flat):
        if k >= n:
            axes.set_axis_off()
            continue
        axes.plot(curves.bvalues, curves.signals[k], "o", ms=4, color="black", label="measured")
        axes.plot(fine, fitted[k], color=CURVES[0], label=estimates.method)
        axes.set_title(f"{_short(curves.names[k])}: {_words(estimates, k)}", fontsize=8, parse_math=False)
        axes.set_ylim(0, None)
        axes.grid(alpha=0.25)
        bare(axes)
    for axes in grid[-1]:
        axes.set_xlabel("b [s/mm²]")
    for axes in grid[:, 0]:
        axes.set_ylabel("signal")
    grid[0, 0].legend(frameon=False, fontsize=8)
    left_out = f", the first {n} shown" if n < len(curves.names) else ""
    figure.suptitle(
        f"{len(curves.names)} curves, {len(curves.bvalues)} b-values, {estimates.method}{left_out}", fontsize=11
    )
    save(figure, path)


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"


def _words(estimates: Estimates, k: int) -> str:
    """f, D and D* of a curve in display units, and how its fit ended, on two lines."""
    parts = []
    for p in PARAMETERS[1:]:
        value, sd = getattr(estimates, p.code), getattr(estimates, f"{p.key}std")
        if value is not None:
            error = f" ± {sd[k] * p.display_scale:.2g}" if sd is not None and np.isfinite(sd[k]) else ""
            parts.append(f"{p.symbol} {value[k] * p.display_scale:.3g}{error}")
    units = "" if estimates.f is None else "%, "
    return f"{Outcome(int(estimates.outcome[k])).sentence.split(':')[0]}\n{', '.join(parts)} [{units}µm²/ms]"
