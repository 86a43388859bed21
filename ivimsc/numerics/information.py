"""The Cramér-Rao bound of a few parameters of one voxel, from its Fisher information: `covariance`."""

import math

from numba import njit

from ivimsc.compiling import JIT

__all__ = ["covariance"]

SINGULAR = 1e-13  # a pivot of the scaled matrix below it has lost all digits of float64 but two


@njit(**JIT)
def covariance(information, n, scale):
    """Invert the upper left (n, n) of a Fisher information in place.

    Parameters
    ----------
    information : (>= n, >= n) float64
        Sums of products of slopes, of which the lower triangle is read; becomes the covariance matrix.
    n : int
        Number of parameters.
    scale : (>= n,) float64
        Scratch: rows and columns are first scaled to a unit diagonal.

    Returns
    -------
    bool
        False where the data cannot tell the parameters; the matrix means nothing then.
    """
    for i in range(n):
        if not information[i, i] > 0:
            return False
        scale[i] = 1.0 / math.sqrt(information[i, i])
    for i in range(n):
        for j in range(i + 1):
            information[i, j] *= scale[i] * scale[j]
            information[j, i] = information[i, j]
    for k in range(n):  # the sweep operator
        pivot = information[k, k]
        if not pivot > SINGULAR:
            return False
        for j in range(n):
            information[k, j] /= pivot
        for i in range(n):
            if i != k:
                factor = information[i, k]
                for j in range(n):
                    information[i, j] -= factor * information[k, j]
                information[i, k] = -factor / pivot
        information[k, k] = 1.0 / pivot
    for i in range(n):
        for j in range(n):
            information[i, j] *= scale[i] * scale[j]
    return True
