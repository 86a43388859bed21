"""The last step of the least-squares fits: from amplitudes and diffusivities to the results of every voxel.

The results are S0, f, D, D*, the rmse, the standard errors and the outcome. The formulas are elsewhere: the standard
errors in `standard_errors`, the rule of the outcomes in `ending`, the noise of a voxel in `residuals`.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT
from ivimsc.estimates import Estimates
from ivimsc.numerics.ending import BAD_SIGNAL, ITERATION_LIMIT, Box, Z, boxes_of, ending
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.residuals import noise_from_residuals
from ivimsc.numerics.standard_errors import ERROR_LANES, Errors, errors_in_lanes
from ivimsc.physics.parameters import Bounds

__all__ = [
    "RESULT_ROWS",
    "Fit",
    "Found",
    "Problem",
    "Results",
    "Rules",
    "estimates_of",
    "finish",
    "fit_at",
    "make_problem",
    "results_at",
    "results_of",
    "students_widening",
    "write",
]

L = LANES
NAN = np.float32(np.nan)
UNIT = np.float32(1e-3)  # mm²/s in one µm²/ms


class Rules(NamedTuple):
    """How the results of a voxel follow from what a search found."""

    n: int  # number of b-values
    unknowns: int  # number of parameters that are fitted
    sigma: (
        np.float32
    )  # noise SD of one image where it is known, 0 where the residuals tell it; in the unit of the signal
    widening: np.float64  # of the standard errors: 1 where sigma is known, else Student's t over that of the normal
    limits: Box  # bounds that the results keep exactly, D and D* in mm²/s


class Problem(NamedTuple):
    """What all voxels of one least-squares fit share."""

    b: NDArray[np.float32]  # (b,) [ms/µm²]
    root: NDArray[
        np.float32
    ]  # (b,) √n where the signal is the mean of n images: signals and model are multiplied by it
    weighted: bool  # one of them is not 1
    s0: np.float32  # S0 where it is known, 0 where it is fitted; in the unit of the signal
    box: Box  # bounds, D and D* in µm²/ms
    rules: Rules


class Found(NamedTuple):
    """What a search found for each voxel (voxel,), for signals that are scaled to a largest value of 1."""

    tissue: NDArray[np.float32]  # amplitude S0 (1 - f)
    blood: NDArray[np.float32]  # amplitude S0 f
    d: NDArray[np.float32]  # D [µm²/ms]
    p: NDArray[np.float32]  # D* [µm²/ms]
    squares: NDArray[np.float32]  # Σ n r²: the mean of n images counts n times
    plain: NDArray[np.float32]  # Σ r²
    done: NDArray[np.bool_]  # the search ended before its limit of iterations


class Fit(NamedTuple):
    """One voxel of `Found`."""

    tissue: np.float32
    blood: np.float32
    d: np.float32
    p: np.float32
    squares: np.float32
    plain: np.float32
    done: bool


class Results(NamedTuple):
    """The results (voxel,) of a least-squares fit, named and in the units of `estimates.Estimates`."""

    S0: NDArray[np.float32]
    f: NDArray[np.float32]
    D: NDArray[np.float32]
    Dstar: NDArray[np.float32]
    rmse: NDArray[np.float32]  # plain, of the signals as they are, also where they have weights
    spread: NDArray[np.float32]  # the same, each times the root of its number of images
    fstd: NDArray[np.float32]
    dstd: NDArray[np.float32]
    dstarstd: NDArray[np.float32]
    outcome: NDArray[np.uint8]


def make_problem(
    bvalues: NDArray[np.float64],
    weights: NDArray[np.float64],
    bounds: Bounds,
    sigma: float | None = None,
    s0: float | None = None,
) -> Problem:
    """What is asked of a fit.

    Parameters
    ----------
    bvalues : (b,) float64
        b-values [s/mm²].
    weights : (b,) float64
        Images that the signal at each b-value is the mean of.
    bounds : Bounds
        Bounds of the estimates.
    sigma : float
        Noise SD of one image in the unit of the signal; None: the residuals of each voxel tell it.
    s0 : float
        S0 where it is known, in the unit of the signal; None: it is fitted.
    """
    unknowns = 4 - bool(s0) - (bounds.Dstar[0] == bounds.Dstar[1])
    box, limits = boxes_of(bounds)
    widening = 1.0 if sigma else students_widening(len(bvalues) - unknowns)
    rules = Rules(len(bvalues), unknowns, np.float32(sigma or 0.0), np.float64(widening), limits)
    b, root = (bvalues * 1e-3).astype(np.float32), np.sqrt(weights).astype(np.float32)
    return Problem(b, root, bool(np.any(root != 1)), np.float32(s0 or 0.0), box, rules)


def students_widening(freedom: int) -> float:
    """Student's t over the normal quantile, for 95 %: errors times it hold the truth within 1.96 of them.

    The noise of one voxel is told by a few residuals (`freedom` of them are free) and so is uncertain itself.
    """
    from scipy.special import stdtrit  # loads in milliseconds, scipy.stats does not

    return float(stdtrit(freedom, 0.975) / Z) if freedom > 0 else 1.0


def estimates_of(results: Results, problem: Problem) -> Estimates:
    """The results as `Estimates`; without spread where it is rmse, and without dstarstd where D* was held fixed."""
    found = results._asdict()
    if problem.box.p_low == problem.box.p_high:
        del found["dstarstd"]
    if not problem.weighted:
        del found["spread"]
    return Estimates(**found)


RESULT_ROWS = len(Results._fields) - 1  # those of float32, which travel as the rows of one array


@njit(**JIT)
def results_of(rows, outcome):
    """`Results` over the rows of one array (RESULT_ROWS, voxel) float32, and outcome (voxel,) uint8: no copy."""
    return Results(rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7], rows[8], outcome)


@njit(**JIT, inline="always")  # as in `write`
def fit_at(found, v):
    """Voxel `v` of `Found`."""
    return Fit(found.tissue[v], found.blood[v], found.d[v], found.p[v], found.squares[v], found.plain[v], found.done[v])


@njit(**JIT, inline="always")  # a call would count references to nine arrays, which costs more than it writes
def write(results, v, values):
    """Write the results of one voxel, numbers, at place `v` of `Results`."""
    results.S0[v], results.f[v], results.D[v], results.Dstar[v] = values.S0, values.f, values.D, values.Dstar
    results.rmse[v], results.spread[v], results.outcome[v] = values.rmse, values.spread, values.outcome
    results.fstd[v], results.dstd[v], results.dstarstd[v] = values.fstd, values.dstd, values.dstarstd


@njit(**JIT)
def results_at(scale, fit, errors, box, rules):
    """The results of one voxel.

    Arrays stay with the caller, which writes these numbers: handing nine arrays to a function for every voxel costs
    more than all that is computed here.

    Parameters
    ----------
    scale : float
        What the signal was divided by; 0 for a bad signal.
    fit : Fit
        What the search found.
    errors : Errors
        Standard errors at unit noise of one image of the scaled signal.
    box, rules : Box, Rules
        Those of `Problem`.

    Returns
    -------
    Results
        Numbers; NaN where one is not defined.
    """
    n, limits = rules.n, rules.limits
    total = fit.tissue + fit.blood
    if scale == 0 or not total > 0:
        return Results(NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, np.uint8(BAD_SIGNAL))
    known = rules.sigma > 0
    noise = (
        np.float64(rules.sigma / scale)
        if known
        else noise_from_residuals(fit.squares, n, rules.unknowns) * rules.widening
    )
    f = min(max(fit.blood / total, box.f_low), box.f_high)
    f_error, d_error, p_error = errors.f * noise, errors.d * noise, errors.p * noise
    outcome = ending(f, fit.d, fit.p, f_error, p_error, box) if fit.done else ITERATION_LIMIT
    return Results(
        total * scale,
        f,
        min(max(fit.d * UNIT, limits.d_low), limits.d_high),
        min(max(fit.p * UNIT, limits.p_low), limits.p_high),
        np.float32(math.sqrt(fit.plain / n)) * scale,
        np.float32(math.sqrt(fit.squares / n)) * scale,
        np.float32(f_error),
        np.float32(d_error * 1e-3) if math.isfinite(d_error) else NAN,
        np.float32(p_error * 1e-3) if math.isfinite(p_error) else NAN,
        np.uint8(outcome),
    )


@njit(**JIT)
def finish(first, scale, found, problem, results):
    """Write the results of a block of voxels.

    Parameters
    ----------
    first : int
        Place of the block's first voxel in `results`.
    scale : (block,) float32
        Largest |signal| of each voxel; 0 for a bad signal.
    found : Found
        What the search found, (block,) each.
    problem : Problem
        What the fit was asked.
    results : Results
        Receives the results; NaN where one is not defined.
    """
    scratch = np.empty(1, ERROR_LANES)
    t = scratch[0]
    b, root = problem.b.astype(np.float64), problem.root.astype(np.float64)
    for start in range(0, len(scale), L):
        size = min(L, len(scale) - start)
        for lane in range(L):
            v = start + min(lane, size - 1)
            good = scale[v] > 0
            t.tissue[lane], t.blood[lane] = found.tissue[v] if good else 1.0, found.blood[v] if good else 1.0
            t.d[lane], t.p[lane] = found.d[v] if good else 1.0, found.p[v] if good else 1.0
        errors_in_lanes(scratch, b, root, problem.s0 > 0, problem.box.p_low == problem.box.p_high)
        for lane in range(size):
            v = start + lane
            errors = Errors(t.f_error[lane], t.d_error[lane], t.p_error[lane])
            fit = fit_at(found, v)
            write(results, first + v, results_at(scale[v], fit, errors, problem.box, problem.rules))
