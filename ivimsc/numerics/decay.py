"""One exponential, S0 exp(-b D), fitted to 16 voxels side by side: `fit_decays`.

The logarithm of the signal is a straight line in b. Weighted by the square of the signal, because noise on a small signal
moves its logarithm most, the line gives a start that is nearly the answer. Newton steps on the signals themselves follow,
with S0 projected out. Signals are scaled to a largest value of 1, b is in ms/µm² and D in µm²/ms.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.special import log32

__all__ = ["DecayLanes", "decay_errors", "fit_decays", "make_decay_lanes"]

L = LANES
ZERO, ONE, TINY = np.float32(0.0), np.float32(1.0), np.float32(1e-30)
STEPS = 8  # Newton steps from the line: three reach float32 at SNR 5, the others are for signals that do not decay
CLOSE = np.float32(3e-4)  # after a step of so much of D + `FAST` the next, its square, would be one of float32's digits
FAST = np.float32(0.1)  # µm²/ms


class DecayLanes(NamedTuple):
    """Sixteen voxels: their signals w (b, lane), and (lane,) D, S0, 1 where D has settled (else 0), and sums over b: see `_sums`."""

    w: NDArray[np.float32]
    d: NDArray[np.float32]
    a: NDArray[np.float32]
    settled: NDArray[np.float32]
    g: NDArray[np.float32]
    bg: NDArray[np.float32]
    bbg: NDArray[np.float32]
    y: NDArray[np.float32]
    by: NDArray[np.float32]
    bby: NDArray[np.float32]
    squares: NDArray[np.float32]
    plain: NDArray[np.float32]


@njit(**JIT)
def make_decay_lanes(n_b):
    """Memory for `L` voxels at n_b b-values."""
    e = np.float32
    return DecayLanes(np.empty((n_b, L), e), np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e),
                 np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e),
                 np.empty(L, e))  # fmt: skip


@njit(**LANE_JIT)
def _line(b, root, low, high, t):
    """The start t.d: slope of the straight line through the logarithms, weighted by the square of the signal."""
    weight, wb, wbb, wy, wby = t.g, t.bg, t.bbg, t.y, t.by
    for l in range(L):
        weight[l] = wb[l] = wbb[l] = wy[l] = wby[l] = ZERO
    for i in range(len(b)):
        signal, bi, inverse = t.w[i], b[i], ONE / root[i]
        for l in range(L):
            w = signal[l] * signal[l] if signal[l] > ZERO else ZERO
            logarithm = log32(signal[l] * inverse)
            weight[l] += w
            wb[l] += w * bi
            wbb[l] += w * bi * bi
            wy[l] += w * logarithm
            wby[l] += w * bi * logarithm
    for l in range(L):
        above, below = weight[l] * wby[l] - wb[l] * wy[l], weight[l] * wbb[l] - wb[l] * wb[l]
        t.d[l] = min(max(-above / max(below, TINY), low), high)


@njit(**LANE_JIT)
def _sums(b, root, t):
    """Σ e e, b e e, b² e e and Σ e y, b e y, b² e y at t.d, with e = exp(-b D) and y times their roots; and S0 that fits best there, t.a."""
    g, bg, bbg, y, by, bby = t.g, t.bg, t.bbg, t.y, t.by, t.bby
    for l in range(L):
        g[l] = bg[l] = bbg[l] = y[l] = by[l] = bby[l] = ZERO
    for i in range(len(b)):
        signal, bi, ri = t.w[i], b[i], root[i]
        for l in range(L):
            e = ri * exp32(-bi * t.d[l])
            ee, ey = e * e, e * signal[l]
            g[l] += ee
            bg[l] += bi * ee
            bbg[l] += bi * bi * ee
            y[l] += ey
            by[l] += bi * ey
            bby[l] += bi * bi * ey
    for l in range(L):
        t.a[l] = max(y[l], ZERO) / max(g[l], TINY)


@njit(**LANE_JIT)
def _step(low, high, t):
    """One Newton step of the projected cost along D, within its bounds; Gauss-Newton where the cost is not convex.

    A lane that has settled stays as it is, so that a voxel's result does not depend on its neighbours.
    """
    settled = t.settled
    for l in range(L):
        a, g = t.a[l], max(t.g[l], TINY)
        first, second = t.by[l] - a * t.bg[l], t.bby[l] - a * t.bbg[l]  # Σ b e r, Σ b² e r
        gauss = a * a * (t.bbg[l] - t.bg[l] * t.bg[l] / g)
        mixed = first - a * t.bg[l]
        newton = a * a * t.bbg[l] - a * second - mixed * mixed / g
        curvature = newton if newton > ZERO else gauss
        d = min(max(t.d[l] - a * first / max(curvature, TINY), low), high)
        d = t.d[l] if settled[l] > ZERO else d
        settled[l] = ONE if abs(d - t.d[l]) <= CLOSE * (t.d[l] + FAST) else ZERO
        t.d[l] = d


@njit(**LANE_JIT)
def _squares(b, root, t):
    """Σ r², weighted and as it is, at t.d and t.a."""
    for l in range(L):
        t.squares[l] = t.plain[l] = ZERO
    for i in range(len(b)):
        signal, bi, ri = t.w[i], b[i], root[i]
        inverse = ONE / ri
        for l in range(L):
            r = signal[l] - t.a[l] * ri * exp32(-bi * t.d[l])
            t.squares[l] += r * r
            t.plain[l] += r * r * inverse * inverse


@njit(**JIT)
def fit_decays(b, root, low, high, t):
    """Fit the signals t.w (b, lane): fills t.d, t.a, t.settled and the sums of `DecayLanes`.

    Parameters
    ----------
    b : (b,) float32
        b-values [ms/µm²].
    root : (b,) float32
        What the signals are multiplied by: the square root of the number of images behind each.
    low, high : float32
        Bounds of D [µm²/ms].
    t : DecayLanes
        Holds the signals, and receives the fits.
    """
    _line(b, root, low, high, t)
    t.settled[:] = ZERO
    for _ in range(STEPS):
        _sums(b, root, t)
        _step(low, high, t)
        if t.settled.min() > ZERO:
            break
    _sums(b, root, t)
    _squares(b, root, t)


@njit(**JIT)
def decay_errors(t, l):
    """Standard errors of S0 and D of lane `l` at unit noise, in the units of the lane; inf where b cannot tell them."""
    a, g, bg, bbg = np.float64(t.a[l]), np.float64(t.g[l]), np.float64(t.bg[l]), np.float64(t.bbg[l])
    information = bbg - bg * bg / g  # of D, S0 projected out, over a²
    if not information > 1e-12 * bbg:
        return math.inf, math.inf
    return math.sqrt(bbg / (g * information)), 1.0 / (a * math.sqrt(information))
