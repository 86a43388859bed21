"""Bi-exponential least squares of one voxel: the amplitudes solved for, D and D* by second-order steps.

Equation (1) is a e1 + c e2 with e1 = exp(-b D), e2 = exp(-b D*), a = S0 (1 - f), c = S0 f. Given D and D*, the best
amplitudes are a linear problem of two unknowns in the cone f_low <= f <= f_high (or on the line a + c = S0 where S0 is
known), solved exactly (`best_amplitudes`, `best_fraction`). What is left is a function of D and log D*, whose gradient
and full Hessian follow from sums over b (`slopes`): variable projection (Golub and Pereyra, SIAM J. Numer. Anal.
10:413, 1973; full second order instead of Gauss-Newton, because the valley along D* is curved and the steps of
Gauss-Newton crawl in it).

The functions here are scalar: the CPU calls them for 16 voxels side by side, in lanes, and a thread of a GPU
calls them for its one voxel (`on_gpu`). segmented, which knows D by then, uses the part along D*. Weights are square
roots that signals and exponentials are multiplied by before they come here. Signals are scaled to a largest value of 1, b is in ms/µm², D and D* are in
µm²/ms, so that all numbers are of order 1.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import exp32
from ivimsc.numerics.small_matrices import bilinear2, inverse2

__all__ = [
    "FLOOR",
    "TOLERANCE",
    "Amplitudes",
    "Products",
    "Residuals",
    "Slopes",
    "add_products",
    "add_residual",
    "best_amplitudes",
    "best_fraction",
    "corrected",
    "damping",
    "negligible",
    "newton_step",
    "slopes",
]

# A search stops when a step promises less than this part of Σ r²: a hundredth of the accuracy that is wanted.
TOLERANCE = np.float32(1e-6)
FLOOR = np.float32(1e-6)  # about 10 float32 epsilons: columns closer than this are one column
ZERO, ONE, HALF, TINY = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(1e-30)


class Products(NamedTuple):
    """Sums over b that do not need the amplitudes."""

    g11: np.float32  # Σ e1 e1
    g12: np.float32  # Σ e1 e2
    g22: np.float32  # Σ e2 e2
    a11: np.float32  # Σ b e1 e1, and so on
    a12: np.float32
    a22: np.float32
    b11: np.float32  # Σ b² e1 e1, and so on
    b12: np.float32
    b22: np.float32
    y1: np.float32  # Σ y e1, where y is the signal
    y2: np.float32  # Σ y e2


class Amplitudes(NamedTuple):
    """Best amplitudes at a point, and the inverse Gram matrix M of those that are free to move."""

    a: np.float32  # of the tissue
    c: np.float32  # of the blood
    m11: np.float32
    m12: np.float32
    m22: np.float32


class Residuals(NamedTuple):
    """Sums over b of the residuals r, from the residuals themselves: no cancellation."""

    r1: np.float32  # Σ r e1
    r2: np.float32  # Σ r e2
    rb1: np.float32  # Σ r b e1
    rb2: np.float32
    rbb1: np.float32  # Σ r b² e1
    rbb2: np.float32
    rr: np.float32  # Σ r²


class Slopes(NamedTuple):
    """Gradient and Hessian of ½ Σ r² in (D, log D*), and the diagonal of the Gauss-Newton matrix, which scales them."""

    gd: np.float32
    gp: np.float32
    hdd: np.float32
    hdp: np.float32
    hpp: np.float32
    sd: np.float32
    sp: np.float32


@njit(**LANE_JIT)
def add_products(sums, y, e1, e2, b):
    """The sums `Products` with one b-value more."""
    p11, p12, p22, bb = e1 * e1, e1 * e2, e2 * e2, b * b
    return Products(
        sums.g11 + p11,
        sums.g12 + p12,
        sums.g22 + p22,
        sums.a11 + b * p11,
        sums.a12 + b * p12,
        sums.a22 + b * p22,
        sums.b11 + bb * p11,
        sums.b12 + bb * p12,
        sums.b22 + bb * p22,
        sums.y1 + y * e1,
        sums.y2 + y * e2,
    )


@njit(**LANE_JIT)
def add_residual(sums, a, c, y, e1, e2, b):
    """The sums `Residuals` with one b-value more, for the amplitudes a and c."""
    r = y - a * e1 - c * e2
    r1, r2 = r * e1, r * e2
    rb1, rb2 = r1 * b, r2 * b
    return Residuals(
        sums.r1 + r1,
        sums.r2 + r2,
        sums.rb1 + rb1,
        sums.rb2 + rb2,
        sums.rbb1 + rb1 * b,
        sums.rbb2 + rb2 * b,
        sums.rr + r * r,
    )


@njit(**LANE_JIT)
def edge(g11, g12, g22, y1, y2, f):
    """On the edge of the cone where the fraction is `f`: (decrease of ½ Σ r², amplitude S0 >= 0, 1 / |column|²)."""
    u = ONE - f
    inverse = ONE / max(u * u * g11 + ONE * (u * f + u * f) * g12 + f * f * g22, TINY)
    projection = max(u * y1 + f * y2, ZERO)
    return projection * projection * inverse, projection * inverse, inverse


@njit(**LANE_JIT)
def best_amplitudes(g11, g12, g22, y1, y2, f_low, f_high):
    """The best `Amplitudes` in the cone f_low <= f <= f_high, for five of the sums `Products`."""
    m11, m12, m22 = inverse2(g11, g12, g22, FLOOR)
    a = m11 * y1 + m12 * y2
    c = m12 * y1 + m22 * y2
    s = a + c
    inside = (c >= f_low * s) & (c <= f_high * s) & (s > ZERO)
    gain_low, s_low, i_low = edge(g11, g12, g22, y1, y2, f_low)
    gain_high, s_high, i_high = edge(g11, g12, g22, y1, y2, f_high)
    low = gain_low >= gain_high
    s = s_low if low else s_high
    i = i_low if low else i_high
    f = f_low if low else f_high
    u = ONE - f
    a = a if inside else s * u
    c = c if inside else s * f
    m11 = m11 if inside else i * u * u
    m12 = m12 if inside else i * u * f
    m22 = m22 if inside else i * f * f
    return Amplitudes(a, c, m11, m12, m22)


@njit(**LANE_JIT)
def best_fraction(g11, g12, g22, y1, y2, s, f_low, f_high):
    """`best_amplitudes` where a + c = s is known: the best fraction in f_low..f_high, and M along (-1, 1)."""
    column = max(g11 - g12 - g12 + g22, FLOOR * (g11 + g22))
    c = (y2 - y1 - s * (g12 - g11)) / column
    inside = (c > f_low * s) & (c < f_high * s)
    c = min(max(c, f_low * s), f_high * s)
    m = ONE / column if inside else ZERO
    return Amplitudes(s - c, c, m, -m, m)


@njit(**LANE_JIT)
def slopes(p, amplitudes, products, residuals):
    """The `Slopes` with the amplitudes projected out, at a point with D* = p."""
    a, c, m11, m12, m22 = amplitudes
    a11, a12, a22 = products.a11, products.a12, products.a22
    r1, r2, rb1, rbb1, rbb2 = residuals.r1, residuals.r2, residuals.rb1, residuals.rbb1, residuals.rbb2
    rb2 = p * residuals.rb2
    # mixed derivatives of ½ Σ r² along (a, c) and D, (a, c) and log D*
    had, hcd = rb1 - a * a11, -a * a12
    hap, hcp = -c * p * a12, rb2 - c * p * a22
    # rounding leaves the amplitudes slightly off: r1, r2 tell how much, and M takes it into the gradient
    gd = a * rb1 + bilinear2(had, hcd, m11, m12, m22, r1, r2)
    gp = c * rb2 + bilinear2(hap, hcp, m11, m12, m22, r1, r2)
    sd = a * a * products.b11
    sp = c * c * p * p * products.b22
    hdd = sd - a * rbb1 - bilinear2(had, hcd, m11, m12, m22, had, hcd)
    hpp = sp + c * rb2 - c * p * p * rbb2 - bilinear2(hap, hcp, m11, m12, m22, hap, hcp)
    hdp = a * c * p * products.b12 - bilinear2(had, hcd, m11, m12, m22, hap, hcp)
    return Slopes(gd, gp, hdd, hdp, hpp, max(sd, TINY), max(sp, TINY))


@njit(**LANE_JIT)
def corrected(amplitudes, residuals):
    """The amplitudes (a, c) corrected for what rounding left of Σ r e1 and Σ r e2."""
    a, c, m11, m12, m22 = amplitudes
    r1, r2 = residuals.r1, residuals.r2
    return a + m11 * r1 + m12 * r2, c + m12 * r1 + m22 * r2


@njit(**LANE_JIT)
def damping(factor, better):
    """The next damping factor: less after a better point (0 when small), more after a worse one."""
    grown = max(factor * np.float32(8.0), np.float32(1e-2))
    shrunk = factor * np.float32(0.1)
    shrunk = shrunk if shrunk > np.float32(1e-4) else ZERO
    return shrunk if better else grown


@njit(**LANE_JIT)
def newton_step(d, p, slope, factor, least, box):
    """Next trial point (D, D*) by a damped Newton step in the box, and whether it promises no more than `least`.

    The Hessian is scaled by the Gauss-Newton diagonal; where it is indefinite, its eigenvalues are shifted to be
    positive. A variable at its bound with the gradient pointing outwards is held.

    Parameters
    ----------
    d, p : float32
        The best point so far, D and D*.
    slope : Slopes
        The slopes at that point.
    factor : float32
        The damping factor.
    least : float32
        A decrease of ½ Σ r² that is not worth another step.
    box : Box
        Bounds of D and D*.

    Returns
    -------
    d, p : float32
        The point to try next.
    done : bool
        The step promises no more than `least`, or it leads nowhere.
    """
    gd, gp, hdd, hdp, hpp, sd, sp = slope
    hold_d = ((d <= box.d_low) & (gd >= ZERO)) | ((d >= box.d_high) & (gd <= ZERO))
    hold_p = ((p <= box.p_low) & (gp >= ZERO)) | ((p >= box.p_high) & (gp <= ZERO))
    id_, ip = ONE / math.sqrt(sd), ONE / math.sqrt(sp)
    gd = ZERO if hold_d else gd * id_
    gp = ZERO if hold_p else gp * ip
    hdd = ONE if hold_d else hdd * id_ * id_
    hpp = ONE if hold_p else hpp * ip * ip
    hdp = ZERO if hold_d | hold_p else hdp * id_ * ip
    half = HALF * (hdd - hpp)
    lowest = HALF * (hdd + hpp) - math.sqrt(half * half + hdp * hdp)
    shift = factor + max(-(lowest + lowest), ZERO) + np.float32(1e-7)
    i11, i12, i22 = inverse2(hdd + shift, hdp, hpp + shift, FLOOR * np.float32(0.1))
    step_d = -(i11 * gd + i12 * gp)
    step_p = -(i12 * gd + i22 * gp)
    new_d = min(max(d + step_d * id_, box.d_low), box.d_high)
    new_p = min(max(p * exp32(min(max(step_p * ip, -ONE), ONE)), box.p_low), box.p_high)
    promised = -(gd * step_d + gp * step_p) - HALF * (hdd * step_d * step_d + hpp * step_p * step_p)
    promised -= hdp * step_d * step_p
    return new_d, new_p, (promised <= least) | ((new_d == d) & (new_p == p))


@njit(**LANE_JIT)
def negligible(squares, total):
    """The promise [½ Σ r²] that is too small to go on for: Σ r² = `squares`, Σ y² = `total`."""
    return max(TOLERANCE * squares, np.float32(1e-13) * total)
