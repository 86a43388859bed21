"""How the fit of one voxel ended: the one rule by which every method tells the outcomes 1, 2 and 4 apart.

The order in which outcomes win, from the first to the last. A kernel asks these questions one after the other, and the
first that is answered with yes gives the outcome:

1. bad signal (`BAD_SIGNAL`): there is nothing to fit;
2. iteration limit (`ITERATION_LIMIT`): the search did not end, so its point and its errors mean little;
3. D* not identifiable (`UNIDENTIFIABLE`): at the estimate, f = 0 or D* = D lies within 1.96 standard errors;
4. at a bound (`AT_BOUND`): f, D or D*, or K where the model has it, lies at one of its bounds;
5. converged (`CONVERGED`).

`ending` answers the last three. The first two are known to the method alone, before it asks `ending`.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ivimsc.compiling import JIT
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import Bounds

__all__ = [
    "AT_BOUND",
    "BAD_SIGNAL",
    "CONVERGED",
    "ITERATION_LIMIT",
    "UNIDENTIFIABLE",
    "Z",
    "Box",
    "boxes_of",
    "ending",
]

# Kernels take plain integers: this is the one place where they get them.
CONVERGED = int(Outcome.CONVERGED)
AT_BOUND = int(Outcome.AT_BOUND)
ITERATION_LIMIT = int(Outcome.ITERATION_LIMIT)
UNIDENTIFIABLE = int(Outcome.DSTAR_UNIDENTIFIABLE)
BAD_SIGNAL = int(Outcome.BAD_SIGNAL)
MISFIT = int(Outcome.MISFIT)

Z = 1.96  # a normal variable lies within this many standard deviations with a probability of 95 %


class Box(NamedTuple):
    """Bounds of f, D and D* for a kernel; D and D* in the unit that the kernel computes in."""

    f_low: np.float32
    f_high: np.float32
    d_low: np.float32
    d_high: np.float32
    p_low: np.float32
    p_high: np.float32


def _inside(low: float, high: float) -> tuple[np.float32, np.float32]:
    """The smallest and the largest float32 within low..high; of one value, the float32 next to it."""
    low32, high32 = np.float32(low), np.float32(high)
    if low == high:
        return low32, high32
    low32 = low32 if float(low32) >= low else np.nextafter(low32, np.float32(np.inf))
    high32 = high32 if float(high32) <= high else np.nextafter(high32, np.float32(-np.inf))
    return low32, high32


def boxes_of(bounds: Bounds) -> tuple[Box, Box]:
    """The box that a kernel searches, D and D* in µm²/ms, and the box of its results, in mm²/s.

    The numbers of the second lie within the bounds exactly, also where these are float64: results are cut to them.
    """
    d, p = np.multiply(bounds.D, 1e3), np.multiply(bounds.Dstar, 1e3)
    f = _inside(*bounds.f)
    return Box(*f, *np.float32((*d, *p))), Box(*f, *_inside(*bounds.D), *_inside(*bounds.Dstar))


@njit(**JIT)
def ending(f, d, p, f_error, p_error, box):
    """The outcome of a voxel that was fitted: not identifiable, at a bound, or converged; the first that holds.

    Parameters
    ----------
    f, d, p : float
        Estimates of f, D and D*. D, D*, their errors and their bounds share one unit, whichever it is.
    f_error, p_error : float
        Standard errors of f and D*: the Cramér-Rao bound at the estimate times the noise. That of f is NaN where the noise
        is not known, or the b-values are too few: then nothing shows that the data determine f and D*.
    box : Box
        Bounds of f, D and D*.

    Returns
    -------
    int
        `UNIDENTIFIABLE`, `AT_BOUND` or `CONVERGED`.
    """
    # D* is compared with D by its logarithm, whose standard error is p_error / p.
    if not f > Z * f_error or (d > 0 and math.log(p / d) * p <= Z * p_error):
        return UNIDENTIFIABLE
    at_bound = f <= box.f_low or f >= box.f_high or d <= box.d_low or d >= box.d_high
    fixed = box.p_low == box.p_high  # a D* that is held fixed is at no bound
    return AT_BOUND if at_bound or (not fixed and (p <= box.p_low or p >= box.p_high)) else CONVERGED
