"""What surrounds the units on a GPU: signals over S0 and levels of noise before, estimates and outcomes after.

The level of noise of a voxel is found as `general.levels.levels_of` finds it. Voxels are put into the order of their
levels by counting. Where a voxel lands within its level is left to chance; its result does not depend on it.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import as_device
from ivimsc.models.limits import LARGEST_S0
from ivimsc.numerics import lanes
from ivimsc.outcome import Outcome

__all__ = [
    "Base",
    "Entered",
    "NoiseLevels",
    "Reach",
    "begin_kernel",
    "clear_kernel",
    "enter_general_kernel",
    "enter_kernel",
    "leave_kernel",
    "place_kernel",
]

ZERO, ONE, HALF, NAN = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(np.nan)
CONVERGED, AT_BOUND = int(Outcome.CONVERGED), int(Outcome.AT_BOUND)
UNIDENTIFIABLE, BAD_SIGNAL = int(Outcome.DSTAR_UNIDENTIFIABLE), int(Outcome.BAD_SIGNAL)
OUTSIDE = int(Outcome.OUTSIDE_TRAINING)
MOST = np.float32(LARGEST_S0)
_exp32 = as_device(lanes.exp32)


class Base(NamedTuple):
    """What a model for one protocol takes of the signals (voxel, column), and where it finds S0.

    columns (b,) int64: the model's b-values; S0 is `given` if that is above 0, else the column `zero` if that is not -1,
    else an array of its own.
    """

    columns: Any
    zero: int
    given: np.float32


class NoiseLevels(NamedTuple):
    """What leads a general model to the noise level of a voxel; see `general.levels`. A model for one protocol is not general.

    project (level, input, b) and origin (input,) float64: of the linear estimate of S0; sigma: noise SD in units of the
    signal, or 0; snr: that of every voxel, where sigma is 0; lowest: ln of S0 / σ of level 0; step: from one level to the
    next; general: there is one; beyond: the protocol lies outside the training.
    """

    project: Any
    origin: Any
    sigma: float
    snr: float
    lowest: float
    step: float
    general: bool
    beyond: bool


class Entered(NamedTuple):
    """The voxels of a chunk as they entered.

    y (b, voxel): signals over `scale`, float64 for a general model, else float32; scale (voxel,): S0, or for a general
    model a rough S0; 0 for bad signals. Of a general model alone: linear (voxel,): the linear estimate of S0, in units of
    scale; level (voxel,): the level of noise, or -1 - level where the noise lies outside the training.
    """

    y: Any
    scale: Any
    linear: Any
    level: Any


class Reach(NamedTuple):
    """b-values b (b,) [ms/µm²], weights (b,): images behind each, and the fields of `models.limits.Limits`; float32."""

    b: Any
    weights: Any
    low: Any
    high: Any
    trained: Any
    shown: Any


@cuda.jit(cache=True)
def enter_kernel(first, size, signals, bases, base, entered, places):
    """Signals over S0 for one protocol, into `entered.y` and `entered.scale`; all voxels in one set, as they come.

    signals (voxel, column), bases (voxel,): S0 where `base` asks for it. Both begin with voxel `first`.
    """
    i = cuda.grid(1)
    if i == 0:
        places.begins[0], places.begins[1] = 0, size
    if i >= size:
        return
    v, columns = first + i, base.columns
    S0 = base.given if base.given > ZERO else signals[v, base.zero] if base.zero >= 0 else bases[v]
    good, some = math.isfinite(S0) and S0 > ZERO, False
    for m in range(columns.shape[0]):
        value = signals[v, columns[m]]
        good = good and math.isfinite(value)
        some = some or value != ZERO
    good = good and some
    for m in range(columns.shape[0]):
        entered.y[m, i] = signals[v, columns[m]] / S0 if good else ZERO
    entered.scale[i], places.order[i] = S0 if good else ZERO, i


@cuda.jit(device=True)
def _level_of(ratio, levels):
    """The level of noise of one voxel from its S0 / σ, and whether it lies outside the training."""
    if not ratio > 0.0:
        return 0, True
    most = levels.project.shape[0] - 1.0
    place = (math.log(ratio) - levels.lowest) / levels.step
    level = math.floor(place + 0.5) if math.isfinite(place) else (0.0 if place < 0.0 else most + 1.0)
    return int(min(max(level, 0.0), most)), not (0.0 <= level <= most)


@cuda.jit(device=True)
def _linear_s0(y, i, project, origin):
    """The linear estimate of S0 of voxel i of y (b, voxel), for one level's project (input, b), and origin (input,)."""
    s0 = 0.0
    for r in range(project.shape[0]):
        z = 0.0
        for m in range(project.shape[1]):
            z += project[r, m] * y[m, i]
        s0 += z * origin[r]
    return s0


@cuda.jit(cache=True)
def enter_general_kernel(first, size, signals, levels, entered, counts):
    """Signals over a rough S0, into `entered.y` and `entered.scale`, and the level of noise, into `entered.level`.

    counts (level,): the number of voxels of each level, added to.
    """
    i = cuda.grid(1)
    if i >= size:
        return
    v, y, sigma = first + i, entered.y, levels.sigma
    good = signals[v, 0] > ZERO
    for m in range(signals.shape[1]):
        good = good and math.isfinite(signals[v, m])
    rough = max(np.float64(max(signals[v, 0], signals[v, 1])), 1e-30) if good else 0.0
    for m in range(signals.shape[1]):
        y[m, i] = signals[v, m] / rough if good else 0.0
    own, outside = 0, False
    if good and sigma > 0.0:
        own, outside = _level_of(rough / sigma, levels)
        for _ in range(2):
            s0 = _linear_s0(y, i, levels.project[own], levels.origin)
            own, outside = _level_of((s0 if s0 > 0.0 else 1.0) * rough / sigma, levels)
    elif good:
        own, outside = _level_of(levels.snr, levels)
    entered.scale[i], entered.level[i] = rough, -1 - own if outside else own
    cuda.atomic.add(counts, own, 1)


