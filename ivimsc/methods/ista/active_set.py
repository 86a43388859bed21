"""Quadratic minimisation over a few non-negative coefficients: the inner problem of an active-set method.

The atoms in use are held as the Cholesky factor R of their Gram matrix. A solution is never taken from right-hand sides
alone: each solve is a Newton step from the coefficients at hand and their true gradient g = Φ_Aᵀ(y - Φ x) - β/2, which
the caller computes from the residual. So the rounding of R, considerable because neighbouring exponentials are nearly
parallel, delays the optimum at worst; it cannot shift it.

Lawson and Hanson, Solving Least Squares Problems (1974), chapters 23 and 24. Rows over b are padded with zeros to a
multiple of `PAD`; unsigned indices spare the test for one below 0, which would keep loops from vectorising.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, SUM_JIT

__all__ = [
    "BARE_JIT",
    "BARE_SUM_JIT",
    "PAD",
    "Active",
    "add",
    "append",
    "dot",
    "make_active",
    "padded",
    "remove",
    "solve",
]

PAD = 8  # float64 in a 512-bit register
# Part of an atom's square outside the span of those in use, below which rounding decides its sign. Close to that limit
# the Newton step is rough; the next one, from the true gradient, mends it. At 1e-13 one voxel in 10,000 at SNR 1000 cycled.
DEPENDENT = 1e-15
NOBODY = np.int64(-1)  # -1 as it stands is a type of its own, for which `remove` would be compiled again
# forceinline below: a call hands over every array of the tuples, some 60 registers, and takes longer than the work.
# Sums over b may be taken in any order (`SUM_JIT`): the duality gap checks what comes out.
# _nrt=False: no reference counts. Every array that is read out of a tuple would be counted up and down, atomically: half
# of the time. Functions compiled so may not make arrays.
BARE_JIT = {**JIT, "_nrt": False}
BARE_SUM_JIT = {**SUM_JIT, "_nrt": False}


class Active(NamedTuple):
    """The atoms in use, k of at most `most`: entries 0..k of each array are valid.

    atom (most,): their numbers; x (most,): coefficients; g (most,): gradient, half of the slope that the objective falls
    by; step (most,): Newton step; r (most, most): upper triangular factor; inverse (most,): 1 / its diagonal;
    saved (most,): scratch.
    """

    atom: NDArray[np.int64]
    x: NDArray[np.float64]
    g: NDArray[np.float64]
    step: NDArray[np.float64]
    r: NDArray[np.float64]
    inverse: NDArray[np.float64]
    saved: NDArray[np.float64]


def padded(n: int) -> int:
    """The next multiple of `PAD`."""
    return -(-n // PAD) * PAD


@njit(**JIT)
def make_active(most):
    """Room for `most` atoms."""
    x, g, step, inverse = np.zeros(most), np.zeros(most), np.zeros(most), np.zeros(most)
    return Active(np.zeros(most, np.int64), x, g, step, np.zeros((most, most)), inverse, np.zeros(most))


@njit(**BARE_SUM_JIT, forceinline=True)
def dot(a, i, b, j):
    """a[i] · b[j], padded rows."""
    i, j, total = np.uint64(i), np.uint64(j), 0.0
    for start in range(0, a.shape[1], PAD):
        for m in range(PAD):
            at = np.uint64(start + m)
            total += a[i, at] * b[j, at]
    return total


@njit(**BARE_SUM_JIT, forceinline=True)
def add(a, i, factor, b, j):
    """a[i] += factor · b[j], padded rows."""
    i, j = np.uint64(i), np.uint64(j)
    for m in range(a.shape[1]):
        a[i, m] += factor * b[j, m]


@njit(**BARE_SUM_JIT)
def remove(s, k, p):
    """Take atom number p of k out, by Givens rotations; the new k."""
    atom, x, g, r, inverse = s.atom, s.x, s.g, s.r, s.inverse
    for column in range(p, k - 1):
        atom[column], x[column], g[column] = atom[column + 1], x[column + 1], g[column + 1]
        for i in range(column + 2):
            r[i, column] = r[i, column + 1]
    for i in range(p, k - 1):
        a, b = r[i, i], r[i + 1, i]
        r[i, i] = math.sqrt(a * a + b * b)
        inverse[i] = 1.0 / r[i, i]
        cosine, sine = a * inverse[i], b * inverse[i]
        for column in range(i + 1, k - 1):
            a, b = r[i, column], r[i + 1, column]
            r[i, column], r[i + 1, column] = cosine * a + sine * b, cosine * b - sine * a
    return k - 1


@njit(**BARE_SUM_JIT, forceinline=True)
def _enter(s, k, atoms, j, x, g):
    """Take atom j in as number k, unless there is no room or it is a combination of those in use; whether it came in.

    s.step holds R⁻ᵀ Φ_Aᵀ φ_j afterwards.
    """
    r, t, atom, inverse = s.r, s.step, s.atom, s.inverse
    square = dot(atoms, j, atoms, j)
    left = square
    for i in range(k):
        total = dot(atoms, atom[i], atoms, j)
        for row in range(i):
            total -= r[row, i] * t[row]
        t[i] = total * inverse[i]
        left -= t[i] * t[i]
    if k == len(atom) or not left > DEPENDENT * square:
        return False
    for i in range(k):
        r[i, k] = t[i]
    r[k, k] = math.sqrt(left)
    inverse[k] = 1.0 / r[k, k]
    atom[k], s.x[k], s.g[k] = j, x, g
    return True


@njit(**BARE_SUM_JIT)
def _exchange(s, k, atoms, j, x, g):
    """Put atom j in the place of those in use that it is a combination Σ t_i φ_i of; the new k.

    x_i falls by t_i for each unit of the newcomer, until one of them is 0 and leaves. s.step holds R⁻ᵀ Φ_Aᵀ φ_j.
    """
    t, r, inverse, amounts, saved = s.step, s.r, s.inverse, s.x, s.saved
    amount, leaving = np.inf, NOBODY
    for i in range(k - 1, -1, -1):
        for column in range(i + 1, k):
            t[i] -= r[i, column] * t[column]
        t[i] *= inverse[i]
        if t[i] > 0 and amounts[i] < amount * t[i]:
            amount, leaving = amounts[i] / t[i], i
    if leaving < 0 or amount == 0:
        return k
    for i in range(k):
        saved[i] = amounts[i]
        amounts[i] -= amount * t[i]
    left, left_g = s.atom[leaving], s.g[leaving]
    k = remove(s, k, leaving)
    if not _enter(s, k, atoms, j, x + amount, g):  # not after all: back to where we were
        for i in range(k):
            amounts[i] = saved[i if i < leaving else i + 1]
        _enter(s, k, atoms, left, saved[leaving], left_g)
    return k + 1


@njit(**BARE_SUM_JIT)
def append(s, k, atoms, j, x, g):
    """Take atom j (row of atoms (atom, pad)) in with coefficient x and gradient g; the new k.

    Where there is no room, or the atom is a combination of those in use, it takes the place of one, and k stays.
    """
    return k + 1 if _enter(s, k, atoms, j, x, g) else _exchange(s, k, atoms, j, x, g)


@njit(**BARE_SUM_JIT, forceinline=True)
def solve(s, k):
    """The non-negative optimum over (what stays of) the atoms in use, from a feasible s.x with gradient s.g; the new k.

    Newton steps up to the first coefficient that turns negative, which leaves, and again: the gradient of those that
    stay shrinks in proportion. New atoms come with x = 0, and leave at once where their step is not positive.
    """
    x, step, g, r, inverse = s.x, s.step, s.g, s.r, s.inverse
    while k > 0:
        for i in range(k):
            total = g[i]
            for row in range(i):
                total -= r[row, i] * step[row]
            step[i] = total * inverse[i]
        part, blocking = 1.0, False
        for i in range(k - 1, -1, -1):
            for column in range(i + 1, k):
                step[i] -= r[i, column] * step[column]
            step[i] *= inverse[i]
            if not x[i] + step[i] > 0:
                part, blocking = min(part, -x[i] / step[i] if x[i] > 0 else 0.0), True
        if not blocking:
            for i in range(k):
                x[i] += step[i]
            break
        for i in range(k - 1, -1, -1):
            out = not x[i] + step[i] > 0 and (not x[i] > 0 or -x[i] / step[i] <= part)
            x[i] += part * step[i]
            g[i] *= 1.0 - part
            if out:
                k = remove(s, k, i)
    return k
