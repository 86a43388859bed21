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
from ivimsc.numerics.starting import NO_PEAKS, PEAK_LANES, Peaks, find_peaks, insert_peak, products

__all__ = [
    "NO_PEAKS",
    "STARTS",
    "Peaks",
    "StartTable",
    "Starts",
    "explained",
    "find_starts",
    "insert_peak",
    "make_start_table",
    "node_at",
    "pair_at",
]

L = LANES
ZERO, ONE = np.float32(0.0), np.float32(1.0)
STARTS = 2  # measured on 20,000 voxels of four kinds: a third start helped none
CLOSE = 1e-6  # a column that the others explain but for this part (10 float32 epsilons) is left out


class Node(NamedTuple):
    """One D of the table."""

    d: np.float32  # D
    half_step: np.float32  # how far D may move
    k1: np.float32  # the factors that turn coefficients of q1 and q2 into a shift of D
    k2: np.float32
    inverse: np.float32  # 1 / |exp(-b D)|


class Pair(NamedTuple):
    """One pair of D* and D of the table."""

    r1: np.float32  # cosines of e2 with q1 and q2
    r2: np.float32
    apart: np.float32  # 1 / (part of e2 that q1 and q2 do not explain), 0 where they explain all of it
    u1: np.float32  # weights of q1 and e2 in the unit column of the lower edge of the cone of f
    u2: np.float32
    v1: np.float32  # the same for the upper edge
    v2: np.float32


NODE = np.dtype([(name, np.float32) for name in Node._fields])
PAIR = np.dtype([(name, np.float32) for name in Pair._fields])


class StartTable(NamedTuple):
    """Columns and coefficients of the grid, in ms/µm² and µm²/ms."""

    q1: NDArray[np.float32]  # (d, b): exp(-b D), weighted as the signal is, of unit length
    q2: NDArray[np.float32]  # (d, b): its slope along D, made orthogonal to it, of unit length
    e2: NDArray[np.float32]  # (p, b): exp(-b D*) of unit length
    nodes: NDArray  # (d,) of NODE
    p: NDArray[np.float32]  # (p,): D*
    p_inverse: NDArray[np.float32]  # (p,): 1 / |exp(-b D*)|
    pairs: NDArray  # (p, d) of PAIR


class Starts(NamedTuple):
    """Starting points of each voxel (voxel, STARTS), on a GPU (STARTS, voxel): the more promising one first."""

    d: NDArray[np.float32]  # D [µm²/ms]
    p: NDArray[np.float32]  # D* [µm²/ms], 0 where there is no such start


def make_start_table(b, root, d_bounds, p_bounds, f_bounds, n_p: int = 16) -> StartTable:
    """The table for one protocol.

    Parameters
    ----------
    b : (b,) float64
        b-values [ms/µm²].
    root : (b,) float
        What the signal at each b-value is multiplied by: the square root of its weight.
    d_bounds, p_bounds : (float, float)
        Bounds of D and D* [µm²/ms].
    f_bounds : (float, float)
        Bounds of f.
    n_p : int
        Number of D*, a multiple of four.

    Returns
    -------
    StartTable
        In float32.
    """
    n_d = 8 if max(b) * (d_bounds[1] - d_bounds[0]) <= 3 else 12  # steps of b D of at most 0.4 up to b D = 5
    d, p = np.linspace(*d_bounds, n_d), np.geomspace(*p_bounds, n_p)
    e1, e2 = root * np.exp(-np.outer(d, b)), root * np.exp(-np.outer(p, b))
    slope = -b * e1
    length1, length2 = np.linalg.norm(e1, axis=1), np.linalg.norm(e2, axis=1)
    q1, e2 = e1 / length1[:, None], e2 / length2[:, None]
    along = (slope * q1).sum(1)
    rest = slope - along[:, None] * q1
    length = np.linalg.norm(rest, axis=1)
    q2 = rest / length[:, None]
    half_step = np.full(n_d, 0.6 * (d[1] - d[0]))  # neighbours overlap by a fifth
    nodes = _records(NODE, d, half_step, length1 / length, along / length, 1 / length1)
    r1, r2 = e2 @ q1.T, e2 @ q2.T  # (p, d)
    left = 1 - r1**2 - r2**2
    apart = np.where(left > CLOSE, 1 / np.maximum(left, CLOSE), 0.0)
    edges = []
    for f in f_bounds:
        norm = np.sqrt((1 - f) ** 2 * length1**2 + 2 * f * (1 - f) * r1 * np.outer(length2, length1) + np.outer(f * length2, np.ones(n_d)) ** 2)  # fmt: skip
        edges += [(1 - f) * length1 / norm, f * length2[:, None] / norm]
    q1, q2, e2, p, p_inverse = (np.ascontiguousarray(a, dtype=np.float32) for a in (q1, q2, e2, p, 1 / length2))
    return StartTable(q1, q2, e2, nodes, p, p_inverse, _records(PAIR, r1, r2, apart, *edges))


def _records(dtype: np.dtype, *columns) -> NDArray:
    """Arrays of one shape as one array of records."""
    columns = np.broadcast_arrays(*columns)
    records = np.empty(columns[0].shape, dtype)
    for name, column in zip(dtype.names, columns, strict=True):
        records[name] = column
    return records


