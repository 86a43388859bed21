"""Errors of estimates, and their ratio to the smallest possible error on the same voxels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "Line", "Score", "constant_score", "score"]

NONE = float("nan")


@dataclass(frozen=True)
class Bounds:
    """Squared errors (tested, 3) of f, D, D* [1, (µm²/ms)²] whose mean is the smallest possible; see `compare.bound`.

    tested : their voxels; a voxel may be there twice. trained (tested, 3): squared errors of the posterior mean whose
    prior and noise level are those of the training scans. ess: least of the effective sample sizes.
    """

    tested: NDArray[np.intp]
    products: NDArray[np.float64]
    trained: NDArray[np.float64]
    ess: float


@dataclass(frozen=True)
class Score:
    """Mean squared error, R² (equation (12)), ratio to the bound and its standard error, of f, D and D*, each (3,)."""

    voxels: int
    missing: int
    mse: NDArray[np.float64]
    r2: NDArray[np.float64]
    ratio: NDArray[np.float64]
    ratio_error: NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A line of a CSV file: one row of a table, seed, kind of test signals and parameter.

    mse in units²; ratio: to the smallest possible error on the same voxels, with its standard error; printed: the
    paper's; speed [voxels per s of CPU]; training [s of CPU].
    """

    experiment: str
    row: str
    seed: str
    test: str
    parameter: str
    unit: str
    voxels: int
    missing: int
    mse: float
    r2: float
    ratio: float
    ratio_error: float
    printed: float = NONE
    speed: float = NONE
    training: float = NONE


def score(found: NDArray[np.float64], true: NDArray[np.float64], bounds: Bounds) -> Score:
    """Score estimates of f, D and D* against the truth; voxels without a number are left out and counted.

    The ratio is of the two errors over the same voxels, so that the luck of their noise cancels; its standard error is
    that of a ratio of means.

    Parameters
    ----------
    found, true : (voxel, 3) [1, µm²/ms]; a parameter that a method does not have is NaN throughout, and so is its score
    bounds : the smallest possible errors
    """
    square = (found - true) ** 2
    there = _known(square)
    mse = square[there].mean(0) if there.any() else np.full(3, NONE)
    spread = true[there].var(0) if there.any() else np.full(3, NONE)
    ratio, error = paired(square[bounds.tested], bounds.products)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Score(len(found), int(len(found) - there.sum()), mse, 1 - mse / spread, ratio, error)


def paired(
    square: NDArray[np.float64], products: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratio of the means of two kinds of squared errors on the same voxels.

    Parameters
    ----------
    square, products : (voxel, 3), in the same units; voxels where either is NaN are left out

    Returns
    -------
    the ratio (3,) of `square` to `products`, and its standard error (3,)
    """
    both = _known(square) & _known(products)
    square, products = square[both], products[both]
    if len(square) < 2:
        return np.full(3, NONE), np.full(3, NONE)
    ratio = square.mean(0) / products.mean(0)
    return ratio, (square - ratio * products).std(0, ddof=1) / products.mean(0) / np.sqrt(len(square))


def constant_score(guess: NDArray[np.float64], true: NDArray[np.float64], bounds: Bounds) -> Score:
    """Score the same guess for every voxel: what is worse has learned nothing from the data.

    Parameters
    ----------
    guess : (3,), for f, D and D* [1, µm²/ms]
    true : (voxel, 3), in the same units
    bounds : the smallest possible errors
    """
    return score(np.broadcast_to(guess, true.shape), true, bounds)


def _known(square: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The rows (voxel,) without NaN, but for columns that are NaN throughout: the method has no such parameter."""
    known = np.isfinite(square)
    return known[:, known.any(0)].all(1) if known.any() else np.zeros(len(square), bool)
