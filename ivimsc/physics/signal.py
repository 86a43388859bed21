"""Equation (1), one voxel at one b-value: the signal and its slopes.

Plain scalar functions: the CPU kernels, the CUDA kernels and the bounds all call these.
"""

import math

from numba import njit

__all__ = ["signal", "signal_and_slopes"]


@njit(cache=True, nogil=True)
def signal(b, S0, f, D, Dstar):
    """Bi-exponential IVIM signal, equation (1): S0 [(1 - f) exp(-b D) + f exp(-b D*)].

    b in s/mm²; D, Dstar in mm²/s; the result is in the unit of S0.
    """
    return S0 * ((1.0 - f) * math.exp(-b * D) + f * math.exp(-b * Dstar))


@njit(cache=True, nogil=True)
def signal_and_slopes(b, S0, f, D, Dstar):
    """The signal of equation (1) and its slopes along S0, f, D and Dstar, as a tuple of five."""
    tissue, blood = math.exp(-b * D), math.exp(-b * Dstar)
    shape = (1.0 - f) * tissue + f * blood
    return S0 * shape, shape, S0 * (blood - tissue), -b * S0 * (1.0 - f) * tissue, -b * S0 * f * blood
