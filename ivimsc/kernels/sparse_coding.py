"""The exact non-negative l1 code, equation (5): min ||y - Φ x||² + β Σ x over x >= 0, with a proof for every voxel.

An active-set method (`kernels.active_set`) that takes in, at each turn, every atom at which Φᵀr peaks above β/2 (r the
residual). Exponentials vary smoothly with log D, so the peaks are few (at most as many as there are b-values) and a
coarse dictionary, every 16th atom, finds them nearly as well: the search runs through a pyramid of three dictionaries,
and only the last few turns see all atoms. A voxel starts from nothing, never from its neighbour: results do not depend
on order, chunks or threads.

The proof. Any θ with Φᵀθ <= β/2 gives the lower bound 2 θᵀy - ||θ||² on the objective (Fenchel duality). With
θ = r - δ l, where δ is the excess of max Φᵀr over β/2 and l a fixed vector with Φᵀl >= 1, the gap is

    δ² ||l||² + 2 Σ x_i (β/2 - φ_iᵀr + δ φ_iᵀl)

a sum without cancellation. Where β > 0, θ = r scaled down serves as well, and the better of the two is kept.
The relative gap is this over the objective, which counts as at least `FLOOR` of ||y||² (a signal without noise can be met
exactly, and nothing is small beside 0).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.kernels.active_set import SUM_JIT, add, append, dot, make_active, padded, solve
from ivimsc.kernels.compiling import JIT
from ivimsc.kernels.scaling import scales

__all__ = ["FLOOR", "Pyramid", "encode_exact", "excess", "make_pyramid", "relative_gap", "scan"]

FLOOR = 1e-6
STRIDES = (16, 4, 1)
LOOSE = (1e-3, 1e-4)  # relative gaps at which the search leaves the coarse dictionaries
TURNS = 100  # most turns at each level; about 10 are needed in all
PATIENCE = 40  # turns after which only the highest peak is taken in: slower, but what several at once undo stays done
NEAR = 0.1  # peaks below this part of the highest are left for the next turn: they mostly vanish
HIGHEST = 1.0 - 1e-9


class Pyramid(NamedTuple):
    """The dictionary at all levels, coarse to fine, side by side.

    atoms (all, pad) float64: atoms as rows; columns (b, all): the same as columns; place (all,): each atom's number in
    the full dictionary; first (level + 1,): where each level starts; half (level,): how many of its atoms are of the
    tissue part; loose (level,): relative gap at which the level is left; lift (1, pad): l; lifted (all,): Φᵀ l.
    """

    atoms: NDArray[np.float64]
    columns: NDArray[np.float64]
    place: NDArray[np.int64]
    first: NDArray[np.int64]
    half: NDArray[np.int64]
    loose: NDArray[np.float64]
    lift: NDArray[np.float64]
    lifted: NDArray[np.float64]
    pairs: NDArray[np.float64]


def make_pyramid(matrix: NDArray[np.float64], half: int, tolerance: float) -> Pyramid:
    """The pyramid of a dictionary: matrix (b, atom) > 0, the first `half` atoms of the tissue part."""
    n = matrix.shape[1]
    places, first, halves = [], [0], []
    for stride in STRIDES:
        tissue = np.unique(np.r_[np.arange(0, half, stride), half - 1])
        blood = np.unique(np.r_[np.arange(half, n, stride), n - 1])
        places += [tissue, blood]
        first.append(first[-1] + len(tissue) + len(blood))
        halves.append(len(tissue))
    place = np.concatenate(places)
    columns = np.ascontiguousarray(matrix[:, place])
    atoms = np.zeros((len(place), padded(len(matrix))))
    atoms[:, : len(matrix)] = columns.T
    lift = np.zeros((1, atoms.shape[1]))
    row = int(np.argmax(matrix.min(axis=1)))
    lift[0, row] = 1.0 / matrix[row].min()
    loose = np.array([max(level, tolerance) for level in LOOSE] + [tolerance])
    return Pyramid(atoms, columns, place, np.array(first), np.array(halves), loose, lift, atoms @ lift[0], _pairs(columns[:, : first[1]], halves[0]))


def _pairs(columns: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """The inverse Gram matrices (3, tissue, blood) of all pairs of a tissue and a blood atom; 0 where it is singular."""
    gram = columns.T @ columns
    own = np.diag(gram)
    a, b, c = own[:half, None], own[None, half:], gram[:half, half:]
    determinant = a * b - c * c
    usable = determinant > 1e-10 * a * b
    inverse = np.where(usable, 1.0 / np.where(usable, determinant, 1.0), 0.0)
    return np.stack([b * inverse, -c * inverse, a * inverse])


@njit(**JIT)
def _start(s, p, y, c, one, value, half_beta):
    """Start at the best pair of a tissue and a blood atom of the coarsest level; k (0 where no pair is positive)."""
    tissue, blood = p.half[0], p.first[1] - p.half[0]
    scan(p.columns, 0, p.first[1], y[0], c)
    for i in range(tissue):
        t, ii = c[i] - half_beta, np.uint64(i)
        for j in range(blood):
            u = c[np.uint64(tissue + j)] - half_beta
            x = p.pairs[0, ii, j] * t + p.pairs[1, ii, j] * u
            z = p.pairs[1, ii, j] * t + p.pairs[2, ii, j] * u
            value[ii * np.uint64(blood) + np.uint64(j)] = x * t + z * u if (x > 0) & (z > 0) else 0.0
    k = 0
    highest = excess(value, tissue * blood, 0.0, one)
    if highest > 0:
        for q in range(tissue * blood):
            if value[q] == highest:
                i, j = q // blood, tissue + q % blood
                k = append(s, k, p.atoms, i, 0.0, c[i] - half_beta)
                k = append(s, k, p.atoms, j, 0.0, c[j] - half_beta)
                break
    return solve(s, k)


@njit(**SUM_JIT)
def scan(columns, first, n, r, c):
    """Put Φᵀ r into c (n,), for the n columns from `first` on."""
    # slices, and indices that cannot be negative: else each access is tested for wrapping around, and nothing vectorises
    stop = first + n
    out = c[:n]
    m = 0
    while m + 5 <= len(columns):  # five rows at a time: c is loaded and stored a fifth as often
        r0, r1, r2, r3, r4 = r[m], r[m + 1], r[m + 2], r[m + 3], r[m + 4]
        p0, p1, p2 = columns[m, first:stop], columns[m + 1, first:stop], columns[m + 2, first:stop]
        p3, p4 = columns[m + 3, first:stop], columns[m + 4, first:stop]
        if m == 0:
            for j in range(n):
                out[j] = r0 * p0[j] + r1 * p1[j] + r2 * p2[j] + r3 * p3[j] + r4 * p4[j]
        else:
            for j in range(n):
                out[j] += r0 * p0[j] + r1 * p1[j] + r2 * p2[j] + r3 * p3[j] + r4 * p4[j]
        m += 5
    if m == 0:
        out[:] = 0.0
    while m < len(columns):
        r0, p0 = r[m], columns[m, first:stop]
        for j in range(n):
            out[j] += r0 * p0[j]
        m += 1


@njit(**JIT)
def excess(c, n, half_beta, one):
    """How far the largest of c (n,) lies above β/2, at least 0; one (1,) is scratch.

    Floats that are not negative sort as the integers of the same bits do, and a maximum of integers vectorises.
    """
    one[0] = half_beta
    bits, highest = c[:n].view(np.int64), one.view(np.int64)
    largest = highest[0]
    for j in range(n):
        largest = max(largest, bits[j])
    highest[0] = largest
    return one[0] - half_beta


@njit(**JIT)
def relative_gap(s, k, c, first, half_beta, delta, rr, yy, lift2, lifted):
    """Relative duality gap of the k atoms in s, with c = Φᵀr, its excess delta, rr = ||r||², yy = ||y||²."""
    shrink = half_beta / (half_beta + delta) if half_beta > 0 else 0.0
    moved, scaled, total = delta * delta * lift2, (1.0 - shrink) ** 2 * rr, 0.0
    for i in range(k):
        x, ci = s.x[i], c[s.atom[i] - first]
        total += x
        moved += 2.0 * x * (half_beta - ci + delta * lifted[s.atom[i]])
        scaled += 2.0 * x * (half_beta - shrink * ci)
    gap = min(moved, scaled) if half_beta > 0 else moved
    return max(gap, 0.0) / max(rr + 2.0 * half_beta * total, FLOOR * yy)


@njit(**SUM_JIT)
def _residual(s, k, atoms, y):
    """Row 1 of y = row 0 - Φ x; its square."""
    for m in range(y.shape[1]):
        y[1, m] = y[0, m]
    for i in range(k):
        add(y, 1, -s.x[i], atoms, s.atom[i])
    return dot(y, 1, y, 1)


@njit(**JIT)
def _sort(s, k):
    """Bring the atoms in use into ascending order (their factorisation is lost)."""
    for i in range(1, k):
        atom, x = s.atom[i], s.x[i]
        q = i - 1
        while q >= 0 and s.atom[q] > atom:
            s.atom[q + 1], s.x[q + 1] = s.atom[q], s.x[q]
            q -= 1
        s.atom[q + 1], s.x[q + 1] = atom, x


@njit(**JIT)
def _descend(s, k, p, level, y, chosen, share, half_beta):
    """From the atoms of level - 1 to those of `level`: neighbours in use become the two atoms around their centre.

    chosen (2 · most,), share (2 · most,): scratch.
    """
    _sort(s, k)
    first, wall = p.first[level], p.first[level - 1] + p.half[level - 1]
    n, i = 0, 0
    while i < k:
        weight, centre = s.x[i], s.x[i] * p.place[s.atom[i]]
        end = i + 1
        while end < k and s.atom[end] == s.atom[end - 1] + 1 and s.atom[end] != wall:
            weight += s.x[end]
            centre += s.x[end] * p.place[s.atom[end]]
            end += 1
        centre = centre / weight if end > i + 1 else float(p.place[s.atom[i]])
        low, high = first, p.first[level + 1] - 1
        while high - low > 1:
            middle = (low + high) // 2
            if p.place[middle] <= centre:
                low = middle
            else:
                high = middle
        chosen[n] = high if p.place[high] <= centre else low
        share[n] = weight
        if p.place[chosen[n]] < centre:
            chosen[n + 1] = high
            share[n + 1] = weight * (centre - p.place[low]) / (p.place[high] - p.place[low])
            share[n] = weight - share[n + 1]
            n += 1
        n += 1
        i = end
    k = 0
    for i in range(n):
        if k > 0 and chosen[i] == s.atom[k - 1]:
            s.x[k - 1] += share[i]
        else:
            k = append(s, k, p.atoms, chosen[i], share[i], 0.0)
    _residual(s, k, p.atoms, y)
    for i in range(k):
        s.g[i] = dot(p.atoms, s.atom[i], y, 1) - half_beta
    return solve(s, k)


@njit(**JIT)
def _take_peaks(s, k, p, level, c, n, half_beta, threshold, flags):
    """Take in every atom at which c peaks above the threshold; the new k."""
    first, half = p.first[level], p.half[level]
    before, here, after, inner = c[: n - 2], c[1 : n - 1], c[2:n], flags[1 : n - 1]
    for j in range(n - 2):
        inner[j] = (here[j] > threshold) & (here[j] > before[j]) & (here[j] >= after[j])
    flags[0] = c[0] > threshold and (n == 1 or half == 1 or c[0] >= c[1])
    flags[n - 1] = c[n - 1] > threshold and (n == 1 or half == n - 1 or c[n - 1] > c[n - 2])
    if 1 < half < n:
        flags[half - 1] = c[half - 1] > threshold and c[half - 1] > c[half - 2]
    if 0 < half < n - 1:
        flags[half] = c[half] > threshold and c[half] >= c[half + 1]
    words = flags.view(np.uint64)
    for word in range((n + 7) // 8):  # 8 flags at once
        if words[word] != 0:
            for j in range(8 * word, min(8 * word + 8, n)):
                if flags[j]:
                    k = append(s, k, p.atoms, first + j, 0.0, c[j] - half_beta)
    return k


@njit(**JIT)
def _code(s, p, y, c, one, flags, chosen, share, value, half_beta):
    """Code the signal in row 0 of y (2, pad): (k, relative gap, ||r||², turns); atoms (of the last level) and x are in s."""
    yy, lift2 = dot(y, 0, y, 0), dot(p.lift, 0, p.lift, 0)
    k, turns, gap, rr = _start(s, p, y, c, one, value, half_beta), 0, np.inf, yy
    for level in range(len(p.half)):
        first = p.first[level]
        n = p.first[level + 1] - first
        if level > 0:
            k = _descend(s, k, p, level, y, chosen, share, half_beta)
        for turn in range(TURNS):
            turns += 1
            rr = _residual(s, k, p.atoms, y)
            scan(p.columns, first, n, y[1], c)
            delta = excess(c, n, half_beta, one)
            gap = relative_gap(s, k, c, first, half_beta, delta, rr, yy, lift2, p.lifted)
            if gap <= p.loose[level]:
                break
            for i in range(k):
                s.g[i] = c[s.atom[i] - first] - half_beta
            part = NEAR if turn < PATIENCE else HIGHEST
            k = _take_peaks(s, k, p, level, c, n, half_beta, half_beta + part * delta, flags)
            k = solve(s, k)
    return k, gap, rr, turns


@njit(**JIT)
def encode_exact(start, stop, signals, p, beta, relative, scale, atom, x, gap, squares, turns):
    """Code the signals start..stop, each scaled to a largest value of 1.

    signals : (voxel, b) float32
    p : Pyramid
    beta, relative : β, or β as a part of ||Φᵀy||_∞ of each voxel
    scale : (voxel,) float32, written: max |signal|, 0 for a bad signal
    atom, x : (voxel, most), written: atoms in use, ascending, -1 beyond them, and their coefficients (scaled signal)
    gap, squares, turns : (voxel,), written: relative duality gap, Σ r² (scaled signal), turns taken
    """
    rows, levels, most = len(p.columns), len(p.half), atom.shape[1]
    pad, last, n = p.atoms.shape[1], p.first[levels - 1], p.first[levels] - p.first[levels - 1]
    s = make_active(most)
    y, c, one = np.zeros((2, pad)), np.empty(len(p.place)), np.empty(1)
    flags = np.zeros((n + 7) // 8 * 8, np.uint8)
    chosen, share = np.zeros(2 * most, np.int64), np.zeros(2 * most)
    value = np.empty(p.half[0] * (p.first[1] - p.half[0]))
    scales(signals[start:stop], scale[start:stop])
    for v in range(start, stop):
        atom[v], x[v] = -1, 0.0
        if scale[v] == 0:
            gap[v], squares[v], turns[v] = np.nan, np.nan, 0
            continue
        inverse = 1.0 / np.float64(scale[v])
        for m in range(rows):
            y[0, m] = signals[v, m] * inverse
        half_beta = 0.5 * beta
        if relative:
            scan(p.columns, last, n, y[0], c)
            half_beta *= excess(c, n, 0.0, one)
        k, gap[v], squares[v], turns[v] = _code(s, p, y, c, one, flags, chosen, share, value, half_beta)
        _sort(s, k)
        for i in range(k):
            atom[v, i], x[v, i] = p.place[s.atom[i]], s.x[i]
