"""What the residuals of a voxel are, and what they tell about its noise."""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.scaling import load_scaled

__all__ = ["noise_from_residuals", "plain_squares"]

L = LANES


@njit(**JIT)
def noise_from_residuals(squares, n, unknowns):
    """Standard deviation of the noise of one voxel, estimated from the residuals of its fit.

    Parameters
    ----------
    squares : float
        Sum of the squared residuals, each times the number of images that its signal is the mean of.
    n : int
        Number of b-values.
    unknowns : int
        Number of parameters that were fitted: each of them takes one degree of freedom.

    Returns
    -------
    float
        The noise of one image in the unit of the residuals; NaN where no degree of freedom is left.
    """
    return math.sqrt(squares / (n - unknowns)) if n > unknowns else np.nan


@njit(**LANE_JIT)
def _squares(w, b, lanes):
    """Σ r² of equation (1) with the tissue, blood, d and p of 16 voxels; lanes (1,) of PLAIN_LANES."""
    t = lanes[0]
    tissue, blood, d, p, squares = t.tissue, t.blood, t.d, t.p, t.squares
    for l in range(L):
        squares[l] = np.float32(0.0)
    for i in range(len(b)):
        y, bi = w[i], b[i]
        for l in range(L):
            r = y[l] - tissue[l] * exp32(-bi * d[l]) - blood[l] * exp32(-bi * p[l])
            squares[l] += r * r


PLAIN_LANES = np.dtype([(name, np.float32, (LANES,)) for name in ("tissue", "blood", "d", "p", "squares")])


@njit(**JIT)
def plain_squares(signals, scale, found, b):
    """Σ r² without weights of a block of voxels, into ``found.plain``, from signals (block, b) and scale (block,)."""
    w, ones = np.empty((len(b), L), np.float32), np.ones(len(b), np.float32)
    lanes = np.empty(1, PLAIN_LANES)
    t = lanes[0]
    for first in range(0, len(scale), L):
        size = min(L, len(scale) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, signals, v, scale[v], ones)
            t.tissue[lane], t.blood[lane], t.d[lane], t.p[lane] = (
                found.tissue[v],
                found.blood[v],
                found.d[v],
                found.p[v],
            )
        _squares(w, b, lanes)
        for lane in range(size):
            found.plain[first + lane] = t.squares[lane]
