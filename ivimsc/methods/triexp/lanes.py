"""One round of the search for D, D* and D*2, for 16 voxels side by side: `one_round`.

The model is a1 e1 + a2 e2 + a3 e3 with e1 = exp(-b D) and so on. The best amplitudes >= 0 at a point are a linear problem: all three
columns where their amplitudes are positive, else the best two. Slopes and curvatures of Σ r² follow from sums over b.
The unknowns are D, log D* and log D*2.
"""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.newton3 import Slopes3, newton3
from ivimsc.numerics.search3 import SEARCHED, keep_better
from ivimsc.numerics.variable_projection import best_amplitudes, damping, negligible

__all__ = ["TRIEXP_LANES", "one_round"]

L = LANES
ZERO, ONE, TINY = np.float32(0.0), np.float32(1.0), np.float32(1e-30)
FLOOR = np.float32(1e-5)  # determinant of the cosines below which float32 has too few digits of the three amplitudes

PAIRS = ("11", "12", "13", "22", "23", "33")
SUMS = (*(f"{name}{pair}" for name in "gabm" for pair in PAIRS), *(f"{name}{i}" for name in ("y", "r", "rb", "rbb") for i in "123"))  # fmt: skip
TRIEXP_LANES = np.dtype([(name, np.float32, (LANES,)) for name in (*SEARCHED, *(f"_{name}" for name in SUMS))])


@njit(**LANE_JIT)
def _quadratic(x, m, y):
    """xᵀ M y for a symmetric M of three rows."""
    x1, x2, x3 = x
    m11, m12, m13, m22, m23, m33 = m
    y1, y2, y3 = y
    return (
        x1 * (m11 * y1 + m12 * y2 + m13 * y3)
        + x2 * (m12 * y1 + m22 * y2 + m23 * y3)
        + x3 * (m13 * y1 + m23 * y2 + m33 * y3)
    )


