"""Bi-exponential least squares in lanes: the amplitudes solved for, D and D* by second-order steps.

Equation (1) is a e1 + c e2 with e1 = exp(-b D), e2 = exp(-b D*), a = S0 (1 - f), c = S0 f. Given D and D*, the best
amplitudes are a linear problem of two unknowns in the cone f_low <= f <= f_high (or on the line a + c = S0 where S0 is
known), solved exactly (`amplitudes`). What is left is a function of D and log D*, whose gradient and full Hessian follow
from sums over b (`slopes`): variable projection (Golub and Pereyra, SIAM J. Numer. Anal. 10:413, 1973; full second
order instead of Gauss-Newton, because the valley along D* is curved and the steps of Gauss-Newton crawl in it).

Inside: signals scaled to a largest value of 1, b in ms/µm², D and D* in µm²/ms, so that all numbers are of order 1.
Scratch memory of 16 lanes: `w` (b, 3 · LANES) float32 holds signal, e1, e2; `t` (ROWS · LANES,) float32 holds the rows
named below. Constant offsets in one array let LLVM prove that rows do not overlap. The formulas themselves are scalar
functions, which a thread of a GPU (`cuda.nlls`) calls as well.
"""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.small_matrices import bilinear2, inverse2

__all__ = [
    "ROWS",
    "add_products",
    "add_residual",
    "amplitudes",
    "best_amplitudes",
    "best_fraction",
    "damping",
    "exponentials",
    "negligible",
    "newton_step",
    "residuals",
    "slopes",
    "step",
]

L = LANES
FLOOR = np.float32(1e-6)  # about 10 float32 epsilons: columns closer than this are one column
ZERO, ONE, HALF, TINY = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(1e-30)

# Rows of `t`. Trial point, sums over b without data, with data, with residuals; then the best point so far.
D, P, A, C = 0 * L, 1 * L, 2 * L, 3 * L  # trial D, D*, amplitudes of tissue and blood
G11, G12, G22 = 4 * L, 5 * L, 6 * L  # Σ e1 e1, e1 e2, e2 e2
A11, A12, A22 = 7 * L, 8 * L, 9 * L  # the same weighted by b
B11, B12, B22 = 10 * L, 11 * L, 12 * L  # the same weighted by b²
Y1, Y2 = 13 * L, 14 * L  # Σ y e1, y e2
R1, R2, RB1, RB2, RBB1, RBB2 = 15 * L, 16 * L, 17 * L, 18 * L, 19 * L, 20 * L  # Σ r e1, r e2, r b e1, ... r b² e2
RR = 21 * L  # Σ r²
M11, M12, M22 = 22 * L, 23 * L, 24 * L  # inverse Gram matrix of the free amplitudes
BD, BP, BA, BC, BRR = 25 * L, 26 * L, 27 * L, 28 * L, 29 * L  # best D, D*, amplitudes, Σ r²
GD, GP, HDD, HDP, HPP, SD, SP = 30 * L, 31 * L, 32 * L, 33 * L, 34 * L, 35 * L, 36 * L  # gradient, Hessian, scales
LAMBDA, COUNT, DONE, YY = 37 * L, 38 * L, 39 * L, 40 * L
ROWS = 41


@njit(**LANE_JIT)
def add_products(sums, y, e1, e2, b):
    """The sums G11 .. B22, Y1, Y2 with one b-value more."""
    g11, g12, g22, a11, a12, a22, b11, b12, b22, y1, y2 = sums
    p11, p12, p22, bb = e1 * e1, e1 * e2, e2 * e2, b * b
    return (
        g11 + p11, g12 + p12, g22 + p22, a11 + b * p11, a12 + b * p12, a22 + b * p22,
        b11 + bb * p11, b12 + bb * p12, b22 + bb * p22, y1 + y * e1, y2 + y * e2,
    )  # fmt: skip


@njit(**LANE_JIT)
def add_residual(sums, a, c, y, e1, e2, b):
    """The sums R1 .. RBB2, RR with one b-value more."""
    s1, s2, sb1, sb2, sbb1, sbb2, rr = sums
    r = y - a * e1 - c * e2
    r1, r2 = r * e1, r * e2
    rb1, rb2 = r1 * b, r2 * b
    return s1 + r1, s2 + r2, sb1 + rb1, sb2 + rb2, sbb1 + rb1 * b, sbb2 + rb2 * b, rr + r * r


