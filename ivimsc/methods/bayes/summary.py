"""What is told of a voxel's posterior: its moments and maximum, the units of the user, and whether enough draws carried weight.

Whether the data determine D* is asked afterwards, for every method in the same way (`device.verdict`).

The CPU and the GPU call the same functions.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from ivimsc.compiling import JIT
from ivimsc.estimates import Estimates
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.likelihood import two_decays
from ivimsc.numerics.ending import AT_BOUND, CONVERGED, ITERATION_LIMIT

__all__ = ["finish", "named", "put_maximum", "put_moments"]

ZERO, ONE, THOUSANDTH = np.float32(0), np.float32(1), np.float32(1e-3)


@njit(**JIT)
def put_moments(s0, ess, mean, covariance, found):
    """Put S0, the effective sample size, and the mean (3,) and SD of f, D, D* (from the covariance (3, 3)) into found."""
    found[rows.S0], found[rows.ESS] = s0, ess
    found[rows.F], found[rows.D], found[rows.DSTAR] = mean[0], mean[1], mean[2]
    found[rows.F_SD] = math.sqrt(max(covariance[0, 0], ZERO))
    found[rows.D_SD] = math.sqrt(max(covariance[1, 1], ZERO))
    found[rows.DSTAR_SD] = math.sqrt(max(covariance[2, 2], ZERO))


@njit(**JIT)
def put_maximum(theta, at, found):
    """Put f, D, D* of the point `at` of theta (3, n) into found as the maximum."""
    found[rows.F_MAX], found[rows.D_MAX], found[rows.DSTAR_MAX] = theta[0, at], theta[1, at], theta[2, at]


@njit(**JIT)
def finish(signals, v, scale, b, sampling, found, values, outcome):
    """Write the results of one voxel, in mm²/s and units of the signal.

    Parameters
    ----------
    signals : (voxel, b) as measured
    v : the voxel
    scale : what its signal was divided by
    b : (b,) b-values [ms/µm²]
    sampling : `Sampling`: the effective sample size below which too few draws carried weight, and the bounds
    found : (row,) what was found for the scaled signal; may be the same memory as values[:, v]
    values, outcome : (row, voxel), (voxel,), filled at `v`
    """
    S0, f, d, p = found[rows.S0], found[rows.F], found[rows.D], found[rows.DSTAR]
    squares = 0.0
    for i in range(len(b)):
        squares += (signals[v, i] / scale - S0 * two_decays(b[i], 1.0 - f, f, d, p)) ** 2
    found[rows.RMSE] = math.sqrt(squares / len(b))
    outcome[v] = ITERATION_LIMIT
    if found[rows.ESS] >= sampling.least:  # NaN is no more than that
        box, f, d, p = sampling.box, found[rows.F_MAX], found[rows.D_MAX], found[rows.DSTAR_MAX]
        at = f <= box.f_low or f >= box.f_high or d <= box.d_low or d >= box.d_high or p <= box.p_low or p >= box.p_high
        outcome[v] = AT_BOUND if at else CONVERGED
    for k in range(rows.ROWS):
        unit = scale if k in rows.SIGNALS else THOUSANDTH if k in rows.DIFFUSIVITIES else ONE
        values[k, v] = found[k] * unit


def named(values: Any, outcome: Any) -> Estimates:
    """Estimates from values (row, voxel) and outcome (voxel,)."""
    return Estimates(
        values[rows.S0], values[rows.F], values[rows.D], values[rows.DSTAR], values[rows.RMSE], outcome,
        values[rows.F_SD], values[rows.D_SD], values[rows.DSTAR_SD], ess=values[rows.ESS],
        fmap=values[rows.F_MAX], dmap=values[rows.D_MAX], dstarmap=values[rows.DSTAR_MAX],
    )  # fmt: skip
