"""The threshold functions H of iterated sparse coding, equation (7) of the paper, for one coefficient.

Both are one-sided: coefficients are amplitudes of exponentials, and a negative one becomes 0. The result has the type
of `u`, so that the same function serves float32 and float64. A NaN in `u` is for the caller to keep out.
"""

from numba import njit

from ivimsc.compiling import SUM_JIT

__all__ = ["hard", "soft"]


@njit(**SUM_JIT)
def soft(u, cut):
    """The soft threshold: u - cut where that is above 0, else 0."""
    return max(u - cut, type(u)(0))


@njit(**SUM_JIT)
def hard(u, cut):
    """The hard threshold: u where it is above 0 and at least cut, else 0."""
    return u if u >= cut and u > type(u)(0) else type(u)(0)
