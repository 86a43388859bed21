"""Logarithm and Bessel function as polynomials, so that loops over them become vector instructions."""

import math

import numpy as np
from numba import njit

from ivimsc.kernels.compiling import JIT

__all__ = ["log32", "log_i0e32"]

_ONE, _HALF, _TWO = np.float32(1), np.float32(0.5), np.float32(2)
_LN2 = np.float32(math.log(2))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA_BITS, _SHIFT = np.int32(0x007FFFFF), np.int32(23)
_L3, _L5, _L7, _L9 = (np.float32(2 / k) for k in (3, 5, 7, 9))
_SMALLEST = np.float32(1.1754944e-38)


@njit(**JIT, fastmath={"contract"})
def log32(x):
    """ln x of a float32 > 0 (less than 1.2e-38 counts as that), by x = 2^n m and the series of artanh in
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
_A = tuple(np.float32(a) for a in (3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813))
_B = tuple(np.float32(b) for b in (0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537,
                                   -0.01647633, 0.00392377))  # fmt: skip
_CUT, _CUT_SQUARED = np.float32(3.75), np.float32(3.75**2)


@njit(**JIT, fastmath={"contract"})
def log_i0e32(x):
    """ln(I0(x) exp(-x)) of a float32 x >= 0; error below 1e-6 max(1, |result|)."""
    low = min(x, _CUT)
    y = low * low / _CUT_SQUARED
    p = _ONE + y * (_A[0] + y * (_A[1] + y * (_A[2] + y * (_A[3] + y * (_A[4] + y * _A[5])))))
    high = max(x, _CUT)
    z = _CUT / high
    q = _B[0] + z * (_B[1] + z * (_B[2] + z * (_B[3] + z * (_B[4] + z * (_B[5] + z * (_B[6] + z * (_B[7] + z * _B[8])))))))
    small = x < _CUT
    return log32(p if small else q) - (low if small else _HALF * log32(high))