@njit(**LANE_JIT)
def exponentials(w, t, b):
    """e1 and e2 at the trial point into `w`, and every sum over b that does not need the amplitudes."""
    for k in range(G11, R1):
        t[k] = ZERO
    for i in range(len(b)):
        row = w[i]
        bi = b[i]
        for l in range(L):
            e1 = exp32(-bi * t[D + l])
            e2 = exp32(-bi * t[P + l])
            row[L + l] = e1
            row[2 * L + l] = e2
            sums = (
                t[G11 + l], t[G12 + l], t[G22 + l], t[A11 + l], t[A12 + l], t[A22 + l],
                t[B11 + l], t[B12 + l], t[B22 + l], t[Y1 + l], t[Y2 + l],
            )  # fmt: skip
            (
                t[G11 + l], t[G12 + l], t[G22 + l], t[A11 + l], t[A12 + l], t[A22 + l],
                t[B11 + l], t[B12 + l], t[B22 + l], t[Y1 + l], t[Y2 + l],
            ) = add_products(sums, row[l], e1, e2, bi)  # fmt: skip


@njit(**LANE_JIT)
def edge(g11, g12, g22, y1, y2, f):
    """On the edge of the cone where the fraction is `f`: (decrease of ½ Σ r², amplitude S0 >= 0, 1 / |column|²)."""
    u = ONE - f
    inverse = ONE / max(u * u * g11 + ONE * (u * f + u * f) * g12 + f * f * g22, TINY)
    projection = max(u * y1 + f * y2, ZERO)
    return projection * projection * inverse, projection * inverse, inverse


@njit(**LANE_JIT)
def best_amplitudes(g11, g12, g22, y1, y2, f_low, f_high):
    """Best amplitudes a, c in the cone f_low <= f <= f_high, and m11, m12, m22: the inverse Gram matrix of the free ones."""
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
    return a, c, m11, m12, m22


@njit(**LANE_JIT)
def best_fraction(g11, g12, g22, y1, y2, s, f_low, f_high):
    """`best_amplitudes` where a + c = s is known: the best fraction in f_low..f_high, and M along the direction (-1, 1)."""
    column = max(g11 - g12 - g12 + g22, FLOOR * (g11 + g22))
    c = (y2 - y1 - s * (g12 - g11)) / column
    inside = (c > f_low * s) & (c < f_high * s)
    c = min(max(c, f_low * s), f_high * s)
    m = ONE / column if inside else ZERO
    return s - c, c, m, -m, m


@njit(**LANE_JIT)
def amplitudes(t, f_low, f_high):
    """`best_amplitudes` of all lanes."""
    for l in range(L):
        g11, g12, g22, y1, y2 = t[G11 + l], t[G12 + l], t[G22 + l], t[Y1 + l], t[Y2 + l]
        t[A + l], t[C + l], t[M11 + l], t[M12 + l], t[M22 + l] = best_amplitudes(g11, g12, g22, y1, y2, f_low, f_high)


@njit(**LANE_JIT)
def amplitudes_known_s0(t, s0, f_low, f_high):
    """`best_fraction` of all lanes; s0 (LANES,)."""
    for l in range(L):
        g11, g12, g22, y1, y2 = t[G11 + l], t[G12 + l], t[G22 + l], t[Y1 + l], t[Y2 + l]
        t[A + l], t[C + l], t[M11 + l], t[M12 + l], t[M22 + l] = best_fraction(
            g11, g12, g22, y1, y2, s0[l], f_low, f_high
        )


@njit(**LANE_JIT)
def residuals(w, t, b):
    """Sums over b of the residuals at the trial point, from the residuals themselves: no cancellation."""
    for k in range(R1, M11):
        t[k] = ZERO
    for i in range(len(b)):
        row = w[i]
        bi = b[i]
        for l in range(L):
            sums = (t[R1 + l], t[R2 + l], t[RB1 + l], t[RB2 + l], t[RBB1 + l], t[RBB2 + l], t[RR + l])
            t[R1 + l], t[R2 + l], t[RB1 + l], t[RB2 + l], t[RBB1 + l], t[RBB2 + l], t[RR + l] = add_residual(
                sums, t[A + l], t[C + l], row[l], row[L + l], row[2 * L + l], bi
            )


@njit(**LANE_JIT)
def slopes(p, amplitude, m, weighted, residual):
    """Gradient and Hessian of ½ Σ r² in (D, log D*) with the amplitudes projected out, at a point with D* = p.

    amplitude: (a, c); m: (m11, m12, m22); weighted: the six sums A11 .. B22; residual: the six sums R1 .. RBB2.
    Returns gd, gp, hdd, hdp, hpp, the Gauss-Newton diagonal sd, sp, and a, c corrected for what rounding left.
    """
    a, c = amplitude
    m11, m12, m22 = m
    a11, a12, a22, b11, b12, b22 = weighted
    r1, r2, rb1, rb2, rbb1, rbb2 = residual
    rb2 = p * rb2
    # mixed derivatives of ½ Σ r² along (a, c) and D, (a, c) and log D*
    had, hcd = rb1 - a * a11, -a * a12
    hap, hcp = -c * p * a12, rb2 - c * p * a22
    # rounding leaves the amplitudes slightly off: r1, r2 tell how much, and M takes it into the gradient
    gd = a * rb1 + bilinear2(had, hcd, m11, m12, m22, r1, r2)
    gp = c * rb2 + bilinear2(hap, hcp, m11, m12, m22, r1, r2)
    sd = a * a * b11
    sp = c * c * p * p * b22
    hdd = sd - a * rbb1 - bilinear2(had, hcd, m11, m12, m22, had, hcd)
    hpp = sp + c * rb2 - c * p * p * rbb2 - bilinear2(hap, hcp, m11, m12, m22, hap, hcp)
    hdp = a * c * p * b12 - bilinear2(had, hcd, m11, m12, m22, hap, hcp)
    return gd, gp, hdd, hdp, hpp, max(sd, TINY), max(sp, TINY), a + m11 * r1 + m12 * r2, c + m12 * r1 + m22 * r2


