"""Second-order steps in three unknowns, for one lane: `newton3`."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT

__all__ = ["Slopes3", "newton3"]

ZERO, ONE, TWO, HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
THIRD, SIXTH, TINY = np.float32(1 / 3), np.float32(1 / 6), np.float32(1e-30)
PIVOT = np.float32(1e-6)  # ten float32 epsilons: a smaller pivot is rounding
LEAST_SHIFT = np.float32(1e-3)


class Slopes3(NamedTuple):
    """Gradient g and Hessian h of ½ Σ r² in three unknowns, and the squares s of the scales of the unknowns."""

    g1: np.float32
    g2: np.float32
    g3: np.float32
    h11: np.float32
    h12: np.float32
    h13: np.float32
    h22: np.float32
    h23: np.float32
    h33: np.float32
    s1: np.float32
    s2: np.float32
    s3: np.float32


@njit(**LANE_JIT)
def _nearer(x, c2, c1, c0):
    """A Newton step towards the lowest root of x³ - c2 x² + c1 x - c0, from below."""
    value = ((x - c2) * x + c1) * x - c0
    slope = ((x + x + x) - c2 - c2) * x + c1
    return x - min(value, ZERO) / max(slope, TINY)


@njit(**LANE_JIT)
def _lowest(h11, h12, h13, h22, h23, h33):
    """The lowest eigenvalue of a symmetric matrix, or a little less: Newton steps on its polynomial, from below."""
    m = (h11 + h22 + h33) * THIRD
    a, b, c = h11 - m, h22 - m, h33 - m
    off = h12 * h12 + h13 * h13 + h23 * h23
    x = m - TWO * math.sqrt((a * a + b * b + c * c + off + off) * SIXTH)
    c2 = h11 + h22 + h33
    c1 = h11 * h22 + h11 * h33 + h22 * h33 - off
    c0 = h11 * (h22 * h33 - h23 * h23) - h12 * (h12 * h33 - h23 * h13) + h13 * (h12 * h23 - h22 * h13)
    x = _nearer(
        x, c2, c1, c0
    )  # written out: a loop here would keep the loop over lanes from becoming vector instructions
    x = _nearer(x, c2, c1, c0)
    x = _nearer(x, c2, c1, c0)
    return _nearer(x, c2, c1, c0)


@njit(**LANE_JIT)
def newton3(slope, hold1, hold2, hold3, factor):
    """A damped Newton step, and the decrease of ½ Σ r² that it promises.

    The Hessian is scaled by `slope.s1` and so on; where it is not positive definite, its eigenvalues are shifted to be so.

    Parameters
    ----------
    slope : Slopes3
        The slopes at the best point so far.
    hold1, hold2, hold3 : bool
        Unknowns that stay where they are.
    factor : float32
        The damping factor.

    Returns
    -------
    step1, step2, step3, promised : float32
    """
    i1, i2, i3 = ONE / math.sqrt(slope.s1), ONE / math.sqrt(slope.s2), ONE / math.sqrt(slope.s3)
    g1 = ZERO if hold1 else slope.g1 * i1
    g2 = ZERO if hold2 else slope.g2 * i2
    g3 = ZERO if hold3 else slope.g3 * i3
    h11 = ONE if hold1 else slope.h11 * i1 * i1
    h22 = ONE if hold2 else slope.h22 * i2 * i2
    h33 = ONE if hold3 else slope.h33 * i3 * i3
    h12 = ZERO if hold1 | hold2 else slope.h12 * i1 * i2
    h13 = ZERO if hold1 | hold3 else slope.h13 * i1 * i3
    h23 = ZERO if hold2 | hold3 else slope.h23 * i2 * i3
    l21, l31 = h12 / max(h11, PIVOT), h13 / max(h11, PIVOT)
    d2 = h22 - l21 * h12
    l32 = (h23 - l31 * h12) / max(d2, PIVOT)
    d3 = h33 - l31 * h13 - l32 * l32 * d2
    definite = (h11 > PIVOT) & (d2 > PIVOT) & (d3 > PIVOT)
    lowest = _lowest(h11, h12, h13, h22, h23, h33)
    shift = factor + (ZERO if definite else max(-(lowest + lowest), LEAST_SHIFT))
    d1 = max(h11 + shift, PIVOT)
    l21, l31 = h12 / d1, h13 / d1
    d2 = max(h22 + shift - l21 * h12, PIVOT)
    l32 = (h23 - l31 * h12) / d2
    d3 = max(h33 + shift - l31 * h13 - l32 * l32 * d2, PIVOT)
    z1 = -g1
    z2 = -g2 - l21 * z1
    z3 = -g3 - l31 * z1 - l32 * z2
    x3 = z3 / d3
    x2 = z2 / d2 - l32 * x3
    x1 = z1 / d1 - l21 * x2 - l31 * x3
    promised = -(g1 * x1 + g2 * x2 + g3 * x3)
    promised -= HALF * (h11 * x1 * x1 + h22 * x2 * x2 + h33 * x3 * x3)
    promised -= h12 * x1 * x2 + h13 * x1 * x3 + h23 * x2 * x3
    return x1 * i1, x2 * i2, x3 * i3, promised
