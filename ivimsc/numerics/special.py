"""Logarithm and Bessel function as polynomials, so that loops over them become vector instructions."""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT

__all__ = ["log32", "log_i0e32"]

_ONE, _HALF, _TWO = np.float32(1), np.float32(0.5), np.float32(2)
_LN2 = np.float32(math.log(2))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA_BITS, _SHIFT = np.int32(0x007FFFFF), np.int32(23)
_L3, _L5, _L7, _L9 = (np.float32(2 / k) for k in (3, 5, 7, 9))
_SMALLEST = np.float32(1.1754944e-38)


@njit(**JIT, fastmath={"contract"})
def log32(x):
    """Natural logarithm of a float32 > 0 (less than 1.2e-38 counts as that), by x = 2^n m and the series of artanh in
    (m - 1) / (m + 1).

    Error below 2e-7 max(1, |ln x|).
    """
    x = max(np.float32(x), _SMALLEST)
    bits = np.int32(np.float32(x).view(np.int32) - _SQRT_HALF_BITS)
    n = np.float32(np.int32(bits >> _SHIFT))
    m = np.int32(np.int32(bits & _MANTISSA_BITS) + _SQRT_HALF_BITS).view(np.float32)  # sqrt(1/2) .. sqrt(2)
    s = (m - _ONE) / (m + _ONE)
    q = s * s
    return n * _LN2 + s * (_TWO + q * (_L3 + q * (_L5 + q * (_L7 + q * _L9))))


# Abramowitz and Stegun 9.8.1 and 9.8.2
_A1, _A2, _A3 = np.float32(3.5156229), np.float32(3.0899424), np.float32(1.2067492)
_A4, _A5, _A6 = np.float32(0.2659732), np.float32(0.0360768), np.float32(0.0045813)
_B0, _B1, _B2 = np.float32(0.39894228), np.float32(0.01328592), np.float32(0.00225319)
_B3, _B4, _B5 = np.float32(-0.00157565), np.float32(0.00916281), np.float32(-0.02057706)
_B6, _B7, _B8 = np.float32(0.02635537), np.float32(-0.01647633), np.float32(0.00392377)
_CUT, _CUT_SQUARED = np.float32(3.75), np.float32(3.75**2)


@njit(**JIT, fastmath={"contract", "nsz"})
def log_i0e32(x):
    """ln(I0(x) exp(-x)) of a float32 x >= 0; error below 1e-6 max(1, |result|).

    The two ranges are blended by arithmetic: a choice between two long expressions would become a branch, and branches
    keep a loop from becoming vector instructions (12 ns each instead of 1).
    """
    small = np.float32(x < _CUT)
    low, high = min(x, _CUT), max(x, _CUT)
    y = low * low / _CUT_SQUARED
    p = _ONE + y * (_A1 + y * (_A2 + y * (_A3 + y * (_A4 + y * (_A5 + y * _A6)))))
    z = _CUT / high
    q = _B5 + z * (_B6 + z * (_B7 + z * _B8))
    q = _B0 + z * (_B1 + z * (_B2 + z * (_B3 + z * (_B4 + z * q))))
    return _HALF * log32(small * p * p + (_ONE - small) * q * q / high) - small * low
