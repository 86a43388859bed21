"""Matrix products whose results do not depend on how voxels are split into chunks.

A library of matrix products takes other paths for other numbers of rows, and rounds a row in another way at another place
among them. The last digit of an estimate would thus depend on the chunk that its voxel is in. Here a product always has
the same number of rows, and a voxel always has the same place among them, whatever the chunk.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROWS", "in_fixed_blocks"]

ROWS = 1024  # rows of a block: many enough to be fast, few enough that a fit of one voxel is fast, too


def in_fixed_blocks(y: NDArray, f: Callable[[NDArray], NDArray], first: int = 0, rows: int = ROWS) -> NDArray:
    """Apply `f` to the rows of `y`, always to `rows` of them at a time.

    Parameters
    ----------
    y : (row, …)
    f : from an array (rows, …) to an array (rows, …); what it gives for a row depends on that row alone, but for rounding
    first : the number of the first row in the whole data set; row v stands at place v % rows of its block
    rows : the size of a block; where rows are missing at its begin or end, it holds zeros

    Returns
    -------
    (row, …) : the results of `f`
    """
    before, n = first % rows, len(y)
    result = None
    for start in range(-before, max(n, 1), rows):
        low, high = max(start, 0), min(start + rows, n)
        part = y[low:high]
        if high - low < rows:
            part = np.zeros((rows, *y.shape[1:]), y.dtype)
            part[low - start : high - start] = y[low:high]
        values = f(part)
        if result is None:
            result = np.empty((n, *values.shape[1:]), values.dtype)
        result[low:high] = values[low - start : high - start]
    return result
