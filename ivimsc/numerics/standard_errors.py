"""The Cramér-Rao standard errors of f, D and D* for many voxels, 16 voxels at a time, and for a thread of a GPU.

They are what `physics.cramer_rao` computes by inverting a matrix per voxel, in closed form and fast. Everything is in
float64: the four slopes of equation (1) are nearly dependent, and float32 would leave no digit of their inverse.

The errors here are those at unit noise. They are proportional to the noise, so a caller multiplies them by the noise of
a voxel, in the unit of the amplitudes.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import LANES, exp64
from ivimsc.numerics.small_matrices import bilinear2, inverse2

__all__ = [
    "ERROR_LANES",
    "Errors",
    "Gram",
    "NO_GRAM",
    "add_gram",
    "errors_in_lanes",
    "unit_errors",
    "root_of",
]

L = LANES
SINGULAR = 1e-15  # a few float64 epsilons


class Gram(NamedTuple):
    """Sums over b of products of e1 = exp(-b D) and e2 = exp(-b D*), weighted, from which the errors follow."""

    g11: float  # Σ e1 e1
    g12: float  # Σ e1 e2
    g22: float  # Σ e2 e2
    a11: float  # Σ -b e1 e1, and so on
    a12: float
    a22: float
    b11: float  # Σ b² e1 e1, and so on
    b12: float
    b22: float


class Errors(NamedTuple):
    """Standard errors of f, D and D*: numbers for one voxel, or arrays (voxel,) for many."""

    f: float
    d: float
    p: float


NO_GRAM = Gram(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # what `add_gram` starts from

# Scratch memory of `errors_in_lanes`: for each name, one number per lane. The caller fills the first four.
ERROR_LANES = np.dtype(
    [
        (name, np.float64, (LANES,))
        for name in ("tissue", "blood", "d", "p", *Gram._fields, "f_error", "d_error", "p_error")
    ]
)


@njit(**LANE_JIT)
def add_gram(sums, e1, e2, b):
    """The sums `Gram` with one b-value more, at which the exponentials are e1 and e2, times the root of its weight."""
    p11, p12, p22, bb = e1 * e1, e1 * e2, e2 * e2, b * b
    return Gram(
        sums.g11 + p11,
        sums.g12 + p12,
        sums.g22 + p22,
        sums.a11 - b * p11,
        sums.a12 - b * p12,
        sums.a22 - b * p22,
        sums.b11 + bb * p11,
        sums.b12 + bb * p12,
        sums.b22 + bb * p22,
    )


@njit(**LANE_JIT)
def unit_variances(sums, tissue, blood, known_s0, known_dstar):
    """Variances of f, D and D* at unit noise: the squares of their standard errors.

    With columns e1, e2, -b e1, -b e2 the slopes along D and D* are the two amplitudes times the latter two columns.
    Taking the amplitudes out keeps the inverse defined for f near 0 or 1, where the error of D* or D alone goes to
    infinity.

    Parameters
    ----------
    sums : Gram
        The sums over all b-values.
    tissue, blood : float
        Amplitudes S0 (1 - f) and S0 f.
    known_s0, known_dstar : bool
        S0 was given, not fitted; D* was held fixed.

    Returns
    -------
    Errors
        The variances, of f, and of D and D* in one over the unit of b, squared.
    """
    s = sums
    m11, m12, m22 = inverse2(s.g11, s.g12, s.g22, SINGULAR)
    column = 1.0 / max(s.g11 - 2.0 * s.g12 + s.g22, SINGULAR * s.g11)
    m11, m12, m22 = (column if known_s0 else m11), (-column if known_s0 else m12), (column if known_s0 else m22)
    s11 = s.b11 - bilinear2(s.a11, s.a12, m11, m12, m22, s.a11, s.a12)
    s12 = s.b12 - bilinear2(s.a11, s.a12, m11, m12, m22, s.a12, s.a22)
    s22 = s.b22 - bilinear2(s.a12, s.a22, m11, m12, m22, s.a12, s.a22)
    i11, i12, i22 = inverse2(s11, s12, s22, SINGULAR)
    i11 = 1.0 / max(s11, SINGULAR * s.b11) if known_dstar else i11
    i12, i22 = (0.0 if known_dstar else i12), (0.0 if known_dstar else i22)
    total = tissue + blood
    fa, fc = -blood / (total * total), tissue / (total * total)  # slopes of f = blood / total along the amplitudes
    h1 = bilinear2(fa, fc, m11, m12, m22, s.a11, s.a12)
    h2 = bilinear2(fa, fc, m11, m12, m22, s.a12, s.a22)
    f = bilinear2(fa, fc, m11, m12, m22, fa, fc) + bilinear2(h1, h2, i11, i12, i22, h1, h2)
    return Errors(f, i11 / (tissue * tissue), i22 / (blood * blood))


@njit(**LANE_JIT)
def unit_errors(sums, tissue, blood, known_s0, known_dstar):
    """Standard errors of f, D and D* at unit noise: the roots of `unit_variances`."""
    variances = unit_variances(sums, tissue, blood, known_s0, known_dstar)
    return Errors(root_of(variances.f), root_of(variances.d), root_of(variances.p))


@njit(**LANE_JIT)
def root_of(variance):
    """The root of a variance that rounding may have made negative."""
    return math.sqrt(max(variance, 0.0))


@njit(**LANE_JIT)
def errors_in_lanes(scratch, b, root, known_s0, known_dstar=False):
    """`unit_errors` of 16 voxels: fills f_error, d_error and p_error of `scratch`.

    Parameters
    ----------
    scratch : (1,) array of ERROR_LANES
        Holds the amplitudes, D and D* of each lane.
    b : (b,) float64
        b-values; D and D* are in one over their unit.
    root : (b,) float64
        Square root of the number of images that the signal at each b-value is the mean of; unit noise is that of one
        image.
    known_s0, known_dstar : bool
        S0 was given, not fitted; D* was held fixed, and its error is 0.
    """
    t = scratch[0]
    d, p = t.d, t.p
    g11, g12, g22, a11, a12, a22, b11, b12, b22 = t.g11, t.g12, t.g22, t.a11, t.a12, t.a22, t.b11, t.b12, t.b22
    for l in range(L):
        g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l] = NO_GRAM
    for i in range(len(b)):
        bi, weight = b[i], root[i]
        for l in range(L):
            sums = Gram(g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l])
            sums = add_gram(sums, weight * exp64(-bi * d[l]), weight * exp64(-bi * p[l]), bi)
            g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l] = sums
    tissue, blood, f_error, d_error, p_error = t.tissue, t.blood, t.f_error, t.d_error, t.p_error
    for l in range(L):
        sums = Gram(g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l])
        f_error[l], d_error[l], p_error[l] = unit_variances(sums, tissue[l], blood[l], known_s0, known_dstar)
    for l in range(L):  # a loop of its own: beside the roots, the one above would not become vector instructions
        f_error[l], d_error[l], p_error[l] = root_of(f_error[l]), root_of(d_error[l]), root_of(p_error[l])
