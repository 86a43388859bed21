"""Least squares of one exponential, a exp(-b D) with a >= 0, in lanes: a grid of D, then Newton steps in its bracket."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32

__all__ = [
    "DECAY_LANES",
    "NEWTON_STEPS",
    "Decay",
    "DecayGrid",
    "Weighted",
    "decay_amplitude",
    "fit_decay",
    "intercept_weights",
    "into_cone",
    "line_at_zero",
    "make_decay_grid",
    "newton_rate",
]

L = LANES
ZERO, ONE, TINY = np.float32(0.0), np.float32(1.0), np.float32(1e-30)
NEWTON_STEPS = 6  # quadratic from a bracket of a 32nd of the range; four already reach float32


class DecayGrid(NamedTuple):
    """b (b,) [ms/µm²], root (b,) of the weights, nodes (n,) [µm²/ms], and unit vectors along root · exp(-b node), (n, b)."""

    b: NDArray[np.float32]
    root: NDArray[np.float32]
    nodes: NDArray[np.float32]
    columns: NDArray[np.float32]


class Decay(NamedTuple):
    """The exponential that fits best: a number for one voxel, an array (LANES,) for lanes."""

    rate: NDArray[np.float32]  # [µm²/ms]
    amplitude: NDArray[np.float32]


class Weighted(NamedTuple):
    """Sums over b of e = exp(-b rate), squared."""

    g: np.float32  # Σ e e
    bg: np.float32  # Σ b e e
    bbg: np.float32  # Σ b² e e


# Scratch memory of `fit_decay`: for each name, one number per lane.
DECAY_LANES = np.dtype(
    [
        (name, np.float32, (LANES,))
        for name in (
            *("best", "product", "low", "high"),  # largest product with a node, that of this node, the bracket
            *("total", *Weighted._fields, "first", "second"),  # Σ y e, squares, Σ b e r, Σ b² e r
        )
    ]
)


def make_decay_grid(b, root, low: float, high: float, n: int = 32) -> DecayGrid:
    """The grid from which `fit_decay` starts.

    Parameters
    ----------
    b : (b,) float
        b-values of the segment [ms/µm²].
    root : (b,) float
        Roots of the weights.
    low, high : float
        Bounds of the rate [µm²/ms].
    n : int
        Number of nodes.

    Returns
    -------
    DecayGrid
        In float32.
    """
    nodes = np.linspace(low, high, n)
    columns = root * np.exp(-np.outer(nodes, b))
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    return DecayGrid(*(np.ascontiguousarray(a, dtype=np.float32) for a in (b, root, nodes, columns)))


@njit(**LANE_JIT)
def _bracket(w, grid, rate, lanes):
    """Best node of the grid into `rate`, its neighbours into `low` and `high` of the scratch."""
    t = lanes[0]
    best, product, low, high = t.best, t.product, t.low, t.high
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
def newton_rate(decay, weighted, first, second, low, high):
    """One Newton step along the rate of a `Decay`, of the cost with the amplitude projected out.

    Parameters
    ----------
    decay : Decay
        Where the step starts.
    weighted : Weighted
        The sums there.
    first, second : float32
        Σ b e r and Σ b² e r, where r are the residuals.
    low, high : float32
        The bracket of the rate.

    Returns
    -------
    float32
        The new rate, inside the bracket.
    """
    a = decay.amplitude
    g, bg, bbg = weighted
    mixed = first - a * bg
    curvature = a * a * bbg - a * second - mixed * mixed / max(g, TINY)
    fallback = a * a * bbg - a * a * bg * bg / max(g, TINY)  # Gauss-Newton, never negative
    step = a * first / max(curvature if curvature > ZERO else fallback, TINY)
    return min(max(decay.rate - step, low), high)


@njit(**LANE_JIT)
def _amplitude(w, grid, decay, lanes):
    """Best amplitude at the rate, and the sums `Weighted` into the scratch."""
    t = lanes[0]
    rate, amplitude = decay
    total, g, bg, bbg = t.total, t.g, t.bg, t.bbg
    for l in range(L):
        total[l], g[l], bg[l], bbg[l] = ZERO, ZERO, ZERO, ZERO
    for i in range(len(w)):
        y = w[i]
        bi, weight = grid.b[i], grid.root[i]
        for l in range(L):
            e = weight * exp32(-bi * rate[l])
            y[L + l] = e
            total[l] += y[l] * e
            g[l] += e * e
            bg[l] += bi * e * e
            bbg[l] += bi * bi * e * e
    for l in range(L):
        amplitude[l] = decay_amplitude(total[l], g[l])


@njit(**LANE_JIT)
def _newton(w, grid, decay, lanes):
    """`newton_rate` of all lanes."""
    t = lanes[0]
    rate, amplitude = decay
    first, second = t.first, t.second
    for l in range(L):
        first[l] = ZERO
        second[l] = ZERO
    for i in range(len(w)):
        y = w[i]
        bi = grid.b[i]
        for l in range(L):
            e = y[L + l]
            r = bi * e * (y[l] - amplitude[l] * e)
            first[l] += r
            second[l] += bi * r
    g, bg, bbg, low, high = t.g, t.bg, t.bbg, t.low, t.high
    for l in range(L):
        weighted = Weighted(g[l], bg[l], bbg[l])
        here = Decay(rate[l], amplitude[l])
        rate[l] = newton_rate(here, weighted, first[l], second[l], low[l], high[l])


@njit(**LANE_JIT)
def fit_decay(w, grid, decay, lanes):
    """Fit amplitude · exp(-b rate) to 16 signals; the amplitude is 0 where no decay helps.

    Parameters
    ----------
    w : (b, 2 · LANES) float32
        The signals, times the roots of the weights; receives the exponentials behind them.
    grid : DecayGrid
        Where to start.
    decay : Decay
        Receives the fit, (LANES,) each.
    lanes : (1,) array of DECAY_LANES
        Scratch.
    """
    _bracket(w, grid, decay.rate, lanes)
    for _ in range(NEWTON_STEPS):
        _amplitude(w, grid, decay, lanes)
        _newton(w, grid, decay, lanes)
    _amplitude(w, grid, decay, lanes)


def intercept_weights(b, weights) -> NDArray[np.float64]:
    """What the values at each b-value (b,) count in the intercept, at b = 0, of the weighted straight line through them."""
    total, mean = np.sum(weights), np.sum(weights * b) / np.sum(weights)
    return weights / total - mean * weights * (b - mean) / np.sum(weights * (b - mean) ** 2)


@njit(**JIT)
def line_at_zero(y, root, line):
    """exp() of the line through the logarithms of a signal y / root (b,), at b = 0; NaN where one is not positive.

    line (b,) are the `intercept_weights`.
    """
    logarithm = 0.0
    for i in range(len(line)):
        if not y[i] > 0:
            return np.float32(np.nan)
        logarithm += line[i] * math.log(y[i] / root[i])
    return np.float32(math.exp(logarithm))


@njit(**JIT)
def into_cone(tissue, blood, f_low, f_high):
    """The amplitude of blood, brought to a fraction of the total in f_low..f_high."""
    most = min(f_high, np.float32(1.0 - 1e-6))
    blood = max(blood, tissue * f_low / (ONE - f_low))
    return min(blood, tissue * most / (ONE - most)) if tissue > 0 else blood
