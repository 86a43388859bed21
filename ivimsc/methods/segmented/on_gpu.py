"""Segmented least squares on a GPU: one thread per voxel, its signal in shared memory, all voxels the same work."""

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.device.finishing import FOUND, finish_kernel
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import grid, on_device, run_chunks, threads_for
from ivimsc.methods.segmented import exponential
from ivimsc.methods.segmented.exponential import NEWTON_STEPS, Decay, DecayGrid, Weighted
from ivimsc.numerics import lanes, scaling
from ivimsc.numerics.finish import Found, Problem

__all__ = ["Segments", "segments_kernel"]

ZERO, ONE, TEN = np.float32(0.0), np.float32(1.0), np.float32(10.0)
_scale_of, _exp32, _line_at_zero, _into_cone, _decay_amplitude, _newton_rate = (
    as_device(f)
    for f in (
        scaling.scale_of,
        lanes.exp32,
        exponential.line_at_zero,
        exponential.into_cone,
        exponential.decay_amplitude,
        exponential.newton_rate,
    )
)


@cuda.jit(device=True)
def _bracket(y, grid):
    """Best node of the grid and its neighbours."""
    nodes, columns = grid.nodes, grid.columns
    best, at = -ONE, 0
    for j in range(nodes.shape[0]):
        product = ZERO
        for i in range(y.shape[0]):
            product += columns[j, i] * y[i]
        if product > best:
            best, at = product, j
    return nodes[at], nodes[max(at - 1, 0)], nodes[min(at + 1, nodes.shape[0] - 1)]


@cuda.jit(device=True)
def _amplitude(y, b, rate):
    """The best amplitude at `rate`, and the sums `Weighted`."""
    total, g, bg, bbg = ZERO, ZERO, ZERO, ZERO
    for i in range(y.shape[0]):
        e = _exp32(-b[i] * rate)
        total += y[i] * e
        g += e * e
        bg += b[i] * e * e
        bbg += b[i] * b[i] * e * e
    return _decay_amplitude(total, g), Weighted(g, bg, bbg)


@cuda.jit(device=True)
def _fit_decay(y, grid):
    """The best exponential: `exponential.fit_decay`."""
    b = grid.b
    rate, low, high = _bracket(y, grid)
    for _ in range(NEWTON_STEPS):
        amplitude, weighted = _amplitude(y, b, rate)
        first, second = ZERO, ZERO
        for i in range(y.shape[0]):
            e = _exp32(-b[i] * rate)
            r = b[i] * e * (y[i] - amplitude * e)
            first += r
            second += b[i] * r
        rate = _newton_rate(Decay(rate, amplitude), weighted, first, second, low, high)
    amplitude, _weighted = _amplitude(y, b, rate)
    return Decay(rate, amplitude)


@cuda.jit(cache=True)
def segments_kernel(first, size, signals, problem, split, scale, found):
    """Scale (chunk,) and `Found` of the voxels first .. first + size: `method._fit_lanes`."""
    v = cuda.grid(1)
    if v >= size:
        return
    width, lane, n_b = cuda.blockDim.x, cuda.threadIdx.x, signals.shape[1]
    b, box, n_low, loglinear = problem.b, problem.box, split.n_low, split.loglinear
    y = cuda.shared.array(0, float32)[lane : n_b * width : width]
    factor = _scale_of(signals, first + v)
    scale[v] = factor
    inverse = ONE / factor if factor > ZERO else ZERO
    for i in range(n_b):
        y[i] = signals[first + v, i] * inverse if factor > ZERO else ZERO
    d, tissue = _fit_decay(y[n_low:], split.high)
    if loglinear:
        blood = max(_line_at_zero(y[:n_low], b[:n_low]) - tissue, ZERO)
        p = min(max(TEN * d, box.p_low), box.p_high)
    else:
        for i in range(n_low):
            y[i] -= tissue * _exp32(-b[i] * d)
        p, blood = _fit_decay(y[:n_low], split.low)
    blood = _into_cone(tissue, blood, box.f_low, box.f_high)
    squares = ZERO
    for i in range(n_b):
        r = y[i] - blood * _exp32(-b[i] * p)
        r -= ZERO if i < n_low and not loglinear else tissue * _exp32(-b[i] * d)
        squares += r * r
    found.tissue[v], found.blood[v], found.d[v], found.p[v] = tissue, blood, d, p
    found.squares[v], found.done[v] = squares, True


class Segments:
    """segmented on a GPU for one protocol; the arguments are those of the kernel of `method`, in host memory."""

    def __init__(self, launch: Launch, problem: Problem, split) -> None:
        self.launch = launch
        n_b = len(problem.b)
        self.threads = threads_for(n_b, f"segmented with {n_b} b-values")
        self.shared = 4 * n_b * self.threads
        with on_device(launch):
            self.problem = problem._replace(b=cuda.to_device(problem.b))
            high, low = (DecayGrid(*(cuda.to_device(array) for array in part)) for part in (split.high, split.low))
            self.split = split._replace(high=high, low=low)

    def run(self, signals, rows, outcome) -> None:
        """Fit signals (voxel, b) float32: rows (RESULT_ROWS, voxel) float32, outcome (voxel,) uint8, on the same side."""

        def work(stream, start, first, size, inputs, outputs, scratch):
            scale, found = scratch[0], Found(*scratch[1:])
            blocks = grid(size, self.threads), self.threads, stream
            segments_kernel[(*blocks, self.shared)](first, size, *inputs, self.problem, self.split, scale, found)
            finish_kernel[blocks](first, size, self.problem, scale, found, *outputs)

        scratch = [((), np.float32), *FOUND]
        run_chunks(self.launch, len(signals), [signals], [rows, outcome], scratch, work)
