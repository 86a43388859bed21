"""Closed forms for 2 × 2 symmetric systems: scalars in, tuples out, so that loops over lanes vectorise."""

from numba import njit

from ivimsc.compiling import LANE_JIT

__all__ = ["bilinear2", "inverse2"]


@njit(**LANE_JIT)
def inverse2(a11, a12, a22, floor):
    """Inverse (i11, i12, i22) of [[a11, a12], [a12, a22]].

    The determinant is kept at or above floor · a11 · a22: two columns that the rounding of the floats cannot tell apart
    (squared cosine above 1 - floor) are treated as just apart, instead of dividing by noise.
    """
    scale = a11 * a22
    inverse = type(scale)(1.0) / max(scale - a12 * a12, floor * scale)
    return a22 * inverse, -a12 * inverse, a11 * inverse


@njit(**LANE_JIT)
def bilinear2(x1, x2, m11, m12, m22, y1, y2):
    """xᵀ M y for the symmetric M = [[m11, m12], [m12, m22]]."""
    return x1 * (m11 * y1 + m12 * y2) + x2 * (m12 * y1 + m22 * y2)
