"""scdnn on a GPU, from signals to estimates: what enters the units, the order that voxels go through them in, what leaves.

A model for one protocol divides signals by S0. A general one also finds each voxel's level of noise, and its units have
weights of their own for every level: so voxels are sorted by level (counted, summed up, put into place by atomic
additions), and a block of threads works with one set of weights. Where a voxel lands within its level is left to chance;
its result does not depend on it.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ivimsc.kernels import lanes
from ivimsc.kernels.cuda.device_functions import as_device
from ivimsc.kernels.cuda.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.kernels.cuda.unrolled import units_kernel
from ivimsc.kernels.finish import AT_BOUND, BAD_SIGNAL, CONVERGED, UNIDENTIFIABLE
from ivimsc.kernels.launch import Launch

__all__ = ["General", "Network", "Reach", "Weights"]

ZERO, ONE, NAN = np.float32(0.0), np.float32(1.0), np.float32(np.nan)
CHUNK = 2**17  # voxels: 600 atoms of each take 2.4 kB
OUTSIDE = 7  # estimates.Outcome
_exp32 = as_device(lanes.exp32)


class Weights(NamedTuple):
    """A network's units.

    w, phi (level, unit, rank, atom), thresholds (level, unit, atom): of every level of noise, of which a model for one
    protocol has one; grid (atom,) [µm²/ms]: the first n_d of tissue; hard: the threshold; onto_input: see `unrolled`.
    """

    w: NDArray[np.float32]
    phi: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    grid: NDArray[np.float32]
    n_d: int
    hard: bool
    onto_input: bool


class General(NamedTuple):
    """What leads a general model to a voxel's level of noise; see `learned.general`.

    project (level, rank, b), origin (rank,): of S0; sigma: noise SD in units of the signal, or 0; snr: of every voxel,
    where sigma is 0; lowest, step: ln of S0 / σ of level 0, and from one level to the next; limit: most Σ r² / σ² that
    the model explains; beyond: the protocol lies outside the training.
    """

    project: NDArray[np.float64]
    origin: NDArray[np.float64]
    sigma: float
    snr: float
    lowest: float
    step: float
    limit: float
    beyond: bool


class Reach(NamedTuple):
    """b-values b (b,) [ms/µm²], and the signals over S0 of the training: low, high (b,)."""

    b: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]


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


def _to_device(array: NDArray) -> Any:
    return cuda.to_device(np.ascontiguousarray(array))


class Network:
    """A trained scdnn on a GPU; `general` for a general model, `columns`, `zero` and `given` (`enter_kernel`) for others."""

    def __init__(
        self, launch: Launch, weights: Weights, reach: Reach, general: General | None = None,
        columns: NDArray[np.int64] | None = None, zero: int = -1, given: float = 0.0,
    ) -> None:  # fmt: skip
        self.launch, self.general, self.entry = launch, general, (zero, np.float32(given))
        levels, _, rank, n = weights.w.shape
        self.units, self.levels = units_kernel(rank), levels
        layers = [a.swapaxes(2, 3) for a in (weights.w, weights.phi)]
        with on_device(launch):
            self.weights = [_to_device(a) for a in (*layers, weights.thresholds, weights.grid)]
            self.reach = [_to_device(a) for a in reach]
            self.columns = None if columns is None else _to_device(columns)
            self.none = [cuda.device_array(1, dtype) for dtype in (np.float64, np.int32, np.float32)]
            self.nothing = cuda.device_array((1, 1), np.float32)
            self.projection = [] if general is None else [_to_device(a) for a in (general.project, general.origin)]
        self.how = weights.n_d, weights.hard, weights.onto_input
        f4, f8, i4 = np.float32, np.float64, np.int32
        inner = [((4,), f4), ((n,), f4), ((n if weights.onto_input else 1,), f4), ((), i4)]  # sums, x, u, order
        if general is None:
            self.scratch, self.fixed = [*inner, ((rank,), f4), ((), f4)], [((2,), i4)]
        else:
            own = [((rank,), f4), ((len(reach.b),), f8), ((), f8), ((), i4), ((), f8)]
            self.scratch, self.fixed = inner + own, [((levels + 1,), i4), ((levels,), i4), ((levels,), i4)]

    def run(self, signals: Any, result: Any, outcome: Any, bases: Any = None, codes: Any = None) -> None:
        """Fit signals (voxel, b) float32: result (5, voxel), outcome (voxel,), codes (atom, voxel) or None, on their side.

        bases (voxel,): S0, where it is neither given nor a column of the signals.
        """
        fit = self._fixed if self.general is None else self._general

        def work(stream, start, first, size, inputs, outputs, scratch):
            fit(stream, first, size, inputs, outputs, scratch)

        inputs = [signals] if bases is None else [signals, bases]
        outputs = [result, outcome] if codes is None else [result, outcome, codes]
        run_chunks(self.launch, len(signals), inputs, outputs, self.scratch, work, chunk=CHUNK, fixed=self.fixed)

    def _fixed(self, stream, first, size, inputs, outputs, scratch) -> None:
        *inner, y, scale, begins = scratch
        sums, _, _, order = inner
        signals, bases = (*inputs, self.none[2])[:2]
        enter_kernel[grid(size, THREADS), THREADS, stream](
            first, size, signals, bases, self.columns, *self.entry, y, scale, order, begins
        )
        self._units(stream, first, size, y, begins, inner, outputs)
        leave_kernel[grid(size, THREADS), THREADS, stream](
            first, size, order, sums, y, scale, *self.none[:2], *self.reach, 0.0, 0.0, 0.0, False, *outputs[:2]
        )

    def _general(self, stream, first, size, inputs, outputs, scratch) -> None:
        *inner, z, y, scale, level, linear, begins, counts, cursors = scratch
        sums, _, _, order = inner
        g, blocks = self.general, grid(size, THREADS)
        clear_kernel[1, 1, stream](counts)
        enter_general_kernel[blocks, THREADS, stream](
            first, size, *inputs, *self.projection, g.sigma, g.snr, g.lowest, g.step, y, scale, level, counts
        )
        begin_kernel[1, 1, stream](counts, begins, cursors)
        place_kernel[blocks, THREADS, stream](size, y, level, *self.projection, cursors, order, z, linear)
        self._units(stream, first, size, z, begins, inner, outputs)
        leave_kernel[blocks, THREADS, stream](
            first, size, order, sums, y, scale, linear, level, *self.reach, g.sigma, g.snr, g.limit, g.beyond, *outputs[:2]
        )  # fmt: skip

    def _units(self, stream, first, size, z, begins, inner, outputs) -> None:
        sums, x, u, order = inner
        codes = outputs[2] if len(outputs) > 2 else self.nothing
        blocks = grid((size + 1) // 2, THREADS), self.levels
        self.units[blocks, THREADS, stream](
            first, z, order, begins, *self.weights, *self.how, len(outputs) > 2, x, u, sums, codes
        )
