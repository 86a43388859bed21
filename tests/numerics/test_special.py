"""The polynomials against numpy and scipy."""

import numpy as np
from numba import njit
from scipy.special import i0e

from ivimsc.numerics.special import log32, log_i0e32


@njit
def _each(function, x, out):
    for i in range(len(x)):
        out[i] = function(x[i])


def _error(function, x, expected):
    found = np.empty_like(x)
    _each(function, x, found)
    return np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)))


def test_log_over_the_range_of_float32():
    x = np.geomspace(1.2e-38, 3e38, 100_000).astype(np.float32)
    assert _error(log32, x, np.log(x.astype(np.float64))) < 2e-7  # two units in the last place of float32


def test_log_of_the_scaled_bessel_function():
    x = np.r_[0, np.geomspace(1e-6, 1e5, 100_000)].astype(np.float32)
    assert _error(log_i0e32, x, np.log(i0e(x.astype(np.float64)))) < 1e-6  # as its docstring says
