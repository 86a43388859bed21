"""Starting points for bi-exponential least squares: the best pairs of a small table of (D, D*), in lanes.

For every pair (D_j, D*_k) of a grid the signal is projected on three columns: exp(-b D_j), its slope along D, and
exp(-b D*_k). The slope lets D move freely by half of a grid step, so that a grid of eight D is as good as one of eighty:
without it, the error of the grid in D outweighs the small differences between the basins along D*. What a pair explains
of Σ y² needs only the products of the signal with the grid's columns, shared by all pairs. Noise makes the cost
multimodal along D*, so the two best local optima of the profile over D* (its best D at each D*) are the starts.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.scaling import load_scaled

__all__ = ["STARTS", "StartTable", "explained", "find_starts", "insert_peak", "make_start_table"]

L = LANES
ZERO, ONE = np.float32(0.0), np.float32(1.0)
STARTS = 2  # measured on 20,000 voxels of four kinds: a third start helped none
CLOSE = 1e-6  # a column that the others explain but for this part (10 float32 epsilons) is left out


class StartTable(NamedTuple):
    """Columns and coefficients of the grid, in ms/µm² and µm²/ms.

    q1, q2 (d, b): exp(-b D) of unit length, and its slope made orthogonal to it; e2 (p, b): exp(-b D*) of unit length;
    nodes (d, 5): D, half step, factors k1, k2 that turn coefficients into a shift of D, 1 / |exp(-b D)|;
    p (p, 2): D*, 1 / |exp(-b D*)|; pairs (p, d, 7): cosines of e2 with q1 and q2, 1 / (part of e2 left by them), and
    the unit columns of the two edges of the cone of f.
    """

    q1: NDArray[np.float32]
    q2: NDArray[np.float32]
    e2: NDArray[np.float32]
    nodes: NDArray[np.float32]
    p: NDArray[np.float32]
    pairs: NDArray[np.float32]
    f_bounds: tuple[np.float32, np.float32]


def make_start_table(b, d_bounds, p_bounds, f_bounds, n_p: int = 16) -> StartTable:
    """Table for b (b,) [ms/µm²] and bounds of D, D* [µm²/ms] and f."""
    n_d = 8 if max(b) * (d_bounds[1] - d_bounds[0]) <= 3 else 12  # steps of b D of at most 0.4 up to b D = 5
    d, p = np.linspace(*d_bounds, n_d), np.geomspace(*p_bounds, n_p)
    e1, e2 = np.exp(-np.outer(d, b)), np.exp(-np.outer(p, b))
    slope = -b * e1
    length1, length2 = np.linalg.norm(e1, axis=1), np.linalg.norm(e2, axis=1)
    q1, e2 = e1 / length1[:, None], e2 / length2[:, None]
    along = (slope * q1).sum(1)
    rest = slope - along[:, None] * q1
    length = np.linalg.norm(rest, axis=1)
    q2 = rest / length[:, None]
    half_step = np.full(n_d, 0.6 * (d[1] - d[0]))  # neighbours overlap by a fifth
    nodes = np.stack([d, half_step, length1 / length, along / length, 1 / length1], axis=1)
    r1, r2 = e2 @ q1.T, e2 @ q2.T  # (p, d)
    left = 1 - r1**2 - r2**2
    apart = np.where(left > CLOSE, 1 / np.maximum(left, CLOSE), 0.0)
    edges = []
    for f in f_bounds:
        norm = np.sqrt((1 - f) ** 2 * length1**2 + 2 * f * (1 - f) * r1 * np.outer(length2, length1) + np.outer(f * length2, np.ones(n_d)) ** 2)  # fmt: skip
        edges += [(1 - f) * length1 / norm, f * length2[:, None] / norm]
    pairs = np.stack(np.broadcast_arrays(r1, r2, apart, *edges), axis=-1)
    arrays = (q1, q2, e2, nodes, np.stack([p, 1 / length2], axis=1), pairs)
    return StartTable(*(np.ascontiguousarray(a, dtype=np.float32) for a in arrays), tuple(np.float32(f_bounds)))


@njit(**LANE_JIT)
def _products(w, columns, sums):
    """Sums (column, lane) = Σ_b columns[column, b] · signal[b, lane], four columns at a time."""
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
def explained(s1, s2, y2, node, p_inverse, pair, f_low, f_high):
    """(Part of Σ y² that one pair explains, the D where it does), for the products of a signal with q1, q2 and e2."""
    d, half_step, k1, k2, d_inverse = node
    r1, r2, apart, u1, u2, v1, v2 = pair
    t = max(y2 - r1 * s1 - r2 * s2, ZERO)
    blood = t * apart
    along = s2 - r2 * blood
    tissue = s1 - r1 * blood - k2 * along  # times |exp(-b D)|: coefficient of the tissue
    shift = k1 * along  # times the same: coefficient of the slope
    a, c = tissue * d_inverse, blood * p_inverse
    total = a + c
    valid = (abs(shift) <= half_step * tissue) & (c >= f_low * total) & (c <= f_high * total) & (tissue > ZERO)
    edge = max(max(u1 * s1 + u2 * y2, v1 * s1 + v2 * y2), ZERO)
    gain = s1 * s1 + s2 * s2 + t * blood if valid else edge * edge
    return gain, d + (shift / tissue if valid else ZERO)


@njit(**LANE_JIT)
def _profile(table, sums1, sums2, sums3, gain, partner):
    """For each D* of the table and each lane: the Σ y² that its best D explains, and that D.

    Two D at a time: with 16 lanes in one register a loop over lanes is one pass, and its set-up would cost as much.
    """
    f_low, f_high = table.f_bounds
    for k in range(len(table.p)):
        y2 = sums3[k]
        top = gain[k + 1]
        partner_k = partner[k + 1]
        p_inverse = table.p[k, 1]
        for l in range(L):
            top[l] = -ONE
            partner_k[l] = ZERO
        for j in range(0, len(table.nodes), 2):
            s1, s2 = sums1[j // 2], sums2[j // 2]
            a0, a1, a2, a3, a4 = table.nodes[j]
            b0, b1, b2, b3, b4 = table.nodes[j + 1]
            c0, c1, c2, c3, c4, c5, c6 = table.pairs[k, j]
            e0, e1, e2, e3, e4, e5, e6 = table.pairs[k, j + 1]
            for l in range(L):
                left, d_left = explained(s1[l], s2[l], y2[l], (a0, a1, a2, a3, a4), p_inverse, (c0, c1, c2, c3, c4, c5, c6), f_low, f_high)  # fmt: skip
                right, d_right = explained(s1[L + l], s2[L + l], y2[l], (b0, b1, b2, b3, b4), p_inverse, (e0, e1, e2, e3, e4, e5, e6), f_low, f_high)  # fmt: skip
                best = max(left, right)
                d_best = d_right if right > left else d_left
                partner_k[l] = d_best if best > top[l] else partner_k[l]
                top[l] = max(best, top[l])


@njit(**LANE_JIT)
def insert_peak(peaks, before, here, after, d, p):
    """Peaks (gain, gain, D, D*, D, D*: the two highest, highest first) with the point (d, p) where it is a local maximum."""
    top, next_, d1, p1, d2, p2 = peaks
    g = here if (here >= before) & (here > after) else -ONE
    first, second = g > top, g > next_
    next_ = top if first else max(g, next_)
    d2 = d1 if first else (d if second else d2)
    p2 = p1 if first else (p if second else p2)
    return max(g, top), next_, d if first else d1, p if first else p1, d2, p2


@njit(**LANE_JIT)
def _peaks(p, gain, partner, t, starts):
    """The two highest local maxima of `gain` over D*, highest first: starts (4, LANES): D, D*, D, D*; 0 for none."""
    for l in range(2 * L):
        t[l] = -ONE
    for l in range(4 * L):
        starts[l] = ZERO
    for k in range(1, len(p) + 1):
        p_here = p[k - 1, 0]
        before, here, after, d_here = gain[k - 1], gain[k], gain[k + 1], partner[k]
        for l in range(L):
            peaks = (t[l], t[L + l], starts[l], starts[L + l], starts[2 * L + l], starts[3 * L + l])
            t[l], t[L + l], starts[l], starts[L + l], starts[2 * L + l], starts[3 * L + l] = insert_peak(
                peaks, before[l], here[l], after[l], d_here[l], p_here
            )


@njit(**JIT)
def find_starts(signals, scale, table, d_low, d_high, starts):
    """Starts (voxel, 2 · STARTS): up to two (D, D*) pairs [µm²/ms] per voxel, the more promising first; 0 for none."""
    n_d, n_p = len(table.nodes), len(table.p)
    w = np.empty((signals.shape[1], L), np.float32)
    sums1, sums2 = np.empty((n_d // 4, 4 * L), np.float32), np.empty((n_d // 4, 4 * L), np.float32)
    sums3 = np.empty((n_p // 4, 4 * L), np.float32)
    gain = np.full((n_p + 2, L), np.float32(-2.0))  # a row before and after: the ends can be maxima
    partner = np.zeros((n_p + 2, L), np.float32)
    t = np.empty(2 * L, np.float32)
    found = np.empty(2 * STARTS * L, np.float32)
    for first in range(0, len(signals), L):
        size = min(L, len(signals) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, signals, v, scale[v])
        _products(w, table.q1, sums1)
        _products(w, table.q2, sums2)
        _products(w, table.e2, sums3)
        _profile(
            table, sums1.reshape(n_d // 2, 2 * L), sums2.reshape(n_d // 2, 2 * L), sums3.reshape(n_p, L), gain, partner
        )
        _peaks(table.p, gain, partner, t, found)
        for lane in range(size):
            for k in range(STARTS):
                starts[first + lane, 2 * k] = min(max(found[2 * k * L + lane], d_low), d_high)
                starts[first + lane, 2 * k + 1] = found[(2 * k + 1) * L + lane]
