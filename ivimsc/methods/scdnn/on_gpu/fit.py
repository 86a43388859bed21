"""SCDNN on a GPU, from signals to estimates. This module is loaded only where a GPU is.

A model for one protocol divides signals by S0, and all voxels go through the same units. A general model also finds the
level of noise of each voxel, and its units have weights of their own for every level. So its voxels are sorted by level:
they are counted, the counts are summed up, and atomic additions put every voxel into place. A block of threads then works
with one set of weights.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.device.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.methods.scdnn.codes import weights_of
from ivimsc.methods.scdnn.general.canonical import SNR
from ivimsc.methods.scdnn.general.levels import STEP, Level
from ivimsc.methods.scdnn.on_gpu.around_units import (
    Base,
    Entered,
    NoiseLevels,
    Reach,
    begin_kernel,
    clear_kernel,
    enter_general_kernel,
    enter_kernel,
    leave_kernel,
    place_kernel,
)
from ivimsc.methods.scdnn.on_gpu.units import Places, Scratch, units_kernel
from ivimsc.methods.scdnn.units import Weights
from ivimsc.models import Model
from ivimsc.models.estimates import Signals
from ivimsc.models.limits import Limits

__all__ = ["GpuNetwork", "any_protocol", "one_protocol"]

CHUNK = 2**17  # voxels: 600 atoms of each take 2.4 kB
F4, F8, I4 = np.float32, np.float64, np.int32


def one_protocol(
    launch: Launch, model: Model, bvalues: NDArray[np.float64], signals: Signals, limits: Limits
) -> "GpuNetwork":
    """The network of a model for one protocol, on the GPU of `launch`; bvalues (b,) [s/mm²] and limits are the model's."""
    base = Base(np.asarray(signals.columns, np.int64), signals.zero, np.float32(signals.s0 or 0.0))
    return GpuNetwork(launch, _stacked([weights_of(model)]), _reach(bvalues, signals.weights, limits), base)


def any_protocol(
    launch: Launch,
    bvalues: NDArray[np.float64],
    weights: NDArray[np.float64],
    levels: Sequence[Level],
    noise: tuple[float, float],
    limits: Limits,
    beyond: bool,
) -> "GpuNetwork":
    """The network of a general model, on the GPU of `launch`.

    Parameters
    ----------
    launch : the GPU
    bvalues, weights : (b,) [s/mm²], and images behind each
    levels : the weights of every level of noise
    noise : SD in units of the signal, or 0; and the SNR of every voxel, or 0
    limits : of the model
    beyond : the protocol lies outside the training
    """
    project, ends = np.stack([level.project for level in levels]), (math.log(SNR[0]), math.log(STEP))
    found = NoiseLevels(project, levels[0].origin, *noise, *ends, True, beyond)
    return GpuNetwork(launch, _stacked([level.weights for level in levels]), _reach(bvalues, weights, limits), found)


def _stacked(levels: Sequence[Weights]) -> Weights:
    """The weights of several networks as one, with a first axis of networks."""
    w, phi, thresholds = (np.stack([getattr(own, name) for own in levels]) for name in ("w", "phi", "thresholds"))
    return levels[0]._replace(w=w, phi=phi, thresholds=thresholds, grid=levels[0].grid.astype(np.float32))


def _reach(bvalues: NDArray[np.float64], weights: NDArray[np.float64], limits: Limits) -> Reach:
    """What the voxels of a fit are held against."""
    return Reach((bvalues * 1e-3).astype(np.float32), weights.astype(np.float32), *limits)


def _on_device(group: Any) -> Any:
    """A NamedTuple with its arrays copied to the current GPU."""
    return group._make(cuda.to_device(np.ascontiguousarray(a)) if isinstance(a, np.ndarray) else a for a in group)


