"""Least squares of one exponential, a exp(-b D) with a >= 0, in lanes: a grid of D, then Newton steps in its bracket."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32

__all__ = [
    "NEWTON_STEPS",
    "DecayGrid",
    "decay_amplitude",
    "fit_decay",
    "into_cone",
    "line_at_zero",
    "make_decay_grid",
    "newton_rate",
]

L = LANES
ZERO, ONE, TINY = np.float32(0.0), np.float32(1.0), np.float32(1e-30)
NEWTON_STEPS = 6  # quadratic from a bracket of a 32nd of the range; four already reach float32 (test_segmented)


class DecayGrid(NamedTuple):
    """b (b,) [ms/µm²] and nodes (n,) [µm²/ms] with the unit vectors along exp(-b node), columns (n, b)."""

    b: NDArray[np.float32]
    nodes: NDArray[np.float32]
    columns: NDArray[np.float32]


def make_decay_grid(b, low: float, high: float, logarithmic: bool, n: int = 32) -> DecayGrid:
    """Grid of `n` rates in low..high [µm²/ms] for b [ms/µm²]."""
    nodes = np.geomspace(low, high, n) if logarithmic else np.linspace(low, high, n)
    columns = np.exp(-np.outer(nodes, b))
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    return DecayGrid(*(np.ascontiguousarray(a, dtype=np.float32) for a in (b, nodes, columns)))


@njit(**LANE_JIT)
def _bracket(w, grid, t, rate, low, high):
    """Best node of the grid into `rate`, its neighbours into `low` and `high`; t (2, LANES) is scratch."""
    best, product = t[0], t[1]
    nodes = grid.nodes
    for l in range(L):
        best[l] = -ONE
    for j in range(len(nodes)):
        for l in range(L):
            product[l] = ZERO
        for i in range(len(w)):
            y = w[i]
            c = grid.columns[j, i]
            for l in range(L):
                product[l] += c * y[l]
        here, before, after = nodes[j], nodes[max(j - 1, 0)], nodes[min(j + 1, len(nodes) - 1)]
        for l in range(L):
            better = product[l] > best[l]
            best[l] = product[l] if better else best[l]
            rate[l] = here if better else rate[l]
            low[l] = before if better else low[l]
            high[l] = after if better else high[l]


@njit(**LANE_JIT)
def decay_amplitude(y, g):
    """Best amplitude >= 0 for Σ y e = y and Σ e e = g."""
    return max(y, ZERO) / max(g, TINY)


@njit(**LANE_JIT)
def newton_rate(rate, a, weighted, first, second, low, high):
    """One Newton step of the projected cost along the rate, kept in low..high.

    a: amplitude; weighted: Σ e e, b e e, b² e e; first, second: Σ b e r, b² e r.
    """
    g, bg, bbg = weighted
    mixed = first - a * bg
    curvature = a * a * bbg - a * second - mixed * mixed / max(g, TINY)
    fallback = a * a * bbg - a * a * bg * bg / max(g, TINY)  # Gauss-Newton, never negative
    step = a * first / max(curvature if curvature > ZERO else fallback, TINY)
    return min(max(rate - step, low), high)


@njit(**LANE_JIT)
def _amplitude(w, b, rate, amplitude, t):
    """Best amplitude at `rate`, and the sums of e e, b e e, b² e e into t[0..2]."""
    for k in range(4):
        row = t[k]
        for l in range(L):
            row[l] = ZERO
    g, a, bb, y1 = t[0], t[1], t[2], t[3]
    for i in range(len(w)):
        y = w[i]
        bi = b[i]
        for l in range(L):
            e = exp32(-bi * rate[l])
            y1[l] += y[l] * e
            g[l] += e * e
            a[l] += bi * e * e
            bb[l] += bi * bi * e * e
    for l in range(L):
        amplitude[l] = decay_amplitude(y1[l], g[l])


@njit(**LANE_JIT)
def _newton(w, b, rate, amplitude, low, high, t):
    """One Newton step of the projected cost along the rate, kept in low..high."""
    first, second = t[3], t[4]
    for l in range(L):
        first[l] = ZERO
        second[l] = ZERO
    for i in range(len(w)):
        y = w[i]
        bi = b[i]
        for l in range(L):
            e = exp32(-bi * rate[l])
            r = bi * e * (y[l] - amplitude[l] * e)
            first[l] += r
            second[l] += bi * r
    for l in range(L):
        weighted = (t[0, l], t[1, l], t[2, l])
        rate[l] = newton_rate(rate[l], amplitude[l], weighted, first[l], second[l], low[l], high[l])


@njit(**LANE_JIT)
def fit_decay(w, grid, rate, amplitude, t):
    """Fit a exp(-b rate) to 16 signals w (b, LANES); t (7, LANES) is scratch. Amplitude 0 where a decay does not help."""
    low, high = t[5], t[6]
    _bracket(w, grid, t, rate, low, high)
    for _ in range(NEWTON_STEPS):
        _amplitude(w, grid.b, rate, amplitude, t)
        _newton(w, grid.b, rate, amplitude, low, high, t)
    _amplitude(w, grid.b, rate, amplitude, t)


@njit(**JIT)
def line_at_zero(y, b):
    """exp() of the straight line through the logarithms of a signal y (b,), at b = 0; NaN where one is not positive."""
    n = len(b)
    mean_b, mean_y = 0.0, 0.0
    for i in range(n):
        if not y[i] > 0:
            return np.float32(np.nan)
        mean_b += b[i] / n
        mean_y += math.log(y[i]) / n
    above, below = 0.0, 0.0
    for i in range(n):
        above += (b[i] - mean_b) * (math.log(y[i]) - mean_y)
        below += (b[i] - mean_b) ** 2
    return np.float32(math.exp(mean_y - above / below * mean_b))


@njit(**JIT)
def into_cone(tissue, blood, f_low, f_high):
    """The amplitude of blood, brought to a fraction of the total in f_low..f_high."""
    most = min(f_high, np.float32(1.0 - 1e-6))
    blood = max(blood, tissue * f_low / (ONE - f_low))
    return min(blood, tissue * most / (ONE - most)) if tissue > 0 else blood
