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
from ivimsc.numerics.ending import BAD_SIGNAL, ITERATION_LIMIT, Box, ending
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.residuals import noise_from_residuals
from ivimsc.numerics.standard_errors import ERROR_LANES, Errors, errors_in_lanes

__all__ = ["RESULT_ROWS", "Fit", "Found", "Problem", "Results", "finish", "results_at", "results_of", "write"]

L = LANES
NAN = np.float32(np.nan)
UNIT = np.float32(1e-3)  # mm²/s in one µm²/ms


class Problem(NamedTuple):
    """What all voxels of one least-squares fit share."""

    b: NDArray[np.float32]  # (b,) [ms/µm²]
    s0: np.float32  # S0 where it is known, 0 where it is fitted; in the unit of the signal
    sigma: np.float32  # noise SD where it is known, 0 where the residuals tell it; in the unit of the signal
    box: Box  # bounds, D and D* in µm²/ms


class Found(NamedTuple):
    """What a search found for each voxel (voxel,), for signals that are scaled to a largest value of 1."""

    tissue: NDArray[np.float32]  # amplitude S0 (1 - f)
    blood: NDArray[np.float32]  # amplitude S0 f
    d: NDArray[np.float32]  # D [µm²/ms]
    p: NDArray[np.float32]  # D* [µm²/ms]
    squares: NDArray[np.float32]  # Σ r²
    done: NDArray[np.bool_]  # the search ended before its limit of iterations


class Fit(NamedTuple):
    """One voxel of `Found`."""

    tissue: np.float32
    blood: np.float32
    d: np.float32
    p: np.float32
    squares: np.float32
    done: bool


class Results(NamedTuple):
    """The results (voxel,) of a least-squares fit, named and in the units of `estimates.Estimates`."""

    S0: NDArray[np.float32]
    f: NDArray[np.float32]
    D: NDArray[np.float32]
    Dstar: NDArray[np.float32]
    rmse: NDArray[np.float32]
    fstd: NDArray[np.float32]
    dstd: NDArray[np.float32]
    dstarstd: NDArray[np.float32]
    outcome: NDArray[np.uint8]


RESULT_ROWS = len(Results._fields) - 1  # those of float32, which travel as the rows of one array


@njit(**JIT)
def results_of(rows, outcome):
    """`Results` over the rows of one array (RESULT_ROWS, voxel) float32, and outcome (voxel,) uint8: no copy."""
    return Results(rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7], outcome)


@njit(**JIT, inline="always")  # a call would count references to nine arrays, which costs more than it writes
def write(results, v, values):
    """Write the results of one voxel, numbers, at place `v` of `Results`."""
    results.S0[v], results.f[v], results.D[v], results.Dstar[v] = values.S0, values.f, values.D, values.Dstar
    results.rmse[v], results.outcome[v] = values.rmse, values.outcome
    results.fstd[v], results.dstd[v], results.dstarstd[v] = values.fstd, values.dstd, values.dstarstd


@njit(**JIT)
def results_at(scale, fit, errors, n, asked):
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
        Standard errors at unit noise of the scaled signal.
    n : int
        Number of b-values.
    asked : (float32, float32, Box)
        `s0`, `sigma` and `box` of `Problem`.

    Returns
    -------
    Results
        Numbers; NaN where one is not defined.
    """
    s0, sigma, box = asked
    total = fit.tissue + fit.blood
    if scale == 0 or not total > 0:
        return Results(NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, np.uint8(BAD_SIGNAL))
    noise = np.float64(sigma / scale) if sigma > 0 else noise_from_residuals(fit.squares, n, 3 if s0 > 0 else 4)
    f = min(max(fit.blood / total, box.f_low), box.f_high)
    f_error, d_error, p_error = errors.f * noise, errors.d * noise, errors.p * noise
    outcome = ending(f, fit.d, fit.p, f_error, p_error, box) if fit.done else ITERATION_LIMIT
    return Results(
        total * scale,
        f,
        fit.d * UNIT,
        fit.p * UNIT,
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
    b, asked = problem.b.astype(np.float64), (problem.s0, problem.sigma, problem.box)
    for start in range(0, len(scale), L):
        size = min(L, len(scale) - start)
        for lane in range(L):
            v = start + min(lane, size - 1)
            good = scale[v] > 0
            t.tissue[lane], t.blood[lane] = found.tissue[v] if good else 1.0, found.blood[v] if good else 1.0
            t.d[lane], t.p[lane] = found.d[v] if good else 1.0, found.p[v] if good else 1.0
        errors_in_lanes(scratch, b, problem.s0 > 0)
        for lane in range(size):
            v = start + lane
            errors = Errors(t.f_error[lane], t.d_error[lane], t.p_error[lane])
            fit = Fit(found.tissue[v], found.blood[v], found.d[v], found.p[v], found.squares[v], found.done[v])
            write(results, first + v, results_at(scale[v], fit, errors, len(b), asked))
