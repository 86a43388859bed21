"""Random numbers without state: every draw is a function of (seed, stream, voxel, index), on the CPU and in CUDA alike.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC '11,
doi:10.1145/2063384.2063405, a bijection of a 128-bit counter under a 64-bit key. Here the key is the seed, and the
counter holds the voxel's number (64 bit), the index of the draw (32 bit, the b-value, say) and the stream (32 bit, what
the draw is for). So a draw depends neither on threads, nor on chunks, nor on how many draws came before it.

All values are uint64 in Numba: a mix of uint64 and int64 would turn into float64 without a word.
"""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT

__all__ = ["NOISE", "TRUTH", "normals", "philox", "uniforms"]

# Streams: one for each purpose, so that noise and truth of one seed are independent.
NOISE, TRUTH = 0, 1

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_12 = np.uint64(12)
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)  # golden ratio
_WEYL_1 = np.uint64(0xBB67AE85)  # square root of 3, less 1
_STEP = 2.0**-52


@njit(**JIT)
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: the counter (c0, c1, c2, c3) under the key (k0, k1), all uint64 < 2^32; four such words back."""
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> _32) ^ c1 ^ k0,
            product_1 & _LOW,
            (product_0 >> _32) ^ c3 ^ k1,
            product_0 & _LOW,
        )
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@njit(**JIT)
def uniforms(seed, stream, voxel, index):
    """Two uniform numbers of 52 bits, strictly inside (0, 1).

    seed, voxel: integers 0 .. 2^63 - 1; stream, index: integers 0 .. 2^32 - 1
    """
    seed, voxel = np.uint64(seed), np.uint64(voxel)
    w0, w1, w2, w3 = philox(voxel & _LOW, voxel >> _32, np.uint64(index), np.uint64(stream), seed & _LOW, seed >> _32)
    # 52 bits and a half step: with 53 the largest would round to 1, and the logarithm of the mirrored draw to -inf.
    first = (float((w0 << _32 | w1) >> _12) + 0.5) * _STEP
    second = (float((w2 << _32 | w3) >> _12) + 0.5) * _STEP
    return first, second


@njit(**JIT)
def normals(seed, stream, voxel, index):
    """Two independent standard normal numbers (Box and Muller 1958, doi:10.1214/aoms/1177706645); see `uniforms`."""
    first, second = uniforms(seed, stream, voxel, index)
    radius = math.sqrt(-2.0 * math.log(first))
    angle = 2.0 * math.pi * second
    return radius * math.cos(angle), radius * math.sin(angle)
