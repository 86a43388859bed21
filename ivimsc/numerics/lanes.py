"""Arithmetic over lanes: 16 voxels side by side, one per element of a vector register.

A kernel in lanes keeps each quantity of its voxels in 16 consecutive floats and loops over them innermost; LLVM turns
such a loop into vector instructions, provided that it calls nothing but arithmetic. `math.exp` is a library call, so
the exponential here is a polynomial.
"""

import numpy as np
from numba import njit

from ivimsc.compiling import JIT

__all__ = ["LANES", "exp32", "exp64"]

LANES = 16  # float32 in a 512-bit register, two registers of 256 bits

_LOWEST, _HIGHEST = np.float32(-87.0), np.float32(88.0)  # exp() of less is denormal, of more overflows
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # ln 2 in two parts (Cody and Waite)
_ROUND = np.float32(12582912.0)  # 1.5 · 2^23: adding it rounds to an integer, held in the low bits
_ROUND_BITS, _BIAS, _MANTISSA = np.int32(0x4B400000), np.int32(127), np.int32(23)
_ONE, _C2 = np.float32(1.0), np.float32(0.5)
_C3, _C4 = np.float32(1.6666665459e-1), np.float32(4.1665795894e-2)
_C5, _C6 = np.float32(8.3334519073e-3), np.float32(1.3981999507e-3)


@njit(**JIT, fastmath={"contract"})  # no "reassoc": it would cancel the rounding trick
def exp32(x):
    """exp(x) of a float32, by x = n ln 2 + r and a polynomial of degree 6 in r (coefficients of Cephes, S. Moshier).

    Relative error below 3e-7 for -87 <= x <= 88; smaller x count as -87 (1.6e-38), larger as 88.
    """
    x = min(max(x, _LOWEST), _HIGHEST)
    shifted = x * _LOG2E + _ROUND
    n = shifted - _ROUND
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    p = _C6
    p = p * r + _C5
    p = p * r + _C4
    p = p * r + _C3
    p = p * r + _C2
    p = p * r * r + r + _ONE
    bits = np.int32(np.int32(np.int32(np.float32(shifted).view(np.int32) - _ROUND_BITS) + _BIAS) << _MANTISSA)
    return p * np.int32(bits).view(np.float32)


_LOWEST64, _ROUND64 = -700.0, 6755399441055744.0  # 1.5 · 2^52
_LOG2E64, _LN2_HIGH64, _LN2_LOW64 = 1.4426950408889634, 6.93145751953125e-1, 1.42860682030941723212e-6
_ROUND_BITS64, _BIAS64, _MANTISSA64 = np.int64(0x4338000000000000), np.int64(1023), np.int64(52)


@njit(**JIT, fastmath={"contract"})
def exp64(x):
    """exp(x) of a float64 in -700..700 (less counts as -700), by the Taylor polynomial of degree 12.

    Relative error below 1e-15 (the first term left out is 0.3466^13 / 13! = 2e-16).
    """
    x = max(x, _LOWEST64)
    shifted = x * _LOG2E64 + _ROUND64
    n = shifted - _ROUND64
    r = x - n * _LN2_HIGH64 - n * _LN2_LOW64
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    bits = ((np.float64(shifted).view(np.int64) - _ROUND_BITS64) + _BIAS64) << _MANTISSA64
    return p * np.int64(bits).view(np.float64)
