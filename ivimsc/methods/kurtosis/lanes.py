"""One round of the search for D, K and D*, for 16 voxels side by side: `one_round`.

The model is a e1 + c e2 with e1 = exp(-b D + b² q), q = D² K / 6, and e2 = exp(-b D*). Slopes and curvatures of Σ r² follow
from moments: sums over b of bⁿ times e1 e1, e1 e2, e2 e2, r e1 and r e2. The first unknown is D, the second K, the third
log D*. K is at most turn / D, so that the exponent does not turn up within the b-values. Where K is held there, q = D turn / 6,
and D moves along that edge.
"""

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.newton3 import Slopes3, newton3
from ivimsc.numerics.search3 import SEARCHED, keep_better
from ivimsc.numerics.small_matrices import bilinear2
from ivimsc.numerics.variable_projection import best_amplitudes, damping, negligible

__all__ = ["KURTOSIS_LANES", "one_round"]

L = LANES
ZERO, ONE, TINY = np.float32(0.0), np.float32(1.0), np.float32(1e-30)
SIXTH, THIRD = np.float32(1 / 6), np.float32(1 / 3)
AT_EDGE = np.float32(1 - 1e-5)

MOMENTS = (
    *(f"a{n}" for n in "01234"),
    *(f"c{n}" for n in "0123"),
    *(f"b{n}" for n in "012"),
    *(f"r{n}" for n in "01234"),
    *(f"s{n}" for n in "012"),
    *("y1", "y2", "m11", "m12", "m22"),
)
KURTOSIS_LANES = np.dtype([(name, np.float32, (LANES,)) for name in (*SEARCHED, *(f"_{name}" for name in MOMENTS))])


