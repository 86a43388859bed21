"""Equation (1), the bi-exponential IVIM signal: S0 [(1 - f) exp(-b D) + f exp(-b D*)], and its slopes.

`signal` and `signal_and_slopes` are plain functions of numbers, which kernels on the CPU and on a GPU call for one voxel
at one b-value. `signals` is the same formula for numpy arrays.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT

__all__ = ["signal", "signal_and_slopes", "signals"]

Numbers = NDArray[np.floating] | float


@njit(**JIT)
def signal(b, S0, f, D, Dstar):
    """Equation (1) for one voxel at one b-value.

    b in s/mm²; D, Dstar in mm²/s; the result is in the unit of S0.
    """
    return S0 * ((1.0 - f) * math.exp(-b * D) + f * math.exp(-b * Dstar))


@njit(**JIT)
def signal_and_slopes(b, S0, f, D, Dstar):
    """The signal of equation (1) and its slopes along S0, f, D and Dstar, as a tuple of five."""
    tissue, blood = math.exp(-b * D), math.exp(-b * Dstar)
    shape = (1.0 - f) * tissue + f * blood
    return S0 * shape, shape, S0 * (blood - tissue), -b * S0 * (1.0 - f) * tissue, -b * S0 * f * blood


def signals(S0: Numbers, f: Numbers, D: Numbers, Dstar: Numbers, b: Numbers) -> NDArray[np.floating]:
    """Equation (1) for arrays, in the precision that the arrays have.

    Nothing is checked: `ivimsc.simulate_signals` is the function that refuses parameters out of range.

    Parameters
    ----------
    S0, f, D, Dstar : arrays or numbers that broadcast with one another and with b: for the signals (voxel, b) of many
        voxels, (voxel, 1) each; S0 in any unit, f without unit, D and Dstar in the unit of 1 / b
    b : (b,) b-values, in s/mm² with D and Dstar in mm²/s, or in ms/µm² with D and Dstar in µm²/ms

    Returns
    -------
    Signals of the broadcast shape, in the unit of S0
    """
    return S0 * ((1 - f) * np.exp(-b * D) + f * np.exp(-b * Dstar))