class GpuNetwork:
    """A trained network on a GPU.

    Parameters
    ----------
    launch : the GPU
    weights : with an axis of levels of noise, of which a model for one protocol has one
    reach : b-values, and the signals of the training
    entry : `Base` for a model for one protocol, `NoiseLevels` for a general one
    """

    def __init__(self, launch: Launch, weights: Weights, reach: Reach, entry: Base | NoiseLevels) -> None:
        self.launch, self.general = launch, isinstance(entry, NoiseLevels)
        self.levels, _, rank, n = weights.w.shape
        self.units = units_kernel(rank)
        with on_device(launch):
            self.weights = _on_device(weights._replace(w=weights.w.swapaxes(2, 3), phi=weights.phi.swapaxes(2, 3)))
            self.reach, self.entry = _on_device(reach), _on_device(entry)
            self.nothing = {kind: cuda.device_array(1, kind) for kind in (F4, F8, I4)}
            self.no_codes = cuda.device_array((1, 1), F4)
            none = NoiseLevels(np.empty((1, 1, 1)), np.empty(1), 0.0, 0.0, 0.0, 0.0, False, False)
            self.noise = self.entry if self.general else _on_device(none)
        inner = [((4,), F4), ((n,), F4), ((n if weights.onto_input else 1,), F4), ((), I4)]  # sums, x, u, order
        n_b, levels = len(reach.b), self.levels
        if self.general:  # z; y, scale, linear, level of `Entered`; begins, counts, cursors
            own = [((rank,), F4), ((n_b,), F8), ((), F8), ((), F8), ((), I4)]
            self.scratch, self.fixed = inner + own, [((levels + 1,), I4), ((levels,), I4), ((levels,), I4)]
        else:  # y, scale; begins
            self.scratch, self.fixed = [*inner, ((rank,), F4), ((), F4)], [((2,), I4)]

    def run(self, signals: Any, result: Any, outcome: Any, bases: Any = None, codes: Any = None) -> None:
        """Fit signals; all arrays are in host memory, or all on the GPU.

        Parameters
        ----------
        signals : (voxel, b) float32
        result : (6, voxel) float32, written: S0, f, D, D*, rmse, spread
        outcome : (voxel,) uint8, written
        bases : (voxel,) float32 S0, where it is neither given nor a column of the signals
        codes : (atom, voxel) float32, written; or None
        """
        inputs = [signals] if bases is None else [signals, bases]
        outputs = [result, outcome] if codes is None else [result, outcome, codes]
        work = self._fit_any_protocol if self.general else self._fit_one_protocol
        run_chunks(self.launch, len(signals), inputs, outputs, self.scratch, work, chunk=CHUNK, fixed=self.fixed)

    def _fit_one_protocol(self, stream, start, first, size, inputs, outputs, scratch) -> None:
        """One chunk; the arguments are those of `streaming.Work`."""
        sums, x, u, order, y, scale, begins = scratch
        signals, bases = (*inputs, self.nothing[F4])[:2]
        entered, places = Entered(y, scale, self.nothing[F8], self.nothing[I4]), Places(order, begins)
        enter_kernel[grid(size, THREADS), THREADS, stream](first, size, signals, bases, self.entry, entered, places)
        self._run_units(stream, first, size, y, places, Scratch(x, u), sums, outputs)
        self._leave(stream, first, size, order, sums, entered, outputs)

    def _fit_any_protocol(self, stream, start, first, size, inputs, outputs, scratch) -> None:
        """One chunk; the arguments are those of `streaming.Work`."""
        sums, x, u, order, z, *voxels, begins, counts, cursors = scratch
        entered, places, blocks = Entered(*voxels), Places(order, begins), grid(size, THREADS)
        clear_kernel[1, 1, stream](counts)
        enter_general_kernel[blocks, THREADS, stream](first, size, *inputs, self.noise, entered, counts)
        begin_kernel[1, 1, stream](counts, begins, cursors)
        place_kernel[blocks, THREADS, stream](size, entered, self.noise, cursors, order, z)
        self._run_units(stream, first, size, z, places, Scratch(x, u), sums, outputs)
        self._leave(stream, first, size, order, sums, entered, outputs)

    def _run_units(self, stream, first, size, z, places, scratch, sums, outputs) -> None:
        dense = len(outputs) > 2
        codes, blocks = outputs[2] if dense else self.no_codes, grid((size + 1) // 2, THREADS)
        launched = self.units[(blocks, self.levels), THREADS, stream]
        launched(first, z, places, self.weights, scratch, sums, codes, dense)

    def _leave(self, stream, first, size, order, sums, entered, outputs) -> None:
        launched = leave_kernel[grid(size, THREADS), THREADS, stream]
        launched(first, size, order, sums, entered, self.reach, self.noise, *outputs[:2])