@njit(**LANE_JIT)
def _exponentials(w, t, b, root):
    """The exponentials at the trial point, into w behind the signal, and the sums that need no amplitudes."""
    d, p, g = t.x1, t.x2, t.x3
    g11, g12, g13, g22, g23, g33 = t._g11, t._g12, t._g13, t._g22, t._g23, t._g33
    a11, a12, a13, a22, a23, a33 = t._a11, t._a12, t._a13, t._a22, t._a23, t._a33
    b11, b12, b13, b22, b23, b33 = t._b11, t._b12, t._b13, t._b22, t._b23, t._b33
    y1, y2, y3 = t._y1, t._y2, t._y3
    for l in range(L):
        g11[l], g12[l], g13[l], g22[l], g23[l], g33[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        a11[l], a12[l], a13[l], a22[l], a23[l], a33[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        b11[l], b12[l], b13[l], b22[l], b23[l], b33[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        y1[l], y2[l], y3[l] = ZERO, ZERO, ZERO
    for i in range(len(b)):
        row, bi, weight = w[i], b[i], root[i]
        bb = bi * bi
        for l in range(L):
            e1, e2, e3 = weight * exp32(-bi * d[l]), weight * exp32(-bi * p[l]), weight * exp32(-bi * g[l])
            row[L + l], row[2 * L + l], row[3 * L + l] = e1, e2, e3
            p11, p12, p13, p22, p23, p33 = e1 * e1, e1 * e2, e1 * e3, e2 * e2, e2 * e3, e3 * e3
            g11[l] += p11
            g12[l] += p12
            g13[l] += p13
            g22[l] += p22
            g23[l] += p23
            g33[l] += p33
            a11[l] += bi * p11
            a12[l] += bi * p12
            a13[l] += bi * p13
            a22[l] += bi * p22
            a23[l] += bi * p23
            a33[l] += bi * p33
            b11[l] += bb * p11
            b12[l] += bb * p12
            b13[l] += bb * p13
            b22[l] += bb * p22
            b23[l] += bb * p23
            b33[l] += bb * p33
            y1[l] += row[l] * e1
            y2[l] += row[l] * e2
            y3[l] += row[l] * e3


@njit(**LANE_JIT)
def _best_three(g, y):
    """Amplitudes of all three columns and the inverse of their Gram matrix, and whether these can be had."""
    g11, g12, g13, g22, g23, g33 = g
    y1, y2, y3 = y
    i1, i2, i3 = ONE / math.sqrt(max(g11, TINY)), ONE / math.sqrt(max(g22, TINY)), ONE / math.sqrt(max(g33, TINY))
    r12, r13, r23 = g12 * i1 * i2, g13 * i1 * i3, g23 * i2 * i3
    determinant = ONE - r12 * r12 - r13 * r13 - r23 * r23 + (r12 + r12) * r13 * r23
    inverse = ONE / max(determinant, FLOOR)
    m11, m22, m33 = (ONE - r23 * r23) * inverse * i1 * i1, (ONE - r13 * r13) * inverse * i2 * i2, (ONE - r12 * r12) * inverse * i3 * i3  # fmt: skip
    m12, m13, m23 = (r13 * r23 - r12) * inverse * i1 * i2, (r12 * r23 - r13) * inverse * i1 * i3, (r12 * r13 - r23) * inverse * i2 * i3  # fmt: skip
    a1, a2, a3 = m11 * y1 + m12 * y2 + m13 * y3, m12 * y1 + m22 * y2 + m23 * y3, m13 * y1 + m23 * y2 + m33 * y3
    good = (determinant > FLOOR) & (a1 > ZERO) & (a2 > ZERO) & (a3 > ZERO)
    return (a1, a2, a3), (m11, m12, m13, m22, m23, m33), good


@njit(**LANE_JIT)
def _amplitudes(t):
    """The best amplitudes >= 0 at the trial point, and the inverse Gram matrix of the columns that are free to move."""
    for l in range(L):
        g11, g12, g13, g22, g23, g33 = t._g11[l], t._g12[l], t._g13[l], t._g22[l], t._g23[l], t._g33[l]
        y1, y2, y3 = t._y1[l], t._y2[l], t._y3[l]
        (a1, a2, a3), (m11, m12, m13, m22, m23, m33), good = _best_three((g11, g12, g13, g22, g23, g33), (y1, y2, y3))
        one = best_amplitudes(g11, g12, g22, y1, y2, ZERO, ONE)  # without the fast pool
        two = best_amplitudes(g11, g13, g33, y1, y3, ZERO, ONE)  # without the middle one
        three = best_amplitudes(g22, g23, g33, y2, y3, ZERO, ONE)  # without the slow one
        gain1, gain2, gain3 = one.a * y1 + one.c * y2, two.a * y1 + two.c * y3, three.a * y2 + three.c * y3
        first = (gain1 >= gain2) & (gain1 >= gain3)
        second = (gain2 >= gain3) & (gain2 > gain1)
        # one choice after the other: nested ones would become branches, which keep the loop from becoming vector instructions
        b1, b2, b3 = (two.a if second else ZERO), (ZERO if second else three.a), (two.c if second else three.c)
        n11, n12, n13 = (two.m11 if second else ZERO), ZERO, (two.m12 if second else ZERO)
        n22, n23, n33 = (
            (ZERO if second else three.m11),
            (ZERO if second else three.m12),
            (two.m22 if second else three.m22),
        )
        b1, b2, b3 = (one.a if first else b1), (one.c if first else b2), (ZERO if first else b3)
        n11, n12, n13 = (one.m11 if first else n11), (one.m12 if first else n12), (ZERO if first else n13)
        n22, n23, n33 = (one.m22 if first else n22), (ZERO if first else n23), (ZERO if first else n33)
        t.a1[l], t.a2[l], t.a3[l] = (a1 if good else b1), (a2 if good else b2), (a3 if good else b3)
        t._m11[l], t._m12[l], t._m13[l] = (m11 if good else n11), (m12 if good else n12), (m13 if good else n13)
        t._m22[l], t._m23[l], t._m33[l] = (m22 if good else n22), (m23 if good else n23), (m33 if good else n33)


@njit(**LANE_JIT)
def _residuals(w, t, b):
    """The sums of the residuals at the trial point."""
    a1, a2, a3, rr = t.a1, t.a2, t.a3, t.rr
    r1, r2, r3, rb1, rb2, rb3 = t._r1, t._r2, t._r3, t._rb1, t._rb2, t._rb3
    rbb1, rbb2, rbb3 = t._rbb1, t._rbb2, t._rbb3
    for l in range(L):
        r1[l], r2[l], r3[l], rb1[l], rb2[l], rb3[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        rbb1[l], rbb2[l], rbb3[l], rr[l] = ZERO, ZERO, ZERO, ZERO
    for i in range(len(b)):
        row, bi = w[i], b[i]
        for l in range(L):
            e1, e2, e3 = row[L + l], row[2 * L + l], row[3 * L + l]
            r = row[l] - a1[l] * e1 - a2[l] * e2 - a3[l] * e3
            u1, u2, u3 = r * e1, r * e2, r * e3
            r1[l] += u1
            r2[l] += u2
            r3[l] += u3
            rb1[l] += bi * u1
            rb2[l] += bi * u2
            rb3[l] += bi * u3
            rbb1[l] += bi * bi * u1
            rbb2[l] += bi * bi * u2
            rbb3[l] += bi * bi * u3
            rr[l] += r * r


@njit(**LANE_JIT)
def _slopes(t, l):
    """The `Slopes3` of lane `l`, the amplitudes projected out; and the amplitudes, corrected for what rounding left."""
    p, q = t.x2[l], t.x3[l]  # slopes along log D* and log D*2 are D* and D*2 times those along D* and D*2
    a1, a2, a3 = t.a1[l], t.a2[l] * p, t.a3[l] * q
    m = (t._m11[l], t._m12[l], t._m13[l], t._m22[l], t._m23[l], t._m33[l])
    left = (t._r1[l], t._r2[l], t._r3[l])
    rb1, rb2, rb3 = t._rb1[l], p * t._rb2[l], q * t._rb3[l]
    mixed1 = (rb1 - a1 * t._a11[l], -a1 * t._a12[l], -a1 * t._a13[l])
    mixed2 = (-a2 * t._a12[l], rb2 - a2 * t._a22[l], -a2 * t._a23[l])
    mixed3 = (-a3 * t._a13[l], -a3 * t._a23[l], rb3 - a3 * t._a33[l])
    s1, s2, s3 = a1 * a1 * t._b11[l], a2 * a2 * t._b22[l], a3 * a3 * t._b33[l]
    g2, g3 = t.a2[l] * rb2, t.a3[l] * rb3
    slope = Slopes3(
        a1 * rb1 + _quadratic(mixed1, m, left),
        g2 + _quadratic(mixed2, m, left),
        g3 + _quadratic(mixed3, m, left),
        s1 - a1 * t._rbb1[l] - _quadratic(mixed1, m, mixed1),
        a1 * a2 * t._b12[l] - _quadratic(mixed1, m, mixed2),
        a1 * a3 * t._b13[l] - _quadratic(mixed1, m, mixed3),
        s2 + g2 - a2 * p * t._rbb2[l] - _quadratic(mixed2, m, mixed2),
        a2 * a3 * t._b23[l] - _quadratic(mixed2, m, mixed3),
        s3 + g3 - a3 * q * t._rbb3[l] - _quadratic(mixed3, m, mixed3),
        max(s1, TINY), max(s2, TINY), max(s3, TINY),
    )  # fmt: skip
    r1, r2, r3 = left
    m11, m12, m13, m22, m23, m33 = m
    return slope, m11 * r1 + m12 * r2 + m13 * r3, m12 * r1 + m22 * r2 + m23 * r3, m13 * r1 + m23 * r2 + m33 * r3


@njit(**LANE_JIT)
def _judge(t):
    """Keep the trial points that are no worse than the best ones, with their slopes."""
    for l in range(L):
        slope, more1, more2, more3 = _slopes(t, l)
        t.a1[l] += more1
        t.a2[l] += more2
        t.a3[l] += more3
        better = t.rr[l] <= t.best_rr[l]
        t.factor[l] = damping(t.factor[l], better)
        keep_better(t, l, slope, better)


@njit(**LANE_JIT)
def _step(t, box, g_low, g_high):
    """The next trial points, in the bounds; `done` where a step promises too little."""
    for l in range(L):
        slope = Slopes3(t.g1[l], t.g2[l], t.g3[l], t.h11[l], t.h12[l], t.h13[l], t.h22[l], t.h23[l], t.h33[l],
                        t.s1[l], t.s2[l], t.s3[l])  # fmt: skip
        d, p, g = t.best_x1[l], t.best_x2[l], t.best_x3[l]
        hold1 = ((d <= box.d_low) & (slope.g1 >= ZERO)) | ((d >= box.d_high) & (slope.g1 <= ZERO))
        hold2 = ((p <= box.p_low) & (slope.g2 >= ZERO)) | ((p >= box.p_high) & (slope.g2 <= ZERO))
        hold3 = ((g <= g_low) & (slope.g3 >= ZERO)) | ((g >= g_high) & (slope.g3 <= ZERO))
        step1, step2, step3, promised = newton3(slope, hold1, hold2, hold3, t.factor[l])
        new_d = min(max(d + step1, box.d_low), box.d_high)
        new_p = min(max(p * exp32(min(max(step2, -ONE), ONE)), box.p_low), box.p_high)
        new_g = min(max(g * exp32(min(max(step3, -ONE), ONE)), g_low), g_high)
        still = (new_d == d) & (new_p == p) & (new_g == g)
        least = negligible(t.best_rr[l], t.total[l])
        t.x1[l], t.x2[l], t.x3[l] = new_d, new_p, new_g
        t.done[l] = ONE if (promised <= least) | still else ZERO
        t.steps[l] += ONE


@njit(**LANE_JIT)
def one_round(w, lanes, problem):
    """One round of `numerics.search3`; w (b, 4 · LANES) holds the signals, and receives the exponentials behind them."""
    t = lanes[0]
    _exponentials(w, t, problem.b, problem.root)
    _amplitudes(t)
    _residuals(w, t, problem.b)
    _judge(t)
    _step(t, problem.box, problem.g_low, problem.g_high)
