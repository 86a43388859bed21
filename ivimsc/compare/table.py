"""The numbers of a comparison: rows of errors, rows of agreement, and the CSV file."""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.files import written_whole
from ivimsc.physics.parameters import Parameter
from ivimsc.text import cell

__all__ = ["Agreement", "Row", "agreement_row", "bound_row", "error_row", "write_csv"]

NONE = float("nan")


@dataclass(frozen=True)
class Row:
    """Errors of one method in one parameter, in display units (µm²/ms for D and D*), over the voxels of a tissue.

    bias, sd, rmse, mse; r2: equation (12); ratio: mse / smallest possible; mse_error: Monte-Carlo standard error of
    mse (bounds alone); voxels: in the tissue; missing: of them without a number, left out of the errors.
    """

    tissue: str
    method: str
    parameter: str
    unit: str
    voxels: int
    missing: int
    bias: float
    sd: float
    rmse: float
    mse: float
    r2: float
    ratio: float
    mse_error: float = NONE


@dataclass(frozen=True)
class Agreement:
    """Agreement of two methods in one parameter, in display units: mean and SD of second - first, 95 % limits of
    agreement (Bland and Altman), Pearson's r; missing: voxels where either has no number.
    """

    tissue: str
    first: str
    second: str
    parameter: str
    unit: str
    voxels: int
    missing: int
    difference: float
    sd: float
    lower: float
    upper: float
    r: float


def error_row(tissue: str, method: str, p: Parameter, found: NDArray, true: NDArray, best: float) -> Row:
    """The errors of estimates in one parameter.

    Parameters
    ----------
    tissue, method : names of the row
    p : the parameter
    found, true : (voxel,) estimates and truth in the unit of the API; voxels where either is NaN are left out
    best : smallest possible mean squared error [that unit²], or NaN
    """
    there = np.isfinite(found) & np.isfinite(true)
    about = (tissue, method, p.symbol, p.display_unit, len(true), int(len(true) - there.sum()))
    if not there.any():
        return Row(*about, NONE, NONE, NONE, NONE, NONE, NONE)
    error, true = (a[there].astype(np.float64) for a in (found, true))
    for array in (error, true):
        array *= p.display_scale
    error -= true
    mse, spread = float(np.mean(error**2)), float(np.var(true))
    r2 = 1 - mse / spread if spread > 0 else NONE
    ratio = mse / (best * p.display_scale**2) if best > 0 else NONE
    return Row(*about, float(error.mean()), float(error.std()), mse**0.5, mse, r2, ratio)


def bound_row(
    tissue: str, name: str, p: Parameter, mse: float, true: NDArray, best: float, mse_error: float = NONE
) -> Row:
    """The row of a bound in one parameter.

    Parameters
    ----------
    tissue, name : names of the row
    p : the parameter
    mse : mean squared error of the bound, in the unit of the API, squared
    true : (voxel,) the truth in the unit of the API
    best : smallest possible mean squared error, in the same unit
    mse_error : standard error of `mse`, in the same unit
    """
    square = p.display_scale**2
    spread = float(np.var(np.asarray(true, np.float64))) * square
    r2 = 1 - mse * square / spread if spread > 0 and np.isfinite(mse) else NONE
    rmse = max(mse, 0.0) ** 0.5 * p.display_scale
    ratio = mse / best if best > 0 else NONE
    return Row(
        tissue,
        name,
        p.symbol,
        p.display_unit,
        len(true),
        0,
        NONE,
        NONE,
        rmse,
        mse * square,
        r2,
        ratio,
        mse_error * square,
    )


def agreement_row(tissue: str, names: tuple[str, str], p: Parameter, first: NDArray, second: NDArray) -> Agreement:
    """How far two methods agree in one parameter.

    Parameters
    ----------
    tissue, names : names of the row: the tissue, and the two methods
    p : the parameter
    first, second : (voxel,) estimates of the two in the unit of the API; voxels where either is NaN are left out
    """
    a, b = (np.asarray(x, np.float64) * p.display_scale for x in (first, second))
    there = np.isfinite(a) & np.isfinite(b)
    about = (tissue, *names, p.symbol, p.display_unit, len(a), int(len(a) - there.sum()))
    if there.sum() < 2:
        return Agreement(*about, NONE, NONE, NONE, NONE, NONE)
    a, b = a[there], b[there]
    difference, sd = float(np.mean(b - a)), float(np.std(b - a, ddof=1))
    constant = a.std() == 0 or b.std() == 0
    r = NONE if constant else float(np.corrcoef(a, b)[0, 1])
    return Agreement(*about, difference, sd, difference - 1.96 * sd, difference + 1.96 * sd, r)


def write_csv(rows: Iterable[Row | Agreement], path: Path, force: bool = False) -> Path:
    """Write rows as a CSV file; a number that is NaN is an empty cell.

    Parameters
    ----------
    rows : at least one, all of one kind of dataclass: its fields are the columns
    path : file to write
    force : replace a file of the same name

    Returns
    -------
    `path`

    Raises
    ------
    InputError
        if the file exists (without `force`) or cannot be written
    """
    rows = [asdict(row) for row in rows]
    with written_whole(path, force) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return path


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return cell(value)
    return "" if isinstance(value, float) and np.isnan(value) else value