@njit(**LANE_JIT)
def node_at(nodes, j):
    """`Node` number `j` in registers: a loop over lanes would read a record again for every lane."""
    node = nodes[j]
    return Node(node["d"], node["half_step"], node["k1"], node["k2"], node["inverse"])


@njit(**LANE_JIT)
def pair_at(pairs, k, j):
    """`Pair` of the D* number `k` and the D number `j`, in registers."""
    pair = pairs[k, j]
    return Pair(pair["r1"], pair["r2"], pair["apart"], pair["u1"], pair["u2"], pair["v1"], pair["v2"])


@njit(**LANE_JIT)
def explained(s1, s2, y2, node, p_inverse, pair, f_low, f_high):
    """What one pair (D, D*) explains of a signal.

    Parameters
    ----------
    s1, s2, y2 : float32
        Products of the signal with q1, q2 and e2.
    node : Node
        The pair's D.
    p_inverse : float32
        1 / |exp(-b D*)|.
    pair : Pair
        The coefficients of the pair.
    f_low, f_high : float32
        Bounds of f.

    Returns
    -------
    gain : float32
        The part of Σ y² that the pair explains.
    d : float32
        The D near the node where it does.
    """
    t = max(y2 - pair.r1 * s1 - pair.r2 * s2, ZERO)
    blood = t * pair.apart
    along = s2 - pair.r2 * blood
    tissue = s1 - pair.r1 * blood - node.k2 * along  # times |exp(-b D)|: coefficient of the tissue
    shift = node.k1 * along  # times the same: coefficient of the slope
    a, c = tissue * node.inverse, blood * p_inverse
    total = a + c
    valid = (abs(shift) <= node.half_step * tissue) & (c >= f_low * total) & (c <= f_high * total) & (tissue > ZERO)
    edge = max(max(pair.u1 * s1 + pair.u2 * y2, pair.v1 * s1 + pair.v2 * y2), ZERO)
    gain = s1 * s1 + s2 * s2 + t * blood if valid else edge * edge
    return gain, node.d + (shift / tissue if valid else ZERO)


@njit(**LANE_JIT)
def _profile(table, box, sums1, sums2, sums3, gain, partner):
    """For each D* of the table and each lane: the Σ y² that its best D explains, and that D.

    Two D at a time: with 16 lanes in one register a loop over lanes is one pass, and its set-up would cost as much.
    """
    f_low, f_high = box.f_low, box.f_high
    for k in range(len(table.p)):
        y2 = sums3[k]
        top = gain[k + 1]
        partner_k = partner[k + 1]
        p_inverse = table.p_inverse[k]
        for l in range(L):
            top[l] = -ONE
            partner_k[l] = ZERO
        for j in range(0, len(table.nodes), 2):
            s1, s2 = sums1[j // 2], sums2[j // 2]
            node, next_node = node_at(table.nodes, j), node_at(table.nodes, j + 1)
            pair, next_pair = pair_at(table.pairs, k, j), pair_at(table.pairs, k, j + 1)
            for l in range(L):
                left, d_left = explained(s1[l], s2[l], y2[l], node, p_inverse, pair, f_low, f_high)
                right, d_right = explained(s1[L + l], s2[L + l], y2[l], next_node, p_inverse, next_pair, f_low, f_high)
                best = max(left, right)
                d_best = d_right if right > left else d_left
                partner_k[l] = d_best if best > top[l] else partner_k[l]
                top[l] = max(best, top[l])


@njit(**JIT)
def find_starts(signals, scale, table, problem, starts):
    """Find up to two `Starts` for each of the signals (voxel, b), whose scale (voxel,) is 0 where they are bad."""
    n_d, n_p, box = len(table.nodes), len(table.p), problem.box
    w = np.empty((signals.shape[1], L), np.float32)
    sums1, sums2 = np.empty((n_d // 4, 4 * L), np.float32), np.empty((n_d // 4, 4 * L), np.float32)
    sums3 = np.empty((n_p // 4, 4 * L), np.float32)
    gain = np.full((n_p + 2, L), np.float32(-2.0))  # a row before and after: the ends can be maxima
    partner = np.zeros((n_p + 2, L), np.float32)
    lanes = np.empty(1, PEAK_LANES)
    t = lanes[0]
    for first in range(0, len(signals), L):
        size = min(L, len(signals) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, signals, v, scale[v], problem.root)
        products(w, table.q1, sums1)
        products(w, table.q2, sums2)
        products(w, table.e2, sums3)
        pairs1, pairs2 = sums1.reshape(n_d // 2, 2 * L), sums2.reshape(n_d // 2, 2 * L)
        _profile(table, box, pairs1, pairs2, sums3.reshape(n_p, L), gain, partner)
        find_peaks(table.p, gain, partner, lanes)
        for lane in range(size):
            v = first + lane
            starts.d[v, 0], starts.p[v, 0] = min(max(t.d1[lane], box.d_low), box.d_high), t.p1[lane]
            starts.d[v, 1], starts.p[v, 1] = min(max(t.d2[lane], box.d_low), box.d_high), t.p2[lane]
