"""The last step of the least-squares fits on a GPU: `finish`, one thread per voxel."""

import math

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import as_device
from ivimsc.numerics import finish, lanes

__all__ = ["finish_kernel"]

ONE = 1.0
_add_gram, _unit_variances, _noise_level, _store, _exp64 = (
    as_device(f) for f in (finish.add_gram, finish.unit_variances, finish.noise_level, finish.store, lanes.exp64)
)


@cuda.jit(cache=True)
def finish_kernel(first, size, b, scale, found, sigma, known_s0, limits, result, outcome):
    """See `finish.finish`: scale (chunk,), found (6, chunk); result (8, voxel), outcome (voxel,) from `first` on."""
    i = cuda.grid(1)
    if i >= size:
        return
    row = (found[0, i], found[1, i], found[2, i], found[3, i], found[4, i], found[5, i])
    good = scale[i] > 0
    a, c = (np.float64(row[0]), np.float64(row[1])) if good else (ONE, ONE)
    d, p = (np.float64(row[2]), np.float64(row[3])) if good else (ONE, ONE)
    sums = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for k in range(b.shape[0]):
        bk = np.float64(b[k])
        sums = _add_gram(sums, _exp64(-bk * d), _exp64(-bk * p), bk)
    f_variance, d_variance, p_variance = _unit_variances(sums, a, c, known_s0)
    errors = (math.sqrt(max(f_variance, 0.0)), math.sqrt(max(d_variance, 0.0)), math.sqrt(max(p_variance, 0.0)))
    n = b.shape[0]
    noise = _noise_level(row[4], n, 3 if known_s0 else 4, sigma, scale[i]) if good else np.nan
    _store(first + i, scale[i], row, errors, noise, n, limits, result, outcome)
