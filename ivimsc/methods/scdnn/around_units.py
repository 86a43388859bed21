"""What surrounds scdnn's units on a GPU: signals over S0 and levels of noise before, estimates and outcomes after.

A voxel's level of noise is found as `general.levels_of` does; voxels are put into the order of their levels by
counting. Where a voxel lands within its level is left to chance; its result does not depend on it.
"""

import math

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import as_device
from ivimsc.numerics import lanes
from ivimsc.numerics.finish import AT_BOUND, BAD_SIGNAL, CONVERGED, UNIDENTIFIABLE

__all__ = ["begin_kernel", "clear_kernel", "enter_general_kernel", "enter_kernel", "leave_kernel", "place_kernel"]

ZERO, ONE, NAN = np.float32(0.0), np.float32(1.0), np.float32(np.nan)
OUTSIDE = 7  # estimates.Outcome
_exp32 = as_device(lanes.exp32)


@cuda.jit(cache=True)
def enter_kernel(first, size, signals, bases, columns, zero, given, y, scale, order, begins):
    """Signals over S0 for one protocol: y (b, chunk) and scale (chunk,), S0 or 0 for a bad voxel.

    order (chunk,), begins (2,): all voxels in one set, as they come.

    columns (b,): of the signals (voxel, column); S0 is `given` if above 0, else column `zero`, else bases (voxel,).
    """
    i = cuda.grid(1)
    if i == 0:
        begins[0], begins[1] = 0, size
    if i >= size:
        return
    v = first + i
    S0 = given if given > ZERO else signals[v, zero] if zero >= 0 else bases[v]
    good, some = math.isfinite(S0) and S0 > ZERO, False
    for m in range(columns.shape[0]):
        value = signals[v, columns[m]]
        good = good and math.isfinite(value)
        some = some or value != ZERO
    good = good and some
    for m in range(columns.shape[0]):
        y[m, i] = signals[v, columns[m]] / S0 if good else ZERO
    scale[i], order[i] = S0 if good else ZERO, i


@cuda.jit(device=True)
def _level_of(ratio, lowest, step, most):
    """`general.levels_of` of one voxel."""
    if not ratio > 0.0:
        return 0, True
    place = (math.log(ratio) - lowest) / step
    level = math.floor(place + 0.5) if math.isfinite(place) else (0.0 if place < 0.0 else most + 1.0)
    return int(min(max(level, 0.0), most)), not (0.0 <= level <= most)


@cuda.jit(device=True)
def _linear_s0(y, i, project, origin):
    """The linear estimate of S0 of y (b, chunk) at i; project (rank, b), origin (rank,)."""
    s0 = 0.0
    for r in range(project.shape[0]):
        z = 0.0
        for m in range(project.shape[1]):
            z += project[r, m] * y[m, i]
        s0 += z * origin[r]
    return s0


@cuda.jit(cache=True)
def enter_general_kernel(first, size, signals, project, origin, sigma, snr, lowest, step, y, scale, level, counts):
    """Signals over a rough S0, y (b, chunk) float64 and scale (chunk,), and the level of noise.

    level (chunk,): -1 - level where the noise lies outside the training; counts (level,): voxels of each, added to.
    """
    i = cuda.grid(1)
    if i >= size:
        return
    v, most = first + i, project.shape[0] - 1.0
    good = signals[v, 0] > ZERO
    for m in range(signals.shape[1]):
        good = good and math.isfinite(signals[v, m])
    rough = max(np.float64(max(signals[v, 0], signals[v, 1])), 1e-30) if good else 0.0
    for m in range(signals.shape[1]):
        y[m, i] = signals[v, m] / rough if good else 0.0
    own, outside = 0, False
    if good and sigma > 0.0:
        own, outside = _level_of(rough / sigma, lowest, step, most)
        for _ in range(2):
            s0 = _linear_s0(y, i, project[own], origin)
            own, outside = _level_of((s0 if s0 > 0.0 else 1.0) * rough / sigma, lowest, step, most)
    elif good:
        own, outside = _level_of(snr, lowest, step, most)
    scale[i], level[i] = rough, -1 - own if outside else own
    cuda.atomic.add(counts, own, 1)


