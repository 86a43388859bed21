"""What the residuals of one voxel tell about its noise."""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT

__all__ = ["noise_from_residuals"]


@njit(**JIT)
def noise_from_residuals(squares, n, unknowns):
    """Standard deviation of the noise of one voxel, estimated from the residuals of its fit.

    Parameters
    ----------
    squares : float
        Sum of the squared residuals.
    n : int
        Number of b-values.
    unknowns : int
        Number of parameters that were fitted: each of them takes one degree of freedom.

    Returns
    -------
    float
        The noise in the unit of the residuals; NaN where no degree of freedom is left.
    """
    return math.sqrt(squares / (n - unknowns)) if n > unknowns else np.nan
