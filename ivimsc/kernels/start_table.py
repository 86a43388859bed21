"""Starting points for bi-exponential least squares: the best pair of a small table of (D, D*), in lanes.

For every pair of a grid the best amplitudes in the cone of f explain a known part of Σ y²; its formula needs only the
products of the signal with the grid's exponentials, shared by all pairs. Noise makes the cost multimodal along D*: the
local optima of the profile over D* (its best D at each D*) are the starting points, up to three per voxel.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.kernels.compiling import JIT, LANE_JIT
from ivimsc.kernels.lanes import LANES
from ivimsc.kernels.scaling import load_scaled

__all__ = ["STARTS", "StartTable", "find_starts", "make_start_table"]

L = LANES
ZERO, ONE = np.float32(0.0), np.float32(1.0)
STARTS = 3  # of 16,000 voxels of four kinds, a fourth start would have helped none


class StartTable(NamedTuple):
    """Grids d (n,), p (m,) [µm²/ms], their exponentials (n, b) and (m, b), and per pair six coefficients (m, n, 6)."""

    d: NDArray[np.float32]
    p: NDArray[np.float32]
    e1: NDArray[np.float32]
    e2: NDArray[np.float32]
    pairs: NDArray[np.float32]


def make_start_table(b, d_bounds, p_bounds, f_bounds, n_d: int = 16, n_p: int = 20) -> StartTable:
    """Table for b (b,) [ms/µm²] and bounds of D, D* [µm²/ms] and f; D spaced as a square, D* logarithmically."""
    root = np.linspace(np.sqrt(d_bounds[0]), np.sqrt(d_bounds[1]), n_d)
    d, p = root**2, np.geomspace(p_bounds[0], p_bounds[1], n_p)
    e1, e2 = np.exp(-np.outer(d, b)), np.exp(-np.outer(p, b))
    low, high = f_bounds
    g11, g12, g22 = (e1 * e1).sum(1)[:, None], e1 @ e2.T, (e2 * e2).sum(1)[None, :]
    # the edges of the cone as columns u (f = low) and v (f = high) of unit length
    uu = (1 - low) ** 2 * g11 + 2 * (1 - low) * low * g12 + low**2 * g22
    vv = (1 - high) ** 2 * g11 + 2 * (1 - high) * high * g12 + high**2 * g22
    uv = (1 - low) * (1 - high) * g11 + ((1 - low) * high + low * (1 - high)) * g12 + low * high * g22
    cosine = uv / np.sqrt(uu * vv)
    apart = np.where(cosine < 1 - 1e-5, 1 / np.maximum(1 - cosine**2, 1e-9), 0.0)  # too close to tell: one column
    pairs = np.stack(np.broadcast_arrays((1 - low) / np.sqrt(uu), low / np.sqrt(uu), (1 - high) / np.sqrt(vv), high / np.sqrt(vv), cosine, apart), axis=-1)  # fmt: skip
    pairs = pairs.transpose(1, 0, 2)  # (p, d, 6)
    return StartTable(*(np.ascontiguousarray(array, dtype=np.float32) for array in (d, p, e1, e2, pairs)))


@njit(**LANE_JIT)
def _products(w, columns, sums):
    """sums[j // 4, j % 4, lane] = Σ_b columns[j, b] · signal[b, lane], for a multiple of four columns."""
    for group in range(len(columns) // 4):
        row = sums[group]
        for l in range(4 * L):
            row[l] = ZERO
        for i in range(len(w)):
            y = w[i]
            c0, c1 = columns[4 * group, i], columns[4 * group + 1, i]
            c2, c3 = columns[4 * group + 2, i], columns[4 * group + 3, i]
            for l in range(L):
                row[l] += c0 * y[l]
                row[L + l] += c1 * y[l]
                row[2 * L + l] += c2 * y[l]
                row[3 * L + l] += c3 * y[l]


@njit(**LANE_JIT)
def _explained(y1, y2, u1, u2, v1, v2, cosine, apart):
    """Part of Σ y² that one pair explains with its best amplitudes in the cone of f."""
    u = u1 * y1 + u2 * y2
    v = v1 * y1 + v2 * y2
    s = u - cosine * v
    t = v - cosine * u
    edge = max(max(u, v), ZERO)
    return u * u + t * t * apart if (s > ZERO) & (t > ZERO) else edge * edge


@njit(**LANE_JIT)
def _profile(table, sums1, sums2, gain, partner):
    """For each D* of the table and each lane: the Σ y² that its best pair explains, and the D of that pair.

    Four D at a time: with 16 lanes in one register a loop over lanes is one pass, and its set-up would cost more.
    """
    d = table.d
    for k in range(len(table.p)):
        y2 = sums2[k]
        top = gain[k + 1]
        partner_k = partner[k + 1]
        for l in range(L):
            top[l] = -ONE
            partner_k[l] = ZERO
        for group in range(len(d) // 4):
            y1 = sums1[group]
            d0, d1, d2, d3 = d[4 * group], d[4 * group + 1], d[4 * group + 2], d[4 * group + 3]
            a0, a1, a2, a3, a4, a5 = table.pairs[k, 4 * group]
            b0, b1, b2, b3, b4, b5 = table.pairs[k, 4 * group + 1]
            c0, c1, c2, c3, c4, c5 = table.pairs[k, 4 * group + 2]
            e0, e1, e2, e3, e4, e5 = table.pairs[k, 4 * group + 3]
            for l in range(L):
                g0 = _explained(y1[l], y2[l], a0, a1, a2, a3, a4, a5)
                g1 = _explained(y1[L + l], y2[l], b0, b1, b2, b3, b4, b5)
                g2 = _explained(y1[2 * L + l], y2[l], c0, c1, c2, c3, c4, c5)
                g3 = _explained(y1[3 * L + l], y2[l], e0, e1, e2, e3, e4, e5)
                left, right = max(g0, g1), max(g2, g3)
                d_left = d1 if g1 > g0 else d0
                d_right = d3 if g3 > g2 else d2
                best = max(left, right)
                d_best = d_right if right > left else d_left
                partner_k[l] = d_best if best > top[l] else partner_k[l]
                top[l] = max(best, top[l])


@njit(**LANE_JIT)
def _peaks(table, gain, partner, t, starts):
    """The STARTS highest local maxima of `gain` over D*, highest first: starts (2 · STARTS, LANES) as D, D* pairs."""
    for k in range(STARTS * L):
        t[k] = -ONE
    starts[:] = ZERO
    for k in range(1, len(table.p) + 1):
        p = table.p[k - 1]
        before, here, after, d_here = gain[k - 1], gain[k], gain[k + 1], partner[k]
        for l in range(L):
            g = here[l] if (here[l] >= before[l]) & (here[l] > after[l]) else -ONE
            first, second, third = g > t[l], g > t[L + l], g > t[2 * L + l]
            d = d_here[l]
            t[2 * L + l] = t[L + l] if second else (g if third else t[2 * L + l])
            starts[4, l] = starts[2, l] if second else (d if third else starts[4, l])
            starts[5, l] = starts[3, l] if second else (p if third else starts[5, l])
            t[L + l] = t[l] if first else (g if second else t[L + l])
            starts[2, l] = starts[0, l] if first else (d if second else starts[2, l])
            starts[3, l] = starts[1, l] if first else (p if second else starts[3, l])
            t[l] = g if first else t[l]
            starts[0, l] = d if first else starts[0, l]
            starts[1, l] = p if first else starts[1, l]


@njit(**JIT)
def find_starts(signals, scale, table, starts):
    """starts (voxel, 2 · STARTS): up to three (D, D*) pairs [µm²/ms] per voxel, the most promising first; 0 for none."""
    w = np.empty((signals.shape[1], L), np.float32)
    sums1 = np.empty((len(table.d) // 4, 4 * L), np.float32)
    sums2 = np.empty((len(table.p) // 4, 4 * L), np.float32)
    gain = np.full((len(table.p) + 2, L), np.float32(-2.0))  # a row before and after: ends can be maxima
    partner = np.zeros((len(table.p) + 2, L), np.float32)
    t = np.empty(STARTS * L, np.float32)
    found = np.empty((2 * STARTS, L), np.float32)
    for first in range(0, len(signals), L):
        size = min(L, len(signals) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, signals, v, scale[v])
        _products(w, table.e1, sums1)
        _products(w, table.e2, sums2)
        _profile(table, sums1, sums2.reshape(len(table.p), L), gain, partner)
        _peaks(table, gain, partner, t, found)
        for lane in range(size):
            for k in range(2 * STARTS):
                starts[first + lane, k] = found[k, lane]