@cuda.jit(cache=True)
def clear_kernel(counts):
    """Start to count: counts (level,) = 0. One thread."""
    for k in range(counts.shape[0]):
        counts[k] = 0


@cuda.jit(cache=True)
def begin_kernel(counts, begins, cursors):
    """Where the voxels of a level begin, begins (level + 1,) and cursors (level,), from their counts (level,). One thread."""
    total = 0
    for k in range(counts.shape[0]):
        begins[k] = total
        cursors[k] = total
        total += counts[k]
    begins[counts.shape[0]] = total


@cuda.jit(cache=True)
def place_kernel(size, y, level, project, origin, cursors, order, z, linear):
    """A place among its level for every voxel: order (chunk,), voxel of a place; z (rank, place); linear (chunk,): S0."""
    i = cuda.grid(1)
    if i >= size:
        return
    own = level[i] if level[i] >= 0 else -1 - level[i]
    place = cuda.atomic.add(cursors, own, 1)
    order[place] = i
    s0 = _linear_s0(y, i, project[own], origin)
    for r in range(z.shape[0]):
        value = 0.0
        for m in range(y.shape[0]):
            value += project[own, r, m] * y[m, i]
        z[r, place] = value / s0 if s0 != 0.0 else 0.0
    linear[i] = s0


@cuda.jit(device=True)
def _rest(y, i, b, S0, f, d, p):
    """Σ r² of y (b, chunk) at i; a part without diffusivity (NaN) explains nothing."""
    squares = ZERO
    for m in range(b.shape[0]):
        tissue = ZERO if math.isnan(d) else _exp32(-b[m] * d)
        blood = ZERO if math.isnan(p) else _exp32(-b[m] * p)
        rest = S0 * ((ONE - f) * tissue + f * blood) - np.float32(y[m, i])
        squares += rest * rest
    return squares


@cuda.jit(cache=True)
def leave_kernel(first, size, order, sums, y, scale, linear, level, b, low, high, sigma, snr, limit, beyond, result, outcome):  # fmt: skip
    """Equations (8) to (10), residuals and outcomes, as `learned.to_estimates`: result (5, voxel) S0, f, D, D*, rmse.

    linear (chunk,), level (chunk,): of a general model, else empty, with limit 0.
    """
    place = cuda.grid(1)
    if place >= size:
        return
    i = order[place]
    v, unit, n_b = first + i, scale[i], b.shape[0]
    if not unit > 0.0:
        for k in range(5):
            result[k, v] = NAN
        outcome[v] = BAD_SIGNAL
        return
    tissue, blood = sums[0, place], sums[2, place]
    f, d, p = blood / (tissue + blood), sums[1, place] / tissue, sums[3, place] / blood
    S0 = np.float32((tissue + blood) * linear[i]) if limit > 0.0 else ONE
    squares = _rest(y, i, b, S0, f, d, p)
    outside = f < ZERO or f > ONE or d < ZERO or p < ZERO
    for m in range(n_b):
        outside = outside or y[m, i] < low[m] or y[m, i] > high[m]
    if limit > 0.0:
        noise = sigma / unit if sigma > 0.0 else (S0 if S0 > ZERO else 1.0) / snr
        outside = outside or beyond or level[i] < 0 or squares > limit * noise * noise
    ending = OUTSIDE if outside else CONVERGED
    ending = AT_BOUND if math.isnan(d) else UNIDENTIFIABLE if math.isnan(p) else ending
    result[0, v], result[1, v], result[2, v], result[3, v] = S0 * unit, f, d * np.float32(1e-3), p * np.float32(1e-3)
    result[4, v] = math.sqrt(squares / np.float32(n_b)) * unit
    outcome[v] = ending
