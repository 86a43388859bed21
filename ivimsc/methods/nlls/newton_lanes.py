"""The Newton steps of `variable_projection` for 16 voxels side by side, one per lane of a vector register.

One round of the search is five calls: `exponentials`, `amplitudes`, `residuals`, `judge`, `step`. Each of them is a few
loops over lanes, which LLVM turns into vector instructions. What a search remembers between them lies in one record,
`SEARCH_LANES`, where every quantity has a name and 16 numbers. In one record LLVM knows that the names do not overlap;
with an array for each it would have to test that, and would not vectorise.
"""

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.variable_projection import (
    Amplitudes,
    Products,
    Residuals,
    Slopes,
    add_products,
    add_residual,
    best_amplitudes,
    best_fraction,
    corrected,
    damping,
    negligible,
    newton_step,
    slopes,
)

__all__ = ["SEARCH_LANES", "amplitudes", "begin", "exponentials", "judge", "residuals", "step"]

L = LANES
ZERO, ONE, INFINITE = np.float32(0.0), np.float32(1.0), np.float32(np.inf)

SEARCH_LANES = np.dtype(
    [
        (name, np.float32, (LANES,))
        for name in (
            *("total", "s0"),  # of the voxel in this lane: Σ y², and S0 where it is known, both of the scaled signal
            *("d", "p", *Products._fields, *Amplitudes._fields, *Residuals._fields),  # at the trial point
            *("best_d", "best_p", "best_a", "best_c", "best_rr", *Slopes._fields),  # at the best point so far
            *("factor", "steps", "done"),  # damping; steps taken; 1 where the search has ended, else 0
        )
    ]
)


@njit(**LANE_JIT)
def begin(lanes, lane, d, p):
    """Start a search at (D, D*) in `lane`."""
    t = lanes[0]
    t.d[lane], t.p[lane] = d, p
    t.best_rr[lane], t.factor[lane], t.steps[lane], t.done[lane] = INFINITE, ZERO, ZERO, ZERO


@njit(**LANE_JIT)
def exponentials(w, lanes, b, root):
    """The exponentials at the trial point, and the sums `Products`.

    w (b, 3 · LANES) holds the signal, and receives e1 and e2 behind it; all three are times root (b,).
    """
    t = lanes[0]
    d, p = t.d, t.p
    g11, g12, g22, a11, a12, a22, b11, b12, b22 = t.g11, t.g12, t.g22, t.a11, t.a12, t.a22, t.b11, t.b12, t.b22
    y1, y2 = t.y1, t.y2
    for l in range(L):
        g11[l], g12[l], g22[l], y1[l], y2[l] = ZERO, ZERO, ZERO, ZERO, ZERO
        a11[l], a12[l], a22[l], b11[l], b12[l], b22[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(len(b)):
        row = w[i]
        bi, weight = b[i], root[i]
        for l in range(L):
            e1 = weight * exp32(-bi * d[l])
            e2 = weight * exp32(-bi * p[l])
            row[L + l] = e1
            row[2 * L + l] = e2
            sums = Products(
                g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l], y1[l], y2[l]
            )  # fmt: skip
            (
                g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l], y1[l], y2[l]
            ) = add_products(sums, row[l], e1, e2, bi)  # fmt: skip


@njit(**LANE_JIT)
def amplitudes(lanes, known_s0, box):
    """The best `Amplitudes` at the trial point; on the line a + c = S0 where S0 is known."""
    t = lanes[0]
    g11, g12, g22, y1, y2, s0 = t.g11, t.g12, t.g22, t.y1, t.y2, t.s0
    a, c, m11, m12, m22 = t.a, t.c, t.m11, t.m12, t.m22
    if known_s0:
        for l in range(L):
            a[l], c[l], m11[l], m12[l], m22[l] = best_fraction(
                g11[l], g12[l], g22[l], y1[l], y2[l], s0[l], box.f_low, box.f_high
            )
    else:
        for l in range(L):
            a[l], c[l], m11[l], m12[l], m22[l] = best_amplitudes(
                g11[l], g12[l], g22[l], y1[l], y2[l], box.f_low, box.f_high
            )


@njit(**LANE_JIT)
def residuals(w, lanes, b):
    """The sums `Residuals` at the trial point."""
    t = lanes[0]
    a, c = t.a, t.c
    r1, r2, rb1, rb2, rbb1, rbb2, rr = t.r1, t.r2, t.rb1, t.rb2, t.rbb1, t.rbb2, t.rr
    for l in range(L):
        r1[l], r2[l], rb1[l], rb2[l], rbb1[l], rbb2[l], rr[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(len(b)):
        row = w[i]
        bi = b[i]
        for l in range(L):
            sums = Residuals(r1[l], r2[l], rb1[l], rb2[l], rbb1[l], rbb2[l], rr[l])
            r1[l], r2[l], rb1[l], rb2[l], rbb1[l], rbb2[l], rr[l] = add_residual(
                sums, a[l], c[l], row[l], row[L + l], row[2 * L + l], bi
            )


@njit(**LANE_JIT)
def judge(lanes):
    """Keep the trial point where it is no worse than the best one, with its slopes; damp the next step accordingly."""
    t = lanes[0]
    d, p, rr, factor = t.d, t.p, t.rr, t.factor
    best_d, best_p, best_a, best_c, best_rr = t.best_d, t.best_p, t.best_a, t.best_c, t.best_rr
    gd, gp, hdd, hdp, hpp, sd, sp = t.gd, t.gp, t.hdd, t.hdp, t.hpp, t.sd, t.sp
    for l in range(L):
        found = Amplitudes(t.a[l], t.c[l], t.m11[l], t.m12[l], t.m22[l])
        products = Products(
            t.g11[l], t.g12[l], t.g22[l], t.a11[l], t.a12[l], t.a22[l], t.b11[l], t.b12[l], t.b22[l], t.y1[l], t.y2[l]
        )
        left = Residuals(t.r1[l], t.r2[l], t.rb1[l], t.rb2[l], t.rbb1[l], t.rbb2[l], rr[l])
        slope = slopes(p[l], found, products, left)
        a, c = corrected(found, left)
        better = rr[l] <= best_rr[l]
        best_rr[l] = rr[l] if better else best_rr[l]
        best_d[l] = d[l] if better else best_d[l]
        best_p[l] = p[l] if better else best_p[l]
        best_a[l] = a if better else best_a[l]
        best_c[l] = c if better else best_c[l]
        gd[l] = slope.gd if better else gd[l]
        gp[l] = slope.gp if better else gp[l]
        hdd[l] = slope.hdd if better else hdd[l]
        hdp[l] = slope.hdp if better else hdp[l]
        hpp[l] = slope.hpp if better else hpp[l]
        sd[l] = slope.sd if better else sd[l]
        sp[l] = slope.sp if better else sp[l]
        factor[l] = damping(factor[l], better)


@njit(**LANE_JIT)
def step(lanes, box):
    """The next trial point by `newton_step` from the best one; `done` where it promises too little."""
    t = lanes[0]
    for l in range(L):
        slope = Slopes(t.gd[l], t.gp[l], t.hdd[l], t.hdp[l], t.hpp[l], t.sd[l], t.sp[l])
        least = negligible(t.best_rr[l], t.total[l])
        t.d[l], t.p[l], done = newton_step(t.best_d[l], t.best_p[l], slope, t.factor[l], least, box)
        t.done[l] = ONE if done else ZERO
        t.steps[l] += ONE
