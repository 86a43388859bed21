"""Matrix products whose results do not depend on how many rows are computed together.

A library of matrix products takes other paths for other shapes, and its last digit follows. A voxel's estimate would thus
depend on the chunk that the voxel is in. Here a product always has the same number of rows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROWS", "in_fixed_blocks"]

ROWS = 256  # rows of a block: many enough to be fast, few enough that their products stay in the cache


def in_fixed_blocks(y: NDArray, f: Callable[[NDArray], NDArray], rows: int = ROWS) -> NDArray:
    """Apply `f` to the rows of `y`, always to `rows` of them at a time.

    Parameters
    ----------
    y : (row, …)
    f : from an array (rows, …) to an array (rows, …); what it gives for a row depends on that row alone, but for rounding
    rows : the size of a block; the last block is filled up with zeros

    Returns
    -------
    (row, …) : the results of `f`, without those of the filled rows
    """
    result = None
    for start in range(0, max(len(y), 1), rows):
        part = y[start : start + rows]
        size = len(part)
        if size < rows:
            part = np.zeros((rows, *y.shape[1:]), y.dtype)
            part[:size] = y[start:]
        values = f(part)
        if result is None:
            result = np.empty((len(y), *values.shape[1:]), values.dtype)
        result[start : start + size] = values[:size]
    return result
