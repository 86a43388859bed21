"""The kernels of the small networks beside a network (`spread`, `typical`): a voxel at a time, its hidden numbers side by side.

A library of matrix products starts threads of its own for products this small, which costs more than the products.
"""

import numpy as np
from numba import njit

from ivimsc.compiling import KERNEL, SUM_JIT

__all__ = ["mixture_kernel", "two_layers_kernel"]

ZERO, HALF = np.float32(0), np.float32(0.5)


@njit(**SUM_JIT)
def _affine(x, w, c, out):
    """Put c + xᵀ w into out (n,): x (input,), w (input, n), c (n,)."""
    for j in range(len(out)):
        out[j] = c[j]
    for i in range(len(x)):
        xi, row = x[i], w[i]
        for j in range(len(out)):
            out[j] += xi * row[j]


@njit(**KERNEL)
def two_layers_kernel(start, stop, seen, w0, c0, w1, c1, result):
    """Two layers with ReLU between them, for the voxels start..stop.

    Parameters
    ----------
    start, stop : first voxel, and the one after the last
    seen : (voxel, input) float32
    w0, c0, w1, c1 : (input, hidden), (hidden,), (hidden, output), (output,) float32
    result : (voxel, output) float32, written
    """
    hidden = np.empty(len(c0), np.float32)
    for v in range(start, stop):
        _affine(seen[v], w0, c0, hidden)
        for j in range(len(hidden)):
            hidden[j] = hidden[j] if hidden[j] > ZERO else ZERO
        _affine(hidden, w1, c1, result[v])


@njit(**KERNEL)
def mixture_kernel(start, stop, inputs, whiten, shift, offset, result):
    """The largest of offset - |whiten x + shift|² / 2 over the parts, for the voxels start..stop.

    Parameters
    ----------
    start, stop : first voxel, and the one after the last
    inputs : (voxel, input) float32
    whiten, shift : (input, part * input) and (part * input,) float32, the rows of all parts one after the other
    offset : (part,) float32
    result : (voxel,) float32, written
    """
    away, n = np.empty(len(shift), np.float32), inputs.shape[1]
    for v in range(start, stop):
        _affine(inputs[v], whiten, shift, away)
        best = np.float32(-np.inf)
        for p in range(len(offset)):
            total = ZERO
            for i in range(p * n, (p + 1) * n):
                total += away[i] * away[i]
            best = max(best, offset[p] - HALF * total)
        result[v] = best
