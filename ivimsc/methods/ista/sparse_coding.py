"""The exact non-negative l1 code, equation (5): min ||y - Φ x||² + β Σ x over x >= 0, with a proof for every voxel.

An active-set method (`active_set`) that takes in, at each turn, every atom at which Φᵀr peaks above β/2 (r the
residual). Exponentials vary smoothly with log D, so the peaks are few (at most as many as there are b-values) and a
coarse dictionary, every 20th atom, finds them nearly as well: the search runs through a pyramid of three dictionaries
(`pyramid`), and only the last few turns see all atoms. A voxel starts from nothing, never from its neighbour:
results do not depend on order, chunks or threads. When it ends, `duality` has proved how far from the optimum
the code can be at most.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.methods.ista.active_set import BARE_JIT, BARE_SUM_JIT, PAD, add, append, dot, make_active, solve
from ivimsc.methods.ista.duality import Dual, excess, largest, relative_gap, scan
from ivimsc.methods.ista.problem import Found
from ivimsc.numerics.scaling import scales

__all__ = ["encode_exact"]

TURNS = 100  # most turns at each level; about 10 are needed in all
PATIENCE = 40  # turns after which only the highest peak is taken in: slower, but what several at once undo stays done
NEAR = 0.1  # peaks below this part of the highest are left for the next turn: they mostly vanish
HIGHEST = 1.0 - 1e-9
# Atoms in use: the number 0 as it stands is a type of its own, for which all would be compiled again.
NONE = np.int64(0)


class Scratch(NamedTuple):
    """Room for one voxel. Views cost more than the loops over them, so they are made once.

    y (2, pad): signal and residual; c (all,): Φᵀr; one (1,), value (tissue · blood,), flags (atom,), chosen, share
    (2 · most,); bits, one_bits, value_bits: the floats c, one and value as integers; words: eight flags in one.
    """

    y: NDArray[np.float64]
    c: NDArray[np.float64]
    one: NDArray[np.float64]
    value: NDArray[np.float64]
    flags: NDArray[np.uint8]
    chosen: NDArray[np.int64]
    share: NDArray[np.float64]
    bits: NDArray[np.int64]
    one_bits: NDArray[np.int64]
    value_bits: NDArray[np.int64]
    words: NDArray[np.uint64]


@njit(**JIT)
def _make_scratch(p, most):
    n = p.first[-1] - p.first[-2]
    c, one, value = np.zeros(max(n, p.first[1])), np.zeros(1), np.zeros(p.half[0] * (p.first[1] - p.half[0]))
    flags, y = np.zeros((n + 15) // 8 * 8, np.uint8), np.zeros((2, p.atoms.shape[1]))
    views = c.view(np.int64), one.view(np.int64), value.view(np.int64), flags.view(np.uint64)
    return Scratch(y, c, one, value, flags, np.zeros(2 * most, np.int64), np.zeros(2 * most), *views)


@njit(**BARE_JIT)
def _start(s, p, t, half_beta):
    """Start at the best pair of a tissue and a blood atom of the coarsest level; k (0 where no pair is positive).

    Their coefficients are not solved for yet.
    """
    tissue, first, pairs, atoms, c, value = p.half[0], p.first[1], p.pairs, p.atoms, t.c, t.value
    blood = first - tissue
    scan(p.columns, 0, first, t.y, 0, c)
    for i in range(tissue):
        left, ii = c[i] - half_beta, np.uint64(i)
        for j in range(blood):
            right, jj = c[np.uint64(tissue + j)] - half_beta, np.uint64(j)
            x = pairs[0, ii, jj] * left + pairs[1, ii, jj] * right
            z = pairs[1, ii, jj] * left + pairs[2, ii, jj] * right
            value[np.uint64(i * blood + j)] = x * left + z * right if min(x, z) > 0 else 0.0
    highest = largest(t.value_bits, tissue * blood, 0)
    if highest == 0:
        return NONE
    best = np.int64(-1)
    for q in range(tissue * blood):  # without a break it vectorises
        best = max(best, q if t.value_bits[np.uint64(q)] == highest else -1)
    k = NONE
    for part in range(2):  # one call of `append`, for it is compiled in place
        j = best // blood if part == 0 else tissue + best % blood
        k = append(s, k, atoms, j, 0.0, c[j] - half_beta)
    return k


@njit(**BARE_SUM_JIT, forceinline=True)
def _residual(s, k, atoms, y):
    """Row 1 of y = row 0 - Φ x; its square."""
    for start in range(0, y.shape[1], PAD):
        for m in range(PAD):
            y[1, np.uint64(start + m)] = y[0, np.uint64(start + m)]
    atom, x = s.atom, s.x
    for i in range(k):
        add(y, 1, -x[i], atoms, atom[i])
    return dot(y, 1, y, 1)


@njit(**BARE_JIT)
def _sort(s, k):
    """Bring the atoms in use into ascending order (their factorisation is lost)."""
    atom, x = s.atom, s.x
    for i in range(1, k):
        atom_i, x_i = atom[i], x[i]
        q = i - 1
        while q >= 0 and atom[q] > atom_i:
            atom[q + 1], x[q + 1] = atom[q], x[q]
            q -= 1
        atom[q + 1], x[q + 1] = atom_i, x_i


@njit(**BARE_JIT)
def _descend(s, k, p, level, t, half_beta):
    """From the atoms of level - 1 to those of `level`: neighbours in use become the two atoms around their centre.

    Their coefficients are not solved for yet.
    """
    _sort(s, k)
    chosen, share, y, atom, x, g = t.chosen, t.share, t.y, s.atom, s.x, s.g
    place, atoms, firsts = p.place, p.atoms, p.first
    first, wall = firsts[level], firsts[level - 1] + p.half[level - 1]
    n, i = 0, 0
    while i < k:
        weight, centre = x[i], x[i] * place[atom[i]]
        end = i + 1
        while end < k and atom[end] == atom[end - 1] + 1 and atom[end] != wall:
            weight += x[end]
            centre += x[end] * place[atom[end]]
            end += 1
        centre = centre / weight if end > i + 1 else float(place[atom[i]])
        low, high = first, firsts[level + 1] - 1
        while high - low > 1:
            middle = (low + high) // 2
            if place[middle] <= centre:
                low = middle
            else:
                high = middle
        chosen[n] = high if place[high] <= centre else low
        share[n] = weight
        if place[chosen[n]] < centre:
            chosen[n + 1] = high
            share[n + 1] = weight * (centre - place[low]) / (place[high] - place[low])
            share[n] = weight - share[n + 1]
            n += 1
        n += 1
        i = end
    k = NONE
    for i in range(n):
        if k > 0 and chosen[i] == atom[k - 1]:
            x[k - 1] += share[i]
        else:
            k = append(s, k, atoms, chosen[i], share[i], 0.0)
    _residual(s, k, atoms, y)
    for i in range(k):
        g[i] = dot(atoms, atom[i], y, 1) - half_beta
    return k


@njit(**BARE_JIT, forceinline=True)
def _take_peaks(s, k, p, level, t, half_beta, threshold):
    """Take in every atom at which c peaks above the threshold; the new k."""
    firsts, half, atoms, c, flags, words = p.first, p.half[level], p.atoms, t.c, t.flags, t.words
    first = firsts[level]
    n = firsts[level + 1] - first
    for j in range(1, n - 1):
        here = c[np.uint64(j)]
        flags[np.uint64(j)] = (here > threshold) & (here > c[np.uint64(j - 1)]) & (here >= c[np.uint64(j + 1)])
    flags[0] = c[0] > threshold and (n == 1 or half == 1 or c[0] >= c[1])
    flags[n - 1] = c[n - 1] > threshold and (n == 1 or half == n - 1 or c[n - 1] > c[n - 2])
    if 1 < half < n:
        flags[half - 1] = c[half - 1] > threshold and c[half - 1] > c[half - 2]
    if 0 < half < n - 1:
        flags[half] = c[half] > threshold and c[half] >= c[half + 1]
    for word in range((n + 7) // 8):  # 8 flags at once
        if words[word] != 0:
            for j in range(8 * word, min(8 * word + 8, n)):
                if flags[j]:
                    k = append(s, k, atoms, first + j, 0.0, c[j] - half_beta)
    return k


@njit(**BARE_JIT)
def _code(s, p, t, half_beta):
    """Code the signal in row 0 of t.y: k and how the search ended; atoms (of the last level) and x are in s."""
    y, c, lift, loose, firsts, columns, atoms = t.y, t.c, p.lift, p.loose, p.first, p.columns, p.atoms
    bits, one, one_bits, atom, g = t.bits, t.one, t.one_bits, s.atom, s.g
    dual = Dual(half_beta, dot(y, 0, y, 0), dot(lift, 0, lift, 0), p.lifted)
    k, turns, gap, rr = NONE, 0, np.inf, dual.yy
    for level in range(len(firsts) - 1):
        first = firsts[level]
        n = firsts[level + 1] - first
        k = solve(s, _start(s, p, t, half_beta) if level == 0 else _descend(s, k, p, level, t, half_beta))
        for turn in range(TURNS):
            turns += 1
            rr = _residual(s, k, atoms, y)
            scan(columns, first, n, y, 1, c)
            delta = excess(bits, n, half_beta, one, one_bits)
            gap = relative_gap(s, k, c, first, dual, delta, rr)
            if gap <= loose[level]:
                break
            for i in range(k):
                g[i] = c[atom[i] - first] - half_beta
            part = NEAR if turn < PATIENCE else HIGHEST
            k = solve(s, _take_peaks(s, k, p, level, t, half_beta, half_beta + part * delta))
    return k, Found(gap, rr, turns, True)


@njit(**KERNEL)
def encode_exact(start, stop, signals, pyramid, penalty, atom, x, endings):
    """Code the signals start..stop, each scaled to a largest value of 1.

    Parameters
    ----------
    signals : (voxel, b) float32, in any unit
    pyramid : Pyramid
    penalty : Penalty
    atom : (voxel, most) int32, written: the atoms in use, ascending, and -1 beyond them
    x : (voxel, most) float64, written: their coefficients, in units of the scaled signal
    endings : Endings, written
    """
    p, beta, relative = pyramid, penalty.beta, penalty.relative
    scale, gap, squares, turns, done = endings.scale, endings.gap, endings.squares, endings.turns, endings.done
    last, all_of_them = p.first[-2], p.first[-1] - p.first[-2]
    s, t = make_active(atom.shape[1]), _make_scratch(p, atom.shape[1])
    columns, y, place, atoms, coefficients = p.columns, t.y, p.place, s.atom, s.x
    scales(signals[start:stop], scale[start:stop])
    for v in range(start, stop):
        atom[v], x[v] = -1, 0.0
        if scale[v] == 0:
            gap[v], squares[v], turns[v], done[v] = np.nan, np.nan, 0, True
            continue
        inverse = 1.0 / np.float64(scale[v])
        for m in range(len(columns)):
            y[0, m] = signals[v, m] * inverse
        half_beta = 0.5 * beta
        if relative:
            scan(columns, last, all_of_them, y, 0, t.c)
            half_beta *= excess(t.bits, all_of_them, 0.0, t.one, t.one_bits)
        k, found = _code(s, p, t, half_beta)
        gap[v], squares[v], turns[v], done[v] = found.gap, found.squares, found.turns, found.done
        _sort(s, k)
        for i in range(k):
            atom[v, i], x[v, i] = place[atoms[i]], coefficients[i]
