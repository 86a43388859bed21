"""From the sparse code of a voxel to f, D and D*, and to how its fit ended: equations (8) to (10)."""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, KERNEL
from ivimsc.numerics.finish import AT_BOUND, BAD_SIGNAL, CONVERGED, UNIDENTIFIABLE
from ivimsc.physics.dictionary import decode_row

__all__ = ["decode_codes", "settle"]

NEAR = 1.0 + 1e-9  # a mean of one value is that value but for rounding


@njit(**JIT)
def settle(total, f, d, p, scale, squares, n_b, D, Dstar):
    """S0, f, D, D*, rmse and outcome of a voxel, from what `decode_row` found and Σ r² of the signal over `scale`.

    Outcomes: 4, no perfusion part, D* is NaN. 2, no tissue part (D is NaN), or a part that is all at an end of its grid
    D (n_d,) or Dstar (n_dstar,). 5, bad signal (scale 0), or no part at all: all is NaN.
    """
    if scale == 0 or not total > 0:
        return np.nan, np.nan, np.nan, np.nan, np.nan, BAD_SIGNAL
    outcome = CONVERGED
    if f == 0:
        outcome = UNIDENTIFIABLE
    elif f == 1 or not (NEAR * D[0] < d < D[-1] / NEAR) or not (NEAR * Dstar[0] < p < Dstar[-1] / NEAR):
        outcome = AT_BOUND
    return total * scale, f, d, p, math.sqrt(squares / n_b) * scale, outcome


@njit(**KERNEL)
def decode_codes(start, stop, data, indices, indptr, grids, scale, squares, n_b, result, outcome):
    """`settle` for the voxels start..stop of CSR rows: result (5, voxel), outcome (voxel,)."""
    D, Dstar = grids
    for v in range(start, stop):
        total, f, d, p = decode_row(data, indices, indptr[v], indptr[v + 1], D, Dstar)
        S0, f, d, p, rmse, ending = settle(total, f, d, p, scale[v], squares[v], n_b, D, Dstar)
        result[0, v], result[1, v], result[2, v], result[3, v], result[4, v] = S0, f, d, p, rmse
        outcome[v] = ending
