"""From the sparse code of a voxel to f, D and D*, and to how its fit ended: equations (8) to (10)."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.numerics.ending import AT_BOUND, BAD_SIGNAL, CONVERGED, UNIDENTIFIABLE
from ivimsc.physics.dictionary import decode_row

__all__ = ["Maps", "decode_codes", "put", "settle"]

MOST = 0.5  # of a part on one end of its grid, above which that end decides on the mean


class Maps(NamedTuple):
    """What is read off the codes, arrays (voxel,) or the numbers of one voxel.

    S0 and rmse are in the unit of the signal, D and Dstar in mm²/s.
    """

    S0: NDArray[np.float32]
    f: NDArray[np.float32]
    D: NDArray[np.float32]
    Dstar: NDArray[np.float32]
    rmse: NDArray[np.float32]
    outcome: NDArray[np.uint8]


@njit(**JIT)
def settle(mixture, scale, squares, n_b):
    """The `Maps` of one voxel.

    Outcomes: 4, no perfusion part, D* is NaN. 2, no tissue part (D is NaN), or more than half of a part at an end of its grid.
    5, bad signal (scale 0), or no part at all: all is NaN.

    Parameters
    ----------
    mixture : Mixture of the code of the scaled signal
    scale : what the signal was divided by
    squares : Σ r² of the scaled signal
    n_b : number of b-values
    """
    total, f, d, p = mixture.S0, mixture.f, mixture.D, mixture.Dstar
    if scale == 0 or not total > 0:
        return Maps(np.nan, np.nan, np.nan, np.nan, np.nan, BAD_SIGNAL)
    outcome = CONVERGED
    if f == 0:
        outcome = UNIDENTIFIABLE
    elif f == 1 or mixture.D_end > MOST or mixture.Dstar_end > MOST:
        outcome = AT_BOUND
    return Maps(total * scale, f, d, p, math.sqrt(squares / n_b) * scale, outcome)


@njit(**JIT)
def put(v, found, outcome, maps):
    """Write `found`, the numbers of one voxel, into maps as voxel v, with an outcome that may be another."""
    maps.S0[v], maps.f[v], maps.D[v], maps.Dstar[v] = found.S0, found.f, found.D, found.Dstar
    maps.rmse[v], maps.outcome[v] = found.rmse, outcome


@njit(**KERNEL)
def decode_codes(start, stop, code, grids, n_b, maps):
    """`settle` for the voxels start..stop of a `Code`, of signals at n_b b-values, into `Maps`."""
    for v in range(start, stop):
        mixture = decode_row(code.data, code.indices, code.indptr[v], code.indptr[v + 1], grids)
        found = settle(mixture, code.scale[v], code.squares[v], n_b)
        put(v, found, found.outcome, maps)
