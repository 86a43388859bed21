"""The second step: D is known, and the two amplitudes and D* are fitted to all signals, in lanes.

Only D* needs a search: a grid of D* gives the best node, and Newton steps along log D* finish it between the neighbours
of that node. The amplitudes are projected out (`numerics.variable_projection`).
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.variable_projection import (
    FLOOR,
    Amplitudes,
    Products,
    Residuals,
    add_products,
    add_residual,
    best_amplitudes,
    corrected,
    slopes,
)

__all__ = ["BLOOD_LANES", "BLOOD_STEPS", "BloodGrid", "explained", "fit_blood", "make_blood_grid", "next_p"]

L = LANES
ZERO, ONE = np.float32(0.0), np.float32(1.0)
BLOOD_STEPS = 4  # quadratic from a bracket of an eighth of the logarithmic range

NO_PRODUCTS = Products(*(ZERO for _ in Products._fields))
NO_RESIDUALS = Residuals(*(ZERO for _ in Residuals._fields))


class BloodGrid(NamedTuple):
    """nodes (n,) [µm²/ms] with exp(-b node) times the roots of the weights, columns (n, b), and Σ columns², squares (n,)."""

    nodes: NDArray[np.float32]
    columns: NDArray[np.float32]
    squares: NDArray[np.float32]


USED = ("g11", "g12", "g22", "a12", "a22", "b22", "y1", "y2")  # of `Products`: those that a step along D* needs
LEFT = ("r1", "r2", "rb2", "rbb2")  # of `Residuals`

# Scratch of `fit_blood`: for each name, one number per lane. The caller fills d, and reads p, tissue and blood.
BLOOD_LANES = np.dtype(
    [
        (name, np.float32, (LANES,))
        for name in ("d", "p", "tissue", "blood", "best", "low", "high", *USED, *LEFT, "m11", "m12", "m22")
    ]
)


def make_blood_grid(b, root, low: float, high: float, n: int = 16) -> BloodGrid:
    """The grid from which `fit_blood` starts, in float32.

    Parameters
    ----------
    b : (b,) float
        b-values [ms/µm²].
    root : (b,) float
        Roots of the weights.
    low, high : float
        Bounds of D* [µm²/ms].
    n : int
        Number of nodes, at equal ratios.
    """
    nodes = np.geomspace(low, high, n)
    nodes[0], nodes[-1] = low, high
    columns = root * np.exp(-np.outer(nodes, b))
    squares = (columns * columns).sum(1)
    return BloodGrid(*(np.ascontiguousarray(a, dtype=np.float32) for a in (nodes, columns, squares)))


@njit(**LANE_JIT)
def explained(g11, g12, g22, y2, alone):
    """The part of Σ y² that a column of blood (g12, g22, y2) explains, with an amplitude >= 0, beside that of the tissue.

    `alone` is y1 / g11, the amplitude of the tissue without blood. Of the bounds of f only f >= 0 counts here.
    """
    left = max(g22 - g12 * g12 / g11, FLOOR * g22)
    product = max(y2 - g12 * alone, ZERO)
    return product * product / left


@njit(**LANE_JIT)
def next_p(p, slope, low, high):
    """D* after one Newton step along its logarithm, inside its bracket; Gauss-Newton where the cost bends down."""
    bend = slope.hpp if slope.hpp > np.float32(1e-3) * slope.sp else slope.sp
    step = min(max(slope.gp / bend, -ONE), ONE)
    return min(max(p * exp32(-step), low), high)


@njit(**LANE_JIT)
def _bracket(w, grid, lanes):
    """The best node into `p`, its neighbours into `low` and `high`; w (b, 2 · LANES) holds the signal and e1 behind it."""
    t = lanes[0]
    p, best, low, high, g11, y1, g12, y2, alone = t.p, t.best, t.low, t.high, t.g11, t.y1, t.g12, t.y2, t.tissue
    nodes = grid.nodes
    for l in range(L):
        best[l] = -ONE
        g11[l] = ZERO
        y1[l] = ZERO
    for i in range(len(w)):
        row = w[i]
        for l in range(L):
            g11[l] += row[L + l] * row[L + l]
            y1[l] += row[L + l] * row[l]
    for l in range(L):
        alone[l] = y1[l] / g11[l]
    for j in range(len(nodes)):
        for l in range(L):
            g12[l] = ZERO
            y2[l] = ZERO
        for i in range(len(w)):
            row = w[i]
            c = grid.columns[j, i]
            for l in range(L):
                g12[l] += c * row[L + l]
                y2[l] += c * row[l]
        here, before, after = nodes[j], nodes[max(j - 1, 0)], nodes[min(j + 1, len(nodes) - 1)]
        g22 = grid.squares[j]
        for l in range(L):
            gain = explained(g11[l], g12[l], g22, y2[l], alone[l])
            better = gain > best[l]
            best[l] = gain if better else best[l]
            p[l] = here if better else p[l]
            low[l] = before if better else low[l]
            high[l] = after if better else high[l]


@njit(**LANE_JIT)
def _evaluate(w, b, root, box, lanes):
    """Amplitudes at `p`, and the sums that a step along it needs."""
    t = lanes[0]
    p, tissue, blood, m11, m12, m22 = t.p, t.tissue, t.blood, t.m11, t.m12, t.m22
    g11, g12, g22, a12, a22, b22, y1, y2 = t.g11, t.g12, t.g22, t.a12, t.a22, t.b22, t.y1, t.y2
    r1, r2, rb2, rbb2 = t.r1, t.r2, t.rb2, t.rbb2
    for l in range(L):
        g12[l], g22[l], a12[l], a22[l], b22[l], y2[l] = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        r1[l], r2[l], rb2[l], rbb2[l] = ZERO, ZERO, ZERO, ZERO
    for i in range(len(b)):
        row = w[i]
        bi, weight = b[i], root[i]
        for l in range(L):
            e2 = weight * exp32(-bi * p[l])
            row[2 * L + l] = e2
            s = add_products(NO_PRODUCTS, row[l], row[L + l], e2, bi)
            g12[l], g22[l], a12[l], a22[l] = g12[l] + s.g12, g22[l] + s.g22, a12[l] + s.a12, a22[l] + s.a22
            b22[l], y2[l] = b22[l] + s.b22, y2[l] + s.y2
    for l in range(L):
        tissue[l], blood[l], m11[l], m12[l], m22[l] = best_amplitudes(
            g11[l], g12[l], g22[l], y1[l], y2[l], box.f_low, box.f_high
        )
    for i in range(len(b)):
        row = w[i]
        bi = b[i]
        for l in range(L):
            s = add_residual(NO_RESIDUALS, tissue[l], blood[l], row[l], row[L + l], row[2 * L + l], bi)
            r1[l], r2[l], rb2[l], rbb2[l] = r1[l] + s.r1, r2[l] + s.r2, rb2[l] + s.rb2, rbb2[l] + s.rbb2


@njit(**LANE_JIT)
def fit_blood(w, b, root, grid, box, lanes):
    """Fit tissue · exp(-b D) + blood · exp(-b p) at known D to 16 signals, with f and p inside the box.

    Parameters
    ----------
    w : (b, 3 · LANES) float32
        The signals times `root`; receives the two exponentials behind them.
    b, root : (b,) float32
        b-values [ms/µm²] and roots of the weights.
    grid : BloodGrid
        Where to start.
    box : Box
        Bounds of f.
    lanes : (1,) array of BLOOD_LANES
        Holds D; receives p and the amplitudes.
    """
    t = lanes[0]
    d, p, tissue, blood, m11, m12, m22 = t.d, t.p, t.tissue, t.blood, t.m11, t.m12, t.m22
    a12, a22, b22, r1, r2, rb2, rbb2, low, high = t.a12, t.a22, t.b22, t.r1, t.r2, t.rb2, t.rbb2, t.low, t.high
    for i in range(len(b)):
        row = w[i]
        bi, weight = b[i], root[i]
        for l in range(L):
            row[L + l] = weight * exp32(-bi * d[l])
    _bracket(w, grid, lanes)
    for _ in range(BLOOD_STEPS):
        _evaluate(w, b, root, box, lanes)
        for l in range(L):
            found = Amplitudes(tissue[l], blood[l], m11[l], m12[l], m22[l])
            products = Products(ZERO, ZERO, ZERO, ZERO, a12[l], a22[l], ZERO, ZERO, b22[l], ZERO, ZERO)
            left = Residuals(r1[l], r2[l], ZERO, rb2[l], ZERO, rbb2[l], ZERO)
            p[l] = next_p(p[l], slopes(p[l], found, products, left), low[l], high[l])
    _evaluate(w, b, root, box, lanes)
    for l in range(L):
        found = Amplitudes(tissue[l], blood[l], m11[l], m12[l], m22[l])
        left = Residuals(r1[l], r2[l], ZERO, ZERO, ZERO, ZERO, ZERO)
        tissue[l], blood[l] = corrected(found, left)
