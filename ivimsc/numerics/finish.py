"""From amplitudes and diffusivities to results: S0, f, D, D*, rmse, standard errors and the outcome of every voxel.

The standard errors are the Cramér-Rao bound at the estimate (`physics.bounds`), computed 16 voxels at a time in float64:
the four slopes of equation (1) are nearly dependent, and float32 would leave no digit of their inverse.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES, exp64
from ivimsc.numerics.small_matrices import bilinear2, inverse2

__all__ = ["Limits", "add_gram", "finish", "noise_level", "store", "unit_variances"]

L = LANES
SINGULAR = 1e-15  # a few float64 epsilons
Z = 1.96  # two-sided 95 %
CONVERGED, AT_BOUND, ITERATION_LIMIT, UNIDENTIFIABLE, BAD_SIGNAL = 1, 2, 3, 4, 5  # estimates.Outcome; a test compares
NAN = np.float32(np.nan)


class Limits(NamedTuple):
    """Bounds of f, D and D* [µm²/ms] and the largest number of iterations."""

    f_low: np.float32
    f_high: np.float32
    d_low: np.float32
    d_high: np.float32
    p_low: np.float32
    p_high: np.float32
    iterations: np.float32


@njit(**LANE_JIT)
def add_gram(sums, e1, e2, b):
    """Σ e e, -b e e, b² e e (each: 11, 12, 22) with one b-value more, float64."""
    g11, g12, g22, a11, a12, a22, b11, b12, b22 = sums
    p11, p12, p22, bb = e1 * e1, e1 * e2, e2 * e2, b * b
    return (
        g11 + p11, g12 + p12, g22 + p22, a11 - b * p11, a12 - b * p12, a22 - b * p22,
        b11 + bb * p11, b12 + bb * p12, b22 + bb * p22,
    )  # fmt: skip


@njit(**LANE_JIT)
def unit_variances(sums, a, c, known_s0):
    """Variances of f, D and D* at unit noise, for the sums of `add_gram` and the amplitudes.

    With columns e1, e2, -b e1, -b e2 the slopes along D and D* are a and c times the latter two: taking a and c out
    keeps the inverse defined for f near 0 or 1, where the error of D* or D alone goes to infinity.
    """
    g11, g12, g22, a11, a12, a22, b11, b12, b22 = sums
    m11, m12, m22 = inverse2(g11, g12, g22, SINGULAR)
    column = 1.0 / max(g11 - 2.0 * g12 + g22, SINGULAR * g11)
    m11, m12, m22 = (column if known_s0 else m11), (-column if known_s0 else m12), (column if known_s0 else m22)
    s11 = b11 - bilinear2(a11, a12, m11, m12, m22, a11, a12)
    s12 = b12 - bilinear2(a11, a12, m11, m12, m22, a12, a22)
    s22 = b22 - bilinear2(a12, a22, m11, m12, m22, a12, a22)
    i11, i12, i22 = inverse2(s11, s12, s22, SINGULAR)
    total = a + c
    fa, fc = -c / (total * total), a / (total * total)  # slopes of f = c / (a + c)
    h1 = bilinear2(fa, fc, m11, m12, m22, a11, a12)
    h2 = bilinear2(fa, fc, m11, m12, m22, a12, a22)
    f = bilinear2(fa, fc, m11, m12, m22, fa, fc) + bilinear2(h1, h2, i11, i12, i22, h1, h2)
    return f, i11 / (a * a), i22 / (c * c)


@njit(**LANE_JIT)
def _unit_errors(d, p, a, c, b, known_s0, t, errors):
    """Errors (3, LANES) of f, D and D* at unit noise, for lanes of D, D* and amplitudes; t is scratch (10 · LANES)."""
    for k in range(10 * L):
        t[k] = 0.0
    for i in range(len(b)):
        bi = b[i]
        for l in range(L):
            sums = (
                t[l], t[L + l], t[2 * L + l], t[3 * L + l], t[4 * L + l], t[5 * L + l],
                t[6 * L + l], t[7 * L + l], t[8 * L + l],
            )  # fmt: skip
            (
                t[l], t[L + l], t[2 * L + l], t[3 * L + l], t[4 * L + l], t[5 * L + l],
                t[6 * L + l], t[7 * L + l], t[8 * L + l],
            ) = add_gram(sums, exp64(-bi * d[l]), exp64(-bi * p[l]), bi)  # fmt: skip
    for l in range(L):
        sums = (
            t[l], t[L + l], t[2 * L + l], t[3 * L + l], t[4 * L + l], t[5 * L + l],
            t[6 * L + l], t[7 * L + l], t[8 * L + l],
        )  # fmt: skip
        errors[0, l], errors[1, l], errors[2, l] = unit_variances(sums, a[l], c[l], known_s0)
    for k in range(3):
        for l in range(L):
            errors[k, l] = math.sqrt(max(errors[k, l], 0.0))


@njit(**JIT)
def _outcome(f, d, p, f_error, p_error, iterations, limits):
    """The outcome of a fitted voxel; errors are NaN where no noise level is known."""
    if iterations < 0:
        return ITERATION_LIMIT
    if f == 0 or f <= Z * f_error or (d > 0 and math.log(p / d) * p <= Z * p_error):
        return UNIDENTIFIABLE
    at_bound = f <= limits.f_low or f >= limits.f_high or d <= limits.d_low or d >= limits.d_high
    return AT_BOUND if at_bound or p <= limits.p_low or p >= limits.p_high else CONVERGED


@njit(**JIT)
def noise_level(squares, n, unknowns, sigma, scale):
    """Noise SD of the scaled signal: given, or from the residuals; NaN where they have no degree of freedom."""
    if sigma > 0:
        return sigma / scale
    return math.sqrt(squares / (n - unknowns)) if n > unknowns else np.nan


@njit(**JIT)
def store(v, scale, found, errors, noise, n, limits, result, outcome):
    """Write the results of one voxel: column `v` of result (8, voxel); found: 6 values, errors: 3, as in `finish`."""
    a, c, d, p, squares, iterations = found
    f_error, d_error, p_error = errors
    total = a + c
    if scale == 0 or not total > 0:
        for k in range(8):
            result[k, v] = NAN
        outcome[v] = BAD_SIGNAL
        return
    f = min(max(c / total, limits.f_low), limits.f_high)
    f_error, d_error, p_error = f_error * noise, d_error * noise, p_error * noise
    outcome[v] = _outcome(f, d, p, f_error, p_error, iterations, limits)
    result[0, v], result[1, v] = total * scale, f
    result[2, v], result[3, v] = d * np.float32(1e-3), p * np.float32(1e-3)
    result[4, v] = np.float32(math.sqrt(squares / n)) * scale
    result[5, v] = f_error
    result[6, v] = d_error * 1e-3 if math.isfinite(d_error) else NAN
    result[7, v] = p_error * 1e-3 if math.isfinite(p_error) else NAN


@njit(**JIT)
def finish(first, scale, b, found, sigma, known_s0, limits, result, outcome):
    """Results of a block whose first voxel is `first` of the whole.

    Parameters
    ----------
    scale : (block,) largest |signal|, 0 for a bad signal
    b : (b,) in ms/µm²
    found : (block, 6) amplitudes of tissue and blood, D, D* [µm²/ms], Σ r² (of scaled signals), iterations
        (negative at the limit)
    sigma : noise SD in units of the signal, 0 where it is to come from the residuals
    known_s0 : S0 was given, not fitted
    limits : bounds
    result : (8, voxel) float32: S0, f, D, D* [mm²/s], rmse, standard errors of f, D, D*; NaN where not defined
    outcome : (voxel,) uint8
    """
    values = np.ones((4, L))
    t = np.empty(10 * L)
    errors = np.empty((3, L))
    b64 = b.astype(np.float64)
    unknowns = 3 if known_s0 else 4
    for start in range(0, len(scale), L):
        size = min(L, len(scale) - start)
        for lane in range(size):
            v = start + lane
            for k, column in enumerate((2, 3, 0, 1)):
                values[k, lane] = found[v, column] if scale[v] > 0 else 1.0
        _unit_errors(values[0], values[1], values[2], values[3], b64, known_s0, t, errors)
        for lane in range(size):
            v = start + lane
            noise = noise_level(found[v, 4], len(b), unknowns, sigma, scale[v]) if scale[v] > 0 else np.nan
            row = (found[v, 0], found[v, 1], found[v, 2], found[v, 3], found[v, 4], found[v, 5])
            unit = (errors[0, lane], errors[1, lane], errors[2, lane])
            store(first + v, scale[v], row, unit, noise, len(b), limits, result, outcome)