@cuda.jit(cache=True)
def clear_kernel(counts):
    """Begin to count: counts (level,) = 0. For one thread."""
    for k in range(counts.shape[0]):
        counts[k] = 0


@cuda.jit(cache=True)
def begin_kernel(counts, begins, cursors):
    """Where the voxels of each level begin, from their counts (level,). For one thread.

    begins (level + 1,) and cursors (level,) are written; `place_kernel` moves the cursors on.
    """
    total = 0
    for k in range(counts.shape[0]):
        begins[k] = total
        cursors[k] = total
        total += counts[k]
    begins[counts.shape[0]] = total


@cuda.jit(cache=True)
def place_kernel(size, entered, levels, cursors, order, z):
    """Give every voxel a place among those of its level: order (place,) is written.

    Written too: z (input, place), what the units take, and `entered.linear`.
    """
    i = cuda.grid(1)
    if i >= size:
        return
    y, project = entered.y, levels.project
    own = entered.level[i] if entered.level[i] >= 0 else -1 - entered.level[i]
    place = cuda.atomic.add(cursors, own, 1)
    order[place] = i
    s0 = _linear_s0(y, i, project[own], levels.origin)
    for r in range(z.shape[0]):
        value = 0.0
        for m in range(y.shape[0]):
            value += project[own, r, m] * y[m, i]
        z[r, place] = value / s0 if s0 != 0.0 else 0.0
    entered.linear[i] = s0


@cuda.jit(device=True)
def _squares(y, i, reach, S0, f, d, p):
    """Σ r² and Σ n r² of voxel i of y (b, voxel); a part without diffusivity (NaN) explains nothing."""
    b, weights, squares, weighted = reach.b, reach.weights, ZERO, ZERO
    for m in range(b.shape[0]):
        tissue = ZERO if math.isnan(d) else _exp32(-b[m] * d)
        blood = ZERO if math.isnan(p) else _exp32(-b[m] * p)
        rest = S0 * ((ONE - f) * tissue + f * blood) - np.float32(y[m, i])
        squares += rest * rest
        weighted += weights[m] * rest * rest
    return squares, weighted


@cuda.jit(device=True)
def _is_beyond(value, ends):
    """Whether a parameter lies below 0, or outside `ends` (2,); NaN does not."""
    return value < ZERO or value < ends[0] or value > ends[1]


@cuda.jit(device=True)
def _shown(value, low, high, instead):
    """A value within low..high, or `instead` where it is NaN."""
    return instead if math.isnan(value) else min(max(value, low), high)


@cuda.jit(cache=True)
def leave_kernel(first, size, order, sums, entered, reach, levels, result, outcome):
    """Equations (8) to (10), residuals and outcomes, as `models.estimates.to_estimates` finds them.

    order (place,) and sums (4, place) come from the units. Written from voxel `first` on: result (6, voxel), which is S0,
    f, D, D*, rmse and spread, and outcome (voxel,).
    """
    place = cuda.grid(1)
    if place >= size:
        return
    i = order[place]
    y, general = entered.y, levels.general
    v, unit, n_b = first + i, entered.scale[i], reach.b.shape[0]
    if not unit > 0.0:
        for k in range(6):
            result[k, v] = NAN
        outcome[v] = BAD_SIGNAL
        return
    tissue, blood = sums[0, place], sums[2, place]
    f, d, p = blood / (tissue + blood), sums[1, place] / tissue, sums[3, place] / blood
    S0 = np.float32((tissue + blood) * entered.linear[i]) if general else ONE
    squares, weighted = _squares(y, i, reach, S0, f, d, p)
    outside = not f <= ONE or not S0 > ZERO
    trained = reach.trained
    outside = outside or _is_beyond(f, trained[0]) or _is_beyond(d, trained[1]) or _is_beyond(p, trained[2])
    largest = ONE  # in units of `unit`, which is a signal, too
    for m in range(n_b):
        largest = max(largest, np.float32(y[m, i]))
        outside = outside or y[m, i] < reach.low[m] or y[m, i] > reach.high[m]
    outside = outside or S0 > MOST * largest
    ending = AT_BOUND if math.isnan(d) else CONVERGED
    ending = UNIDENTIFIABLE if math.isnan(p) else ending
    outside = outside or (general and (levels.beyond or entered.level[i] < 0))
    spread = np.float32(math.sqrt(weighted / np.float32(n_b)))
    rmse = np.float32(math.sqrt(squares / np.float32(n_b)))
    if outside:
        ending, most, shown = OUTSIDE, MOST * largest, reach.shown
        S0, rmse = _shown(S0, ZERO, most, largest), _shown(rmse, ZERO, most, most)
        f = _shown(f, shown[0, 0], shown[0, 1], HALF * (shown[0, 0] + shown[0, 1]))
        d = _shown(d, shown[1, 0], shown[1, 1], HALF * (shown[1, 0] + shown[1, 1]))
        p = _shown(p, shown[2, 0], shown[2, 1], HALF * (shown[2, 0] + shown[2, 1]))
    result[0, v], result[1, v], result[2, v], result[3, v] = S0 * unit, f, d * np.float32(1e-3), p * np.float32(1e-3)
    result[4, v], result[5, v] = rmse * unit, spread * unit
    outcome[v] = ending
