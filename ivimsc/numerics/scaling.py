"""Signals brought to a largest value of 1, and those that cannot be fitted told apart."""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, KERNEL

__all__ = ["load_scaled", "scale_of", "scales"]

_SMALLEST = np.float32(1.1754944e-38)  # below it float32 is denormal and 1 / scale overflows


@njit(**JIT)
def scale_of(signals, v):
    """Max |signal| over b of voxel `v` of signals (voxel, b), or 0 for a bad signal: see `scales`."""
    largest = np.float32(0.0)
    finite = True
    for i in range(signals.shape[1]):
        value = signals[v, i]
        finite &= math.isfinite(value)
        largest = max(largest, abs(value))
    return largest if finite and signals[v, 0] > 0 and largest >= _SMALLEST else np.float32(0.0)


@njit(**KERNEL)
def scales(signals, scale):
    """Scale (voxel,): max |signal| over b, or 0 for a bad signal.

    Bad is a signal (voxel, b) with NaN or Inf, all zero, or not above 0 at the smallest b (the first: S0 <= 0).
    """
    for v in range(len(signals)):
        scale[v] = scale_of(signals, v)


@njit(**JIT)
def load_scaled(w, lane, signals, v, scale, root):
    """Copy signal `v`, divided by `scale` and times root (b,), into `lane` of w (b, lanes); 0 where it is bad (scale 0)."""
    inverse = np.float32(1.0) / scale if scale > 0 else np.float32(0.0)
    for i in range(len(w)):
        w[i, lane] = signals[v, i] * inverse * root[i] if scale > 0 else np.float32(0.0)
