"""Starting points for the fit with kurtosis: the best of a table of (D, K) for every D*, in lanes.

For every node (D, K) and every D* of the table the signal is projected on the two columns. The best node at each D* makes a
profile along D*, whose two highest local maxima are the starts (`numerics.starting`).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.scaling import load_scaled
from ivimsc.numerics.starting import PEAK_LANES, find_peaks, pair_gain, products

__all__ = ["StartTable", "find_starts", "make_start_table"]

L = LANES
ONE, ZERO = np.float32(1.0), np.float32(0.0)
N_D, N_K, N_P = 20, 4, 16  # D, K and D* of the table; N_D · N_K and N_P are multiples of four
PAIR = np.dtype([(name, np.float32) for name in ("r", "apart", "i1", "i2", "u1", "u2", "v1", "v2")])
CLOSE = 1e-6  # a column that the other explains but for this part (10 float32 epsilons) is the same


class StartTable(NamedTuple):
    """Columns of the grid, of unit length and weighted as the signal is, in ms/µm² and µm²/ms."""

    tissue: NDArray[np.float32]  # (node, b)
    blood: NDArray[np.float32]  # (p, b)
    d: NDArray[np.float32]  # (node,): D
    k: NDArray[np.float32]  # (node,): K
    p: NDArray[np.float32]  # (p,): D*
    pairs: NDArray  # (p, node) of PAIR: see `pair_gain`


def make_start_table(b, root, box, k_bounds, turn) -> StartTable:
    """The table for one protocol.

    Parameters
    ----------
    b, root : (b,) float64
        b-values [ms/µm²], and the square roots of their weights.
    box : Box
        Bounds of f, D and D* [µm²/ms].
    k_bounds : (float, float)
        Bounds of K.
    turn : float
        The largest D K [µm²/ms] for which the exponent does not turn up.
    """
    d = np.repeat(np.linspace(box.d_low, box.d_high, N_D), N_K)
    highest = np.minimum(k_bounds[1], turn / np.maximum(d, 1e-6))
    k = k_bounds[0] + np.tile(np.linspace(0, 1, N_K), N_D) * (highest - k_bounds[0])
    p = np.geomspace(box.p_low, box.p_high, N_P if box.p_high > box.p_low else 4)
    tissue = root * np.exp(-np.outer(d, b) + np.outer(d * d * k / 6, b * b))
    blood = root * np.exp(-np.outer(p, b))
    length1, length2 = np.linalg.norm(tissue, axis=1), np.linalg.norm(blood, axis=1)
    tissue, blood = tissue / length1[:, None], blood / length2[:, None]
    r = blood @ tissue.T  # (p, node)
    apart = np.where(1 - r * r > CLOSE, 1 / np.maximum(1 - r * r, CLOSE), 0.0)
    pairs = np.empty(r.shape, PAIR)
    columns = [r, apart, np.broadcast_to(1 / length1, r.shape), np.broadcast_to(1 / length2[:, None], r.shape)]
    for f in (box.f_low, box.f_high):
        one, other = (1 - f) * length1, f * length2[:, None]
        norm = np.sqrt(one**2 + 2 * r * one * other + other**2)
        columns += [one / norm, other / norm]
    for name, column in zip(PAIR.names, columns, strict=True):
        pairs[name] = column
    return StartTable(*(np.ascontiguousarray(a, np.float32) for a in (tissue, blood, d, k, p)), pairs)


@njit(**LANE_JIT)
def _pair_at(pairs, k, j):
    """Pair of the D* number `k` and the node `j`, in registers."""
    pair = pairs[k, j]
    return pair["r"], pair["apart"], pair["i1"], pair["i2"], pair["u1"], pair["u2"], pair["v1"], pair["v2"]


@njit(**LANE_JIT)
def _profile(table, box, sums1, sums2, gain, partner):
    """For each D* of the table and each lane: the Σ y² that its best node explains, and the number of that node."""
    f_low, f_high = box.f_low, box.f_high
    for k in range(len(table.p)):
        s2, top, best = sums2[k], gain[k + 1], partner[k + 1]
        for l in range(L):
            top[l] = -ONE
            best[l] = ZERO
        for j in range(len(table.d)):
            s1, pair, number = sums1[j], _pair_at(table.pairs, k, j), np.float32(j)
            for l in range(L):
                here = pair_gain(s1[l], s2[l], pair, f_low, f_high)
                best[l] = number if here > top[l] else best[l]
                top[l] = max(here, top[l])


@njit(**JIT)
def find_starts(signals, scale, table, problem, starts):
    """Find up to two starts (D, K, D*) for each of the signals (voxel, b), whose scale (voxel,) is 0 where they are bad."""
    n, n_p = len(table.d), len(table.p)
    w = np.empty((signals.shape[1], L), np.float32)
    sums1, sums2 = np.empty((n // 4, 4 * L), np.float32), np.empty((n_p // 4, 4 * L), np.float32)
    gain = np.full((n_p + 2, L), np.float32(-2.0))  # a row before and after: the ends can be maxima
    partner = np.zeros((n_p + 2, L), np.float32)
    lanes = np.empty(1, PEAK_LANES)
    t = lanes[0]
    for first in range(0, len(signals), L):
        size = min(L, len(signals) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, signals, v, scale[v], problem.root)
        products(w, table.tissue, sums1)
        products(w, table.blood, sums2)
        _profile(table, problem.box, sums1.reshape(n, L), sums2.reshape(n_p, L), gain, partner)
        find_peaks(table.p, gain, partner, lanes)
        for lane in range(size):
            v, one, other = first + lane, int(t.d1[lane]), int(t.d2[lane])
            starts.x1[v, 0], starts.x2[v, 0], starts.x3[v, 0] = table.d[one], table.k[one], t.p1[lane]
            starts.x1[v, 1], starts.x2[v, 1], starts.x3[v, 1] = table.d[other], table.k[other], t.p2[lane]
            starts.there[v, 1] = t.p2[lane] > 0
