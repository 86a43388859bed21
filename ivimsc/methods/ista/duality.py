"""The proof that a non-negative l1 code is optimal: its relative duality gap.

Any θ with Φᵀθ <= β/2 gives the lower bound 2 θᵀy - ||θ||² on the objective of equation (5) (Fenchel duality). With
θ = r - δ l, where r is the residual, δ the excess of max Φᵀr over β/2 and l a fixed vector with Φᵀl >= 1, the gap is

    δ² ||l||² + 2 Σ x_i (β/2 - φ_iᵀr + δ φ_iᵀl)

a sum without cancellation. Where β > 0, θ = r scaled down serves as well, and the better of the two is kept.
The relative gap is this over the objective, which counts as at least `FLOOR` of ||y||² (a signal without noise can be met
exactly, and nothing is small beside 0).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.methods.ista.active_set import BARE_JIT, BARE_SUM_JIT

__all__ = ["FLOOR", "Dual", "excess", "largest", "over_cost", "relative_gap", "scan"]

FLOOR = 1e-6


class Dual(NamedTuple):
    """What the gap of one signal is measured with.

    half_beta: β/2; yy: ||y||²; lift2: ||l||²; lifted (all,): Φᵀl of every atom.
    """

    half_beta: float
    yy: float
    lift2: float
    lifted: NDArray[np.float64]


@njit(**BARE_SUM_JIT, forceinline=True)
def scan(columns, first, n, r, row, c):
    """Put Φᵀ r into c (n,), for the n columns from `first` on; r is row `row` of an array (…, b or more)."""
    m = 0
    while m + 5 <= len(columns):  # five rows at a time: c is loaded and stored a fifth as often
        r0, r1, r2, r3, r4 = r[row, m], r[row, m + 1], r[row, m + 2], r[row, m + 3], r[row, m + 4]
        m0, m1, m2, m3, m4 = np.uint64(m), np.uint64(m + 1), np.uint64(m + 2), np.uint64(m + 3), np.uint64(m + 4)
        if m == 0:
            for j in range(n):
                i = np.uint64(first + j)
                low = r0 * columns[m0, i] + r1 * columns[m1, i]
                c[np.uint64(j)] = low + r2 * columns[m2, i] + r3 * columns[m3, i] + r4 * columns[m4, i]
        else:
            for j in range(n):
                i = np.uint64(first + j)
                low = r0 * columns[m0, i] + r1 * columns[m1, i]
                c[np.uint64(j)] += low + r2 * columns[m2, i] + r3 * columns[m3, i] + r4 * columns[m4, i]
        m += 5
    if m == 0:
        for j in range(n):
            c[np.uint64(j)] = 0.0
    while m < len(columns):
        r0, m0 = r[row, m], np.uint64(m)
        for j in range(n):
            c[np.uint64(j)] += r0 * columns[m0, np.uint64(first + j)]
        m += 1


@njit(**BARE_JIT, forceinline=True)
def largest(bits, n, least):
    """The largest of the first n of `bits` and `least`.

    Floats that are not negative sort as the integers of the same bits do, and a maximum of integers vectorises.
    """
    for j in range(n):
        least = max(least, bits[np.uint64(j)])
    return least


@njit(**BARE_JIT, forceinline=True)
def excess(bits, n, half_beta, one, one_bits):
    """How far the largest of the n floats behind `bits` lies above β/2, at least 0; one, one_bits (1,): scratch."""
    one[0] = half_beta
    one_bits[0] = largest(bits, n, one_bits[0])
    return one[0] - half_beta


@njit(**BARE_JIT, forceinline=True)
def over_cost(gap, total, rr, half_beta, yy):
    """The gap as a part of the objective ||r||² + β Σ x, which counts as at least `FLOOR` of ||y||²; total: Σ x."""
    return max(gap, 0.0) / max(rr + 2.0 * half_beta * total, FLOOR * yy)


@njit(**BARE_JIT, forceinline=True)
def relative_gap(s, k, c, first, dual, delta, rr):
    """Relative duality gap of the k atoms in s, with c = Φᵀr of the atoms from `first` on, its excess delta, rr = ||r||²."""
    half_beta, lifted, atom, x = dual.half_beta, dual.lifted, s.atom, s.x
    shrink = half_beta / (half_beta + delta) if half_beta > 0 else 0.0
    moved, scaled, total = delta * delta * dual.lift2, (1.0 - shrink) ** 2 * rr, 0.0
    for i in range(k):
        ci = c[atom[i] - first]
        total += x[i]
        moved += 2.0 * x[i] * (half_beta - ci + delta * lifted[atom[i]])
        scaled += 2.0 * x[i] * (half_beta - shrink * ci)
    return over_cost(min(moved, scaled) if half_beta > 0 else moved, total, rr, half_beta, dual.yy)
