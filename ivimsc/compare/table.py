"""The numbers of a comparison: rows of errors, rows of agreement, and the CSV file."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ivimsc.compare.moments import Pair
from ivimsc.physics.parameters import Parameter
from ivimsc.tables import write_table

__all__ = [
    "Agreement",
    "Found",
    "Row",
    "agreement_row",
    "bound_row",
    "error_row",
    "found_row",
    "guess_row",
    "write_csv",
]

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
class Found:
    """What one method found in one parameter, in display units; missing: voxels without a number."""

    tissue: str
    method: str
    parameter: str
    unit: str
    voxels: int
    missing: int
    mean: float
    sd: float
    least: float
    largest: float


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


def error_row(tissue: str, method: str, p: Parameter, pair: Pair, best: float) -> Row:
    """The errors of estimates in one parameter.

    Parameters
    ----------
    tissue, method : names of the row
    p : the parameter
    pair : the truth and the estimates of the tissue, in display units
    best : smallest possible mean squared error [unit of the API, squared], or NaN
    """
    about = (tissue, method, p.symbol, p.display_unit, pair.voxels, pair.missing)
    error, spread = pair.difference, pair.first.variance()
    if not error.n:
        return Row(*about, NONE, NONE, NONE, NONE, NONE, NONE)
    mse = error.mean_square
    r2 = 1 - mse / spread if spread > 0 else NONE
    ratio = mse / (best * p.display_scale**2) if best > 0 else NONE
    return Row(*about, error.mean, error.variance() ** 0.5, mse**0.5, mse, r2, ratio)


def guess_row(tissue: str, p: Parameter, pair: Pair, best: float) -> Row:
    """The errors of a constant guess, the mean of the truth: as `error_row`, of which `pair` holds the truth twice."""
    spread = pair.first.variance()
    about = (tissue, "constant guess", p.symbol, p.display_unit, pair.voxels, pair.missing)
    ratio = spread / (best * p.display_scale**2) if best > 0 else NONE
    return Row(*about, 0.0, spread**0.5, spread**0.5, spread, 0.0 if spread > 0 else NONE, ratio)


def bound_row(
    tissue: str, name: str, p: Parameter, mse: float, pair: Pair, best: float, mse_error: float = NONE
) -> Row:
    """The row of a bound in one parameter.

    Parameters
    ----------
    tissue, name : names of the row
    p : the parameter
    mse : mean squared error of the bound, in the unit of the API, squared
    pair : holds the truth of the tissue, first, in display units
    best : smallest possible mean squared error, in the unit of `mse`
    mse_error : standard error of `mse`, in the same unit
    """
    square = p.display_scale**2
    spread = pair.first.variance()
    r2 = 1 - mse * square / spread if spread > 0 and np.isfinite(mse) else NONE
    rmse = max(mse, 0.0) ** 0.5 * p.display_scale
    ratio = mse / best if best > 0 else NONE
    about = (tissue, name, p.symbol, p.display_unit, pair.voxels, 0)
    return Row(*about, NONE, NONE, rmse, mse * square, r2, ratio, mse_error * square)


def agreement_row(tissue: str, names: tuple[str, str], p: Parameter, pair: Pair) -> Agreement:
    """How far two methods agree in one parameter.

    Parameters
    ----------
    tissue, names : names of the row: the tissue, and the two methods
    p : the parameter
    pair : the estimates of the two, in display units
    """
    about = (tissue, *names, p.symbol, p.display_unit, pair.voxels, pair.missing)
    if pair.difference.n < 2:
        return Agreement(*about, NONE, NONE, NONE, NONE, NONE)
    mean, sd = pair.difference.mean, pair.difference.variance(1) ** 0.5
    return Agreement(*about, mean, sd, mean - 1.96 * sd, mean + 1.96 * sd, pair.correlation)


def found_row(tissue: str, method: str, p: Parameter, pair: Pair) -> Found:
    """What a fit found in one parameter; `pair` holds its estimates twice."""
    values = pair.first
    some = (values.mean, values.variance(1) ** 0.5, values.low, values.high) if values.n else (NONE,) * 4
    return Found(tissue, method, p.symbol, p.display_unit, pair.voxels, pair.missing, *some)


def write_csv(rows: Iterable[Any], path: Path, force: bool = False) -> Path:
    """Write rows as a CSV file (see `ivimsc.tables.write_table`): the fields of their dataclass are the columns."""
    rows = list(rows)
    return write_table(path, [one.name for one in fields(rows[0])], map(astuple, rows), force)
