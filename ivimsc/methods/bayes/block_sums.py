"""Sums, maxima and moments of weighted points over all threads of a block; `weighted_points` on the CPU.

Every function has the threads meet before it returns, so that what it wrote to shared memory can be written again.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import as_device
from ivimsc.methods.bayes import weighted_points

__all__ = ["SUMS", "Block", "largest", "moments", "weigh"]

ZERO = np.float32(0)
SUMS = 12  # rows of shared memory (row · thread): nine sums of moments, then the weights, their squares, and `other`
_weight, _add_moments, _settle_moments = (
    as_device(f) for f in (weighted_points.weight, weighted_points.add_moments, weighted_points.settle_moments)
)


class Block(NamedTuple):
    """What a thread has in shared memory.

    Attributes
    ----------
    y : (b,) the scaled signal
    column : (b, 1) signals of this thread's point, its own
    sums : (row · thread) for sums over threads
    mean, covariance, root : (3,), (3, 3), (3, 3) of the weighted points; root is lower triangular
    best : (3,) t of the best point so far
    found, trial : (row,) results so far, and those of one local round
    """

    y: Any
    column: Any
    sums: Any
    mean: Any
    covariance: Any
    root: Any
    best: Any
    found: Any
    trial: Any


@cuda.jit(device=True)
def _add_up(sums, rows):
    """Add up each of the first rows of sums (row · thread) into its first number."""
    lane, width = cuda.threadIdx.x, cuda.blockDim.x
    half = width // 2
    cuda.syncthreads()
    while half > 0:
        if lane < half:
            for k in range(rows):
                sums[k * width + lane] += sums[k * width + lane + half]
        cuda.syncthreads()
        half //= 2


@cuda.jit(device=True)
def largest(sums, value, place):
    """The largest value of all threads and its place, the smallest of several; places are whole numbers below 2^24."""
    lane, width = cuda.threadIdx.x, cuda.blockDim.x
    half = width // 2
    sums[lane], sums[width + lane] = value, np.float32(place)
    cuda.syncthreads()
    while half > 0:
        if lane < half:
            other, there = sums[lane + half], sums[width + lane + half]
            if other > sums[lane] or (other == sums[lane] and there < sums[width + lane]):
                sums[lane], sums[width + lane] = other, there
        cuda.syncthreads()
        half //= 2
    found, at = sums[0], int(sums[width])
    cuda.syncthreads()
    return found, at


@cuda.jit(device=True)
def weigh(log_w, highest, exponent, sums):
    """Effective sample size of log weights (n,), over all threads: `weighted_points.weigh` without keeping the weights."""
    lane, width, total, squares = cuda.threadIdx.x, cuda.blockDim.x, ZERO, ZERO
    for m in range(lane, log_w.shape[0], width):
        w = _weight(log_w[m], highest, exponent)
        total += w
        squares += w * w
    sums[lane], sums[width + lane] = total, squares
    _add_up(sums, 2)
    total, squares = sums[0], sums[width]
    cuda.syncthreads()
    return total * total / squares


@cuda.jit(device=True)
def moments(log_w, other, x, peak, exponent, block):
    """Mean and covariance of weighted points, over all threads: `weighted_points.moments`.

    Parameters
    ----------
    log_w : (n,) log weights
    other : (n,) another quantity of the points, whose weighted mean is returned
    x : (3, ≥ n) the points
    peak : the largest log weight and its place
    exponent : tempers the weights
    block : the arrays that the threads of a block share, of which sums, mean and covariance are used

    Returns
    -------
    weighted mean of `other`, and the effective sample size
    """
    sums, (highest, at) = block.sums, peak
    lane, width, total, squares, extra = cuda.threadIdx.x, cuda.blockDim.x, ZERO, ZERO, ZERO
    c0, c1, c2 = x[0, at], x[1, at], x[2, at]
    some = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    for m in range(lane, log_w.shape[0], width):
        w = _weight(log_w[m], highest, exponent)
        total += w
        squares += w * w
        extra += w * other[m]
        some = _add_moments(some, w, x[0, m] - c0, x[1, m] - c1, x[2, m] - c2)
    sums[lane], sums[width + lane], sums[2 * width + lane] = some[0], some[1], some[2]
    sums[3 * width + lane], sums[4 * width + lane], sums[5 * width + lane] = some[3], some[4], some[5]
    sums[6 * width + lane], sums[7 * width + lane], sums[8 * width + lane] = some[6], some[7], some[8]
    sums[9 * width + lane], sums[10 * width + lane], sums[11 * width + lane] = total, squares, extra
    _add_up(sums, SUMS)
    total, squares, extra = sums[9 * width], sums[10 * width], sums[11 * width]
    if lane == 0:
        some = (
            sums[0], sums[width], sums[2 * width], sums[3 * width], sums[4 * width], sums[5 * width],
            sums[6 * width], sums[7 * width], sums[8 * width],
        )  # fmt: skip
        _settle_moments(some, total, c0, c1, c2, block.mean, block.covariance)
    cuda.syncthreads()
    return extra / total, total * total / squares
