"""scdnn on a GPU, from signals to estimates: what enters the units, the order that voxels go through them in, what leaves.

A model for one protocol divides signals by S0. A general one also finds each voxel's level of noise, and its units have
weights of their own for every level: so voxels are sorted by level (counted, summed up, put into place by atomic
additions), and a block of threads works with one set of weights.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.device.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.methods.scdnn.around_units import (
    begin_kernel,
    clear_kernel,
    enter_general_kernel,
    enter_kernel,
    leave_kernel,
    place_kernel,
)
from ivimsc.methods.scdnn.units_on_gpu import units_kernel

__all__ = ["General", "Network", "Reach", "Weights"]

CHUNK = 2**17  # voxels: 600 atoms of each take 2.4 kB


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
    """What leads a general model to a voxel's level of noise; see `general`.

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