@njit(**LANE_JIT)
def damping(factor, better):
    """The next damping factor: less after a better point (0 when small), more after a worse one."""
    grown = max(factor * np.float32(8.0), np.float32(1e-2))
    shrunk = factor * np.float32(0.1)
    shrunk = shrunk if shrunk > np.float32(1e-4) else ZERO
    return shrunk if better else grown


@njit(**LANE_JIT)
def judge(t):
    """Keep the trial point where it is no worse than the best, with its gradient and Hessian in (D, log D*)."""
    for l in range(L):
        p = t[P + l]
        m = (t[M11 + l], t[M12 + l], t[M22 + l])
        weighted = (t[A11 + l], t[A12 + l], t[A22 + l], t[B11 + l], t[B12 + l], t[B22 + l])
        residual = (t[R1 + l], t[R2 + l], t[RB1 + l], t[RB2 + l], t[RBB1 + l], t[RBB2 + l])
        gd, gp, hdd, hdp, hpp, sd, sp, a, c = slopes(p, (t[A + l], t[C + l]), m, weighted, residual)
        better = t[RR + l] <= t[BRR + l]
        t[BRR + l] = t[RR + l] if better else t[BRR + l]
        t[BD + l] = t[D + l] if better else t[BD + l]
        t[BP + l] = p if better else t[BP + l]
        t[BA + l] = a if better else t[BA + l]
        t[BC + l] = c if better else t[BC + l]
        t[GD + l] = gd if better else t[GD + l]
        t[GP + l] = gp if better else t[GP + l]
        t[HDD + l] = hdd if better else t[HDD + l]
        t[HDP + l] = hdp if better else t[HDP + l]
        t[HPP + l] = hpp if better else t[HPP + l]
        t[SD + l] = sd if better else t[SD + l]
        t[SP + l] = sp if better else t[SP + l]
        t[LAMBDA + l] = damping(t[LAMBDA + l], better)


@njit(**LANE_JIT)
def newton_step(d, p, slope, factor, least, box):
    """Next trial point (D, D*) by a damped Newton step in the box, and whether it promises no more than `least`.

    slope: gd, gp, hdd, hdp, hpp, sd, sp of `slopes` at the best point (d, p); factor: damping; box: bounds of D and D*.
    The Hessian is scaled by the Gauss-Newton diagonal; where it is indefinite, its eigenvalues are shifted to be
    positive. A variable at its bound with the gradient pointing outwards is held.
    """
    gd, gp, hdd, hdp, hpp, sd, sp = slope
    d_low, d_high, p_low, p_high = box
    hold_d = ((d <= d_low) & (gd >= ZERO)) | ((d >= d_high) & (gd <= ZERO))
    hold_p = ((p <= p_low) & (gp >= ZERO)) | ((p >= p_high) & (gp <= ZERO))
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
    new_d = min(max(d + step_d * id_, d_low), d_high)
    new_p = min(max(p * exp32(min(max(step_p * ip, -ONE), ONE)), p_low), p_high)
    promised = -(gd * step_d + gp * step_p) - HALF * (hdd * step_d * step_d + hpp * step_p * step_p)
    promised -= hdp * step_d * step_p
    return new_d, new_p, (promised <= least) | ((new_d == d) & (new_p == p))


@njit(**LANE_JIT)
def negligible(tolerance, squares, total):
    """The promise [½ Σ r²] that is too small to go on for: Σ r² = `squares`, Σ y² = `total`."""
    return max(tolerance * squares, np.float32(1e-13) * total)


@njit(**LANE_JIT)
def step(t, d_low, d_high, p_low, p_high, tolerance):
    """`newton_step` of all lanes; DONE where it promises too little."""
    for l in range(L):
        slope = (t[GD + l], t[GP + l], t[HDD + l], t[HDP + l], t[HPP + l], t[SD + l], t[SP + l])
        least = negligible(tolerance, t[BRR + l], t[YY + l])
        box = (d_low, d_high, p_low, p_high)
        t[D + l], t[P + l], done = newton_step(t[BD + l], t[BP + l], slope, t[LAMBDA + l], least, box)
        t[DONE + l] = ONE if done else ZERO
        t[COUNT + l] += ONE
