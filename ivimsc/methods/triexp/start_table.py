"""Starting points for the fit of three pools: the best triples of a small table of (D, D*, D*2), in lanes.

For every triple of the table the signal is projected on the cone of its three columns: all three where their amplitudes
are positive, else the best two. Noise makes the cost multimodal along D* and D*2, so both ranges are cut in two halves, and
the best triple of each of the four quarters is a start.

A search may end where one pool is empty: its diffusivity then has no slope, and nothing tells the search that another one
would do better. `look_again` asks every diffusivity of the table: where the residuals still correlate with its exponential,
it is the start of another search.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.scaling import load_scaled
from ivimsc.numerics.starting import pair_gain, products

__all__ = ["STARTS", "StartTable", "find_starts", "look_again", "make_start_table"]

L = LANES
ONE, ZERO = np.float32(1.0), np.float32(0.0)
N_D, N_P, N_G = 16, 12, 8  # D, D* and D*2 of the table, multiples of four
STARTS = 4
TRIPLE = np.dtype([(name, np.float32) for name in ("i11", "i12", "i13", "i22", "i23", "i33")])
WORTH = 3e-3  # correlation of residuals with a column, whose square is the part of Σ r² that the column takes away
CLOSE = 1e-6  # 10 float32 epsilons: columns that the others explain but for this part are left out


class StartTable(NamedTuple):
    """Columns of the grid, of unit length and weighted as the signal is, in ms/µm² and µm²/ms."""

    slow: NDArray[np.float32]  # (d, b)
    middle: NDArray[np.float32]  # (p, b)
    fast: NDArray[np.float32]  # (g, b)
    d: NDArray[np.float32]  # (d,): D
    p: NDArray[np.float32]  # (p,): D*
    g: NDArray[np.float32]  # (g,): D*2
    slow_middle: NDArray[np.float32]  # (d, p): cosines, and so on
    slow_fast: NDArray[np.float32]
    middle_fast: NDArray[np.float32]
    triples: NDArray  # (p, d, g) of TRIPLE: the inverse of their matrix of cosines, 0 where it has none


def make_start_table(b, root, box, g_low, g_high) -> StartTable:
    """The table for one protocol: b (b,) [ms/µm²], roots of their weights (b,), and bounds [µm²/ms]."""
    d = np.linspace(box.d_low, box.d_high, N_D)
    p, g = np.geomspace(box.p_low, box.p_high, N_P), np.geomspace(g_low, g_high, N_G)
    columns = []
    for rates in (d, p, g):
        column = root * np.exp(-np.outer(rates, b))
        columns.append(column / np.maximum(np.linalg.norm(column, axis=1), 1e-30)[:, None])
    slow, middle, fast = columns
    cosines = slow @ middle.T, slow @ fast.T, middle @ fast.T
    shape = (N_P, N_D, N_G)
    matrices = np.broadcast_to(np.eye(3), (*shape, 3, 3)).copy()
    pairs = ((0, 1, cosines[0].T[:, :, None]), (0, 2, cosines[1][None]), (1, 2, cosines[2][:, None, :]))
    for i, j, values in pairs:
        matrices[..., i, j] = matrices[..., j, i] = np.broadcast_to(values, shape)
    good = np.linalg.det(matrices) > CLOSE
    matrices[~good] = np.eye(3)
    inverses = np.linalg.inv(matrices) * good[..., None, None]
    triples = np.empty(shape, TRIPLE)
    for name in TRIPLE.names:
        triples[name] = inverses[..., int(name[1]) - 1, int(name[2]) - 1]
    return StartTable(*(np.ascontiguousarray(a, np.float32) for a in (*columns, d, p, g, *cosines)), triples)


@njit(**LANE_JIT)
def _pair_gains(one, other, cosines, gains):
    """What two columns explain of each signal with positive amplitudes: gains (one · other, lane)."""
    for i in range(len(one)):
        for j in range(len(other)):
            r = cosines[i, j]
            left = ONE - r * r
            apart = ONE / left if left > CLOSE else ZERO
            pair = (r, apart, ONE, ONE, ONE, ZERO, ZERO, ONE)
            s1, s2, row = one[i], other[j], gains[i * len(other) + j]
            for l in range(L):
                row[l] = pair_gain(s1[l], s2[l], pair, ZERO, ONE)


@njit(**LANE_JIT)
def _triple_at(triples, k, i, m):
    triple = triples[k, i, m]
    return triple["i11"], triple["i12"], triple["i13"], triple["i22"], triple["i23"], triple["i33"]


@njit(**LANE_JIT)
def _best_triples(table, sums, gains, top, best):
    """For each quarter and each lane: the Σ y² that its best triple explains, and the number of that triple."""
    slow, middle, fast = sums
    slow_middle, slow_fast, middle_fast = gains
    n_d, n_p, n_g = len(table.d), len(table.p), len(table.g)
    top[:], best[:] = -ONE, ZERO
    for k in range(n_p):
        s2 = middle[k]
        for m in range(n_g):
            s3, third = fast[m], middle_fast[k * n_g + m]
            quarter = 2 * (2 * k // n_p) + 2 * m // n_g
            tops, numbers = top[quarter], best[quarter]
            for i in range(n_d):
                s1, first, second = slow[i], slow_middle[i * n_p + k], slow_fast[i * n_g + m]
                i11, i12, i13, i22, i23, i33 = _triple_at(table.triples, k, i, m)
                number = np.float32((k * n_d + i) * n_g + m)
                for l in range(L):
                    x1 = i11 * s1[l] + i12 * s2[l] + i13 * s3[l]
                    x2 = i12 * s1[l] + i22 * s2[l] + i23 * s3[l]
                    x3 = i13 * s1[l] + i23 * s2[l] + i33 * s3[l]
                    all_three = s1[l] * x1 + s2[l] * x2 + s3[l] * x3
                    two = max(max(first[l], second[l]), third[l])
                    here = all_three if (x1 > ZERO) & (x2 > ZERO) & (x3 > ZERO) else two
                    numbers[l] = number if here > tops[l] else numbers[l]
                    tops[l] = max(here, tops[l])


@njit(**JIT)
def find_starts(signals, scale, table, problem, starts):
    """Find up to two starts (D, D*, D*2) for each signal (voxel, b), whose scale (voxel,) is 0 where it is bad."""
    n_d, n_p, n_g = len(table.d), len(table.p), len(table.g)
    e = np.float32
    w = np.empty((signals.shape[1], L), e)
    sums1, sums2, sums3 = np.empty((n_d // 4, 4 * L), e), np.empty((n_p // 4, 4 * L), e), np.empty((n_g // 4, 4 * L), e)
    slow, middle, fast = sums1.reshape(n_d, L), sums2.reshape(n_p, L), sums3.reshape(n_g, L)
    gains = np.empty((n_d * n_p, L), e), np.empty((n_d * n_g, L), e), np.empty((n_p * n_g, L), e)
    top, best = np.empty((STARTS, L), e), np.empty((STARTS, L), e)
    for start in range(0, len(signals), L):
        size = min(L, len(signals) - start)
        for lane in range(L):
            v = start + min(lane, size - 1)
            load_scaled(w, lane, signals, v, scale[v], problem.root)
        products(w, table.slow, sums1)
        products(w, table.middle, sums2)
        products(w, table.fast, sums3)
        _pair_gains(slow, middle, table.slow_middle, gains[0])
        _pair_gains(slow, fast, table.slow_fast, gains[1])
        _pair_gains(middle, fast, table.middle_fast, gains[2])
        _best_triples(table, (slow, middle, fast), gains, top, best)
        for lane in range(size):
            v = start + lane
            for quarter in range(STARTS):
                number = int(best[quarter, lane])
                starts.x1[v, quarter] = table.d[number // n_g % n_d]
                starts.x2[v, quarter] = table.p[number // (n_g * n_d)]
                starts.x3[v, quarter] = table.g[number % n_g]
                starts.there[v, quarter] = True


@njit(**JIT)
def _best_column(residuals, columns):
    """The largest product of the residuals (b,) with one of the columns (node, b), and the number of that column."""
    best, number = 0.0, 0
    for j in range(len(columns)):
        product = 0.0
        for i in range(len(residuals)):
            product += residuals[i] * columns[j, i]
        if product > best:
            best, number = product, j
    return best, number


@njit(**JIT)
def look_again(signals, scale, table, problem, found, starts, again):
    """New starts for the voxels in which a pool is empty and another diffusivity of that pool would explain more.

    Parameters
    ----------
    signals, scale : (voxel, b), (voxel,)
    table, problem, found : what the search had and what it found
    starts : Starts3
        Receives the new start as the only one of a voxel.
    again : (voxel,) float32
        Receives the scale of the voxels that have a new start, 0 for the others.

    Returns
    -------
    bool
        There is a new start.
    """
    b, root = problem.b, problem.root
    residuals, some = np.empty(len(b)), False
    for v in range(len(scale)):
        again[v] = ZERO
        if scale[v] == 0 or (found.a1[v] > 0 and found.a2[v] > 0 and found.a3[v] > 0):
            continue
        squares = 0.0
        for i in range(len(b)):
            model = found.a1[v] * math.exp(-b[i] * found.x1[v]) + found.a2[v] * math.exp(-b[i] * found.x2[v]) + found.a3[v] * math.exp(-b[i] * found.x3[v])  # fmt: skip
            residuals[i] = root[i] * (signals[v, i] / scale[v] - model)
            squares += residuals[i] * residuals[i]
        most = WORTH * math.sqrt(squares)
        starts.x1[v, 0], starts.x2[v, 0], starts.x3[v, 0] = found.x1[v], found.x2[v], found.x3[v]
        starts.there[v, :] = False
        if not found.a1[v] > 0:
            best, number = _best_column(residuals, table.slow)
            if best > most:
                most, again[v], starts.x1[v, 0] = best, scale[v], table.d[number]
        if not found.a2[v] > 0:
            best, number = _best_column(residuals, table.middle)
            if best > most:
                most, again[v], starts.x2[v, 0] = best, scale[v], table.p[number]
        if not found.a3[v] > 0:
            best, number = _best_column(residuals, table.fast)
            if best > most:
                most, again[v], starts.x3[v, 0] = best, scale[v], table.g[number]
        some |= again[v] > 0
    return some