@njit(**LANE_JIT)
def _moments(w, t, b, root):
    """The exponentials at the trial point, into w behind the signal, and their moments."""
    d, k, p = t.x1, t.x2, t.x3
    a0, a1, a2, a3, a4 = t._a0, t._a1, t._a2, t._a3, t._a4
    c0, c1, c2, c3, b0, b1, b2, y1, y2 = t._c0, t._c1, t._c2, t._c3, t._b0, t._b1, t._b2, t._y1, t._y2
    for l in range(L):
        a0[l], a1[l], a2[l], a3[l], a4[l], y1[l], y2[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        c0[l], c1[l], c2[l], c3[l], b0[l], b1[l], b2[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(len(b)):
        row, bi, weight = w[i], b[i], root[i]
        bb = bi * bi
        for l in range(L):
            e1 = weight * exp32(bi * d[l] * (bi * d[l] * k[l] * SIXTH - ONE))
            e2 = weight * exp32(-bi * p[l])
            row[L + l], row[2 * L + l] = e1, e2
            one, mixed, two = e1 * e1, e1 * e2, e2 * e2
            a0[l] += one
            a1[l] += bi * one
            a2[l] += bb * one
            a3[l] += bb * bi * one
            a4[l] += bb * bb * one
            c0[l] += mixed
            c1[l] += bi * mixed
            c2[l] += bb * mixed
            c3[l] += bb * bi * mixed
            b0[l] += two
            b1[l] += bi * two
            b2[l] += bb * two
            y1[l] += row[l] * e1
            y2[l] += row[l] * e2


@njit(**LANE_JIT)
def _residuals(w, t, b, box):
    """The best amplitudes at the trial point, and the moments of the residuals."""
    a, c = t.a1, t.a2
    r0, r1, r2, r3, r4, s0, s1, s2, rr = t._r0, t._r1, t._r2, t._r3, t._r4, t._s0, t._s1, t._s2, t.rr
    for l in range(L):
        found = best_amplitudes(t._a0[l], t._c0[l], t._b0[l], t._y1[l], t._y2[l], box.f_low, box.f_high)
        a[l], c[l], t._m11[l], t._m12[l], t._m22[l] = found
        r0[l], r1[l], r2[l], r3[l], r4[l], s0[l], s1[l], s2[l], rr[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO  # fmt: skip
    for i in range(len(b)):
        row, bi = w[i], b[i]
        bb = bi * bi
        for l in range(L):
            r = row[l] - a[l] * row[L + l] - c[l] * row[2 * L + l]
            re1, re2 = r * row[L + l], r * row[2 * L + l]
            r0[l] += re1
            r1[l] += bi * re1
            r2[l] += bb * re1
            r3[l] += bb * bi * re1
            r4[l] += bb * bb * re1
            s0[l] += re2
            s1[l] += bi * re2
            s2[l] += bb * re2
            rr[l] += r * r


@njit(**LANE_JIT)
def _slopes(t, l, box, k_low, k_high, turn):
    """The `Slopes3` of lane `l` with the amplitudes projected out, and whether K is held at turn / D."""
    d, k, p, a, c = t.x1[l], t.x2[l], t.x3[l], t.a1[l], t.a2[l]
    m11, m12, m22 = t._m11[l], t._m12[l], t._m22[l]
    r0, r1, r2, r3, r4, s0, s1, s2 = t._r0[l], t._r1[l], t._r2[l], t._r3[l], t._r4[l], t._s0[l], t._s1[l], t._s2[l]
    a1, a2, a3, a4, c1, c2, c3 = t._a1[l], t._a2[l], t._a3[l], t._a4[l], t._c1[l], t._c2[l], t._c3[l]
    # along K, which tells whether K is held at the edge
    qk = d * d * SIXTH
    ak, ck = a * qk * a2 - qk * r2, a * qk * c2  # mixed derivatives with the amplitudes
    gk = -a * qk * r2 + bilinear2(ak, ck, m11, m12, m22, r0, s0)
    held = (k * d >= turn * AT_EDGE) & (k < k_high) & (gk <= ZERO)
    qd, qdd, qdk = (turn * SIXTH if held else d * k * THIRD), (ZERO if held else k * THIRD), d * THIRD
    rd = qd * r2 - r1  # Σ r ∂e1/∂D
    ad, cd = a * (qd * a2 - a1) - rd, a * (qd * c2 - c1)
    ap, cp = -c * p * c1, p * s1 - c * p * t._b1[l]
    gd = -a * rd + bilinear2(ad, cd, m11, m12, m22, r0, s0)
    gp = c * p * s1 + bilinear2(ap, cp, m11, m12, m22, r0, s0)
    sd = a * a * (a2 - (qd + qd) * a3 + qd * qd * a4)
    sk = a * a * qk * qk * a4
    sp = c * c * p * p * t._b2[l]
    hdd = sd - a * (r2 - (qd + qd) * r3 + qd * qd * r4 + qdd * r2) - bilinear2(ad, cd, m11, m12, m22, ad, cd)
    hdk = a * a * qk * (qd * a4 - a3) - a * (qk * (qd * r4 - r3) + qdk * r2) - bilinear2(ad, cd, m11, m12, m22, ak, ck)
    hkk = sk - a * qk * qk * r4 - bilinear2(ak, ck, m11, m12, m22, ak, ck)
    hdp = a * c * p * (c2 - qd * c3) - bilinear2(ad, cd, m11, m12, m22, ap, cp)
    hkp = -a * c * p * qk * c3 - bilinear2(ak, ck, m11, m12, m22, ap, cp)
    hpp = sp + c * p * s1 - c * p * p * s2 - bilinear2(ap, cp, m11, m12, m22, ap, cp)
    slope = Slopes3(gd, gk, gp, hdd, hdk, hdp, hkk, hkp, hpp, max(sd, TINY), max(sk, TINY), max(sp, TINY))
    return slope, held


@njit(**LANE_JIT)
def _judge(t, box, k_low, k_high, turn):
    """Keep the trial points that are no worse than the best ones, with their slopes and corrected amplitudes."""
    for l in range(L):
        slope, held = _slopes(t, l, box, k_low, k_high, turn)
        t.held[l] = ONE if held else ZERO
        a = t.a1[l] + t._m11[l] * t._r0[l] + t._m12[l] * t._s0[l]  # rounding leaves them slightly off
        t.a2[l] += t._m12[l] * t._r0[l] + t._m22[l] * t._s0[l]
        t.a1[l] = a
        better = t.rr[l] <= t.best_rr[l]
        t.factor[l] = damping(t.factor[l], better)
        keep_better(t, l, slope, better)


@njit(**LANE_JIT)
def _step(t, box, k_low, k_high, turn):
    """The next trial points, in the bounds; `done` where a step promises too little."""
    for l in range(L):
        slope = Slopes3(t.g1[l], t.g2[l], t.g3[l], t.h11[l], t.h12[l], t.h13[l], t.h22[l], t.h23[l], t.h33[l],
                        t.s1[l], t.s2[l], t.s3[l])  # fmt: skip
        d, k, p, held = t.best_x1[l], t.best_x2[l], t.best_x3[l], t.best_held[l] > ZERO
        hold1 = ((d <= box.d_low) & (slope.g1 >= ZERO)) | ((d >= box.d_high) & (slope.g1 <= ZERO))
        hold2 = held | ((k <= k_low) & (slope.g2 >= ZERO)) | ((k >= k_high) & (slope.g2 <= ZERO))
        hold3 = ((p <= box.p_low) & (slope.g3 >= ZERO)) | ((p >= box.p_high) & (slope.g3 <= ZERO))
        step1, step2, step3, promised = newton3(slope, hold1, hold2, hold3, t.factor[l])
        new_d = min(max(d + step1, box.d_low), box.d_high)
        most = min(k_high, turn / max(new_d, TINY))
        new_k = most if held else min(max(k + min(max(step2, -ONE), ONE), k_low), most)
        new_p = min(max(p * exp32(min(max(step3, -ONE), ONE)), box.p_low), box.p_high)
        still = (new_d == d) & (new_k == k) & (new_p == p)
        least = negligible(t.best_rr[l], t.total[l])
        t.x1[l], t.x2[l], t.x3[l] = new_d, new_k, new_p
        t.done[l] = ONE if (promised <= least) | still else ZERO
        t.steps[l] += ONE


@njit(**LANE_JIT)
def one_round(w, lanes, problem):
    """One round of `numerics.search3`; w (b, 3 · LANES) holds the signals, and receives e1 and e2 behind them."""
    t, box, k_low, k_high, turn = lanes[0], problem.box, problem.k_low, problem.k_high, problem.turn
    _moments(w, t, problem.b, problem.root)
    _residuals(w, t, problem.b, box)
    _judge(t, box, k_low, k_high, turn)
    _step(t, box, k_low, k_high, turn)
