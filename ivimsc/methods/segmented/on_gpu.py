"""Segmented least squares on a GPU: one thread per voxel, its signal in shared memory, all voxels the same work."""

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.device.finishing import finish_kernel
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import grid, on_device, run_chunks, threads_for
from ivimsc.methods.segmented import exponential
from ivimsc.methods.segmented.exponential import NEWTON_STEPS, DecayGrid
from ivimsc.numerics import lanes, scaling
from ivimsc.numerics.finish import Limits

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
def _bracket(y, nodes, columns):
    """Best node of the grid and its neighbours."""
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
    """Best amplitude at `rate`, and Σ e e, b e e, b² e e."""
    total, g, bg, bbg = ZERO, ZERO, ZERO, ZERO
    for i in range(y.shape[0]):
        e = _exp32(-b[i] * rate)
        total += y[i] * e
        g += e * e
        bg += b[i] * e * e
        bbg += b[i] * b[i] * e * e
    return _decay_amplitude(total, g), (g, bg, bbg)


@cuda.jit(device=True)
def _fit_decay(y, b, nodes, columns):
    """Rate and amplitude of the best exponential: `exponential.fit_decay`."""
    rate, low, high = _bracket(y, nodes, columns)
    for _ in range(NEWTON_STEPS):
        amplitude, weighted = _amplitude(y, b, rate)
        first, second = ZERO, ZERO
        for i in range(y.shape[0]):
            e = _exp32(-b[i] * rate)
            r = b[i] * e * (y[i] - amplitude * e)
            first += r
            second += b[i] * r
        rate = _newton_rate(rate, amplitude, weighted, first, second, low, high)
    return rate, _amplitude(y, b, rate)[0]


@cuda.jit(cache=True)
def segments_kernel(
    first, size, signals, b, n_low, high_nodes, high_columns, low_nodes, low_columns, loglinear, limits, scale, found
):
    """Scale (chunk,) and found (6, chunk) of the voxels first .. first + size: `methods.segmented`."""
    v = cuda.grid(1)
    if v >= size:
        return
    width, lane, n_b = cuda.blockDim.x, cuda.threadIdx.x, signals.shape[1]
    y = cuda.shared.array(0, float32)[lane : n_b * width : width]
    factor = _scale_of(signals, first + v)
    scale[v] = factor
    inverse = ONE / factor if factor > ZERO else ZERO
    for i in range(n_b):
        y[i] = signals[first + v, i] * inverse if factor > ZERO else ZERO
    d, tissue = _fit_decay(y[n_low:], b[n_low:], high_nodes, high_columns)
    if loglinear:
        blood = max(_line_at_zero(y[:n_low], b[:n_low]) - tissue, ZERO)
        p = min(max(TEN * d, limits.p_low), limits.p_high)
    else:
        for i in range(n_low):
            y[i] -= tissue * _exp32(-b[i] * d)
        p, blood = _fit_decay(y[:n_low], b[:n_low], low_nodes, low_columns)
    blood = _into_cone(tissue, blood, limits.f_low, limits.f_high)
    squares = ZERO
    for i in range(n_b):
        r = y[i] - blood * _exp32(-b[i] * p)
        r -= ZERO if i < n_low and not loglinear else tissue * _exp32(-b[i] * d)
        squares += r * r
    found[0, v], found[1, v], found[2, v], found[3, v] = tissue, blood, d, p
    found[4, v], found[5, v] = squares, ONE


class Segments:
    """segmented on a GPU for one protocol; b (b,) in ms/µm², the rest as `methods.segmented` has it."""

    def __init__(self, launch: Launch, b, n_low: int, high: DecayGrid, low: DecayGrid, loglinear: bool, limits: Limits) -> None:  # fmt: skip
        self.launch, self.limits = launch, limits
        self.threads = threads_for(len(b), f"segmented with {len(b)} b-values")
        self.shared = 4 * len(b) * self.threads
        with on_device(launch):
            self.b = cuda.to_device(b)
            grids = [cuda.to_device(array) for array in (high.nodes, high.columns, low.nodes, low.columns)]
        self.arguments = (self.b, n_low, *grids, loglinear, limits)

    def run(self, signals, sigma: np.float32, result, outcome) -> None:
        """Fit signals (voxel, b) float32: result (8, voxel) float32 and outcome (voxel,) uint8 on the same side."""

        def work(stream, start, first, size, inputs, outputs, scratch):
            scale, found = scratch
            blocks = grid(size, self.threads), self.threads, stream
            segments_kernel[(*blocks, self.shared)](first, size, *inputs, *self.arguments, scale, found)
            finish_kernel[blocks](first, size, self.b, scale, found, sigma, False, self.limits, *outputs)

        scratch = [((), np.float32), ((6,), np.float32)]
        run_chunks(self.launch, len(signals), [signals], [result, outcome], scratch, work)
