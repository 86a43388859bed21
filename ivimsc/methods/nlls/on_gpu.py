"""Non-linear least squares on a GPU: three kernels, one thread per voxel, the formulas of the CPU's lanes.

`starts_kernel` and the finish do the same work for every voxel, so that the 32 threads of a warp never wait for one
another. `search_kernel` is the loop over Newton steps, of which voxels need between 2 and 60: there a thread whose voxel
is done takes up another one, as a lane does on the CPU, and the warp goes on together.

A thread's signal and exponentials lie in shared memory, (row, thread), where neighbouring threads hit different banks;
all else is in registers. What the kernels hand on, (field, voxel), is read and written by neighbouring threads side by
side. Signals (voxel, b) are read once per voxel and kernel: a warp's 32 rows are one piece of memory.
"""

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.device.finishing import finish_kernel
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import grid, on_device, run_chunks, threads_for
from ivimsc.methods.nlls import start_table
from ivimsc.methods.nlls import variable_projection as vp
from ivimsc.methods.nlls.start_table import STARTS, StartTable
from ivimsc.numerics import lanes, scaling
from ivimsc.numerics.finish import Limits

__all__ = ["Search", "search_kernel", "starts_kernel"]

ZERO, ONE, INFINITE = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
WAVES = 8  # blocks of the search per multiprocessor: some eight voxels per thread of a chunk, to even out their steps
_scale_of, _explained, _insert_peak, _exp32 = (
    as_device(f) for f in (scaling.scale_of, start_table.explained, start_table.insert_peak, lanes.exp32)
)
_add_products, _add_residual, _best_amplitudes, _best_fraction = (
    as_device(f) for f in (vp.add_products, vp.add_residual, vp.best_amplitudes, vp.best_fraction)
)
_slopes, _damping, _negligible, _newton_step = (
    as_device(f) for f in (vp.slopes, vp.damping, vp.negligible, vp.newton_step)
)


@cuda.jit(device=True)
def _dot(column, y):
    total = ZERO
    for i in range(column.shape[0]):
        total += column[i] * y[i]
    return total


@cuda.jit(device=True)
def _best_partner(y2, s1, s2, nodes, p_inverse, pairs, f_low, f_high):
    """What the best D of the table explains together with one D*, and that D; see `start_table`."""
    top, partner = -ONE, ZERO
    for j in range(nodes.shape[0]):
        node = (nodes[j, 0], nodes[j, 1], nodes[j, 2], nodes[j, 3], nodes[j, 4])
        pair = (pairs[j, 0], pairs[j, 1], pairs[j, 2], pairs[j, 3], pairs[j, 4], pairs[j, 5], pairs[j, 6])
        gain, d = _explained(s1[j], s2[j], y2, node, p_inverse, pair, f_low, f_high)
        partner = d if gain > top else partner
        top = max(gain, top)
    return top, partner


@cuda.jit(cache=True)
def starts_kernel(first, size, signals, q1, q2, e2, nodes, p, pairs, limits, scale, starts):
    """Scale (chunk,) and starts (2 · STARTS, chunk) of the voxels first .. first + size: `start_table.find_starts`."""
    i = cuda.grid(1)
    if i >= size:
        return
    width, lane = cuda.blockDim.x, cuda.threadIdx.x
    n_b, n_d, n_p = signals.shape[1], nodes.shape[0], p.shape[0]
    rows = cuda.shared.array(0, float32)
    y = rows[lane : n_b * width : width]
    s1 = rows[n_b * width + lane : (n_b + n_d) * width : width]
    s2 = rows[(n_b + n_d) * width + lane : (n_b + 2 * n_d) * width : width]
    factor = _scale_of(signals, first + i)
    scale[i] = factor
    inverse = ONE / factor if factor > ZERO else ZERO
    for m in range(n_b):
        y[m] = signals[first + i, m] * inverse if factor > ZERO else ZERO
    for j in range(n_d):
        s1[j] = _dot(q1[j], y)
        s2[j] = _dot(q2[j], y)
    peaks = (-ONE, -ONE, ZERO, ZERO, ZERO, ZERO)
    outside = np.float32(-2.0)  # before the first D* and after the last: the ends can be maxima
    before, here, d_here = outside, outside, ZERO
    for k in range(n_p + 1):
        after, d_after = outside, ZERO
        if k < n_p:
            after, d_after = _best_partner(
                _dot(e2[k], y), s1, s2, nodes, p[k, 1], pairs[k], limits.f_low, limits.f_high
            )
        if k > 0:
            peaks = _insert_peak(peaks, before, here, after, d_here, p[k - 1, 0])
        before, here, d_here = here, after, d_after
    starts[0, i] = min(max(peaks[2], limits.d_low), limits.d_high)
    starts[1, i] = peaks[3]
    starts[2, i] = min(max(peaks[4], limits.d_low), limits.d_high)
    starts[3, i] = peaks[5]


@cuda.jit(device=True)
def _evaluate(y, e1, e2, b, d, p, known, limits):
    """Σ r² at the trial point (d, p), and what `slopes` returns there; e1, e2 (b,) are scratch."""
    g = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    for m in range(b.shape[0]):
        first, second = _exp32(-b[m] * d), _exp32(-b[m] * p)
        e1[m], e2[m] = first, second
        g = _add_products(g, y[m], first, second, b[m])
    if known > ZERO:
        a, c, m11, m12, m22 = _best_fraction(g[0], g[1], g[2], g[9], g[10], known, limits.f_low, limits.f_high)
    else:
        a, c, m11, m12, m22 = _best_amplitudes(g[0], g[1], g[2], g[9], g[10], limits.f_low, limits.f_high)
    r = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    for m in range(b.shape[0]):
        r = _add_residual(r, a, c, y[m], e1[m], e2[m], b[m])
    weighted = (g[3], g[4], g[5], g[6], g[7], g[8])
    residual = (r[0], r[1], r[2], r[3], r[4], r[5])
    return r[6], _slopes(p, (a, c), (m11, m12, m22), weighted, residual)


@cuda.jit(cache=True)
def search_kernel(first, size, signals, scale, starts, b, s0, limits, tolerance, found):
    """Newton steps: found (6, chunk) as in `nlls._search`; any number of threads, each takes up voxel after voxel."""
    width, lane = cuda.blockDim.x, cuda.threadIdx.x
    n_b = b.shape[0]
    rows = cuda.shared.array(0, float32)
    y = rows[lane : n_b * width : width]
    e1 = rows[n_b * width + lane : 2 * n_b * width : width]
    e2 = rows[2 * n_b * width + lane : 3 * n_b * width : width]
    i, k = cuda.grid(1) - cuda.gridsize(1), STARTS
    d, p, known, total, factor, count = ONE, ONE, ZERO, ONE, ZERO, ZERO
    least, best_d, best_p, best_a, best_c = INFINITE, ONE, ONE, ONE, ONE
    slope = (ZERO, ZERO, ONE, ZERO, ONE, ONE, ONE)
    done = True
    while True:
        if done or count >= limits.iterations:
            if k < STARTS:  # a search has ended: keep what it found, unless an earlier start found no worse
                if k == 0 or least < found[4, i]:
                    found[0, i], found[1, i], found[2, i], found[3, i] = best_a, best_c, best_d, best_p
                    found[4, i] = least
                    found[5, i] = count if done else -count
                k += 1
                if k < STARTS and not starts[2 * k + 1, i] > ZERO:
                    k = STARTS
            if k >= STARTS:  # on to the next voxel
                i += cuda.gridsize(1)
                while i < size and not scale[i] > ZERO:
                    i += cuda.gridsize(1)
                if i >= size:
                    break
                k, total, inverse = 0, ZERO, ONE / scale[i]
                for m in range(n_b):
                    value = signals[first + i, m] * inverse
                    y[m] = value
                    total += value * value
                known = s0 / scale[i]
            d, p = starts[2 * k, i], starts[2 * k + 1, i]
            least, factor, count = INFINITE, ZERO, ZERO
        squares, trial = _evaluate(y, e1, e2, b, d, p, known, limits)
        better = squares <= least
        if better:
            least, best_d, best_p, best_a, best_c = squares, d, p, trial[7], trial[8]
            slope = (trial[0], trial[1], trial[2], trial[3], trial[4], trial[5], trial[6])
        factor = _damping(factor, better)
        box = (limits.d_low, limits.d_high, limits.p_low, limits.p_high)
        d, p, done = _newton_step(best_d, best_p, slope, factor, _negligible(tolerance, least, total), box)
        count += ONE


class Search:
    """nlls on a GPU for one protocol; b (b,) in ms/µm², the rest as `methods.nlls` has it."""

    def __init__(self, launch: Launch, b, table: StartTable, limits: Limits, tolerance: np.float32) -> None:
        self.launch, self.limits, self.tolerance = launch, limits, tolerance
        n_b, n_d = len(b), len(table.nodes)
        what = f"nlls with {n_b} b-values"
        self.threads = threads_for(3 * n_b, what), threads_for(n_b + 2 * n_d, what)
        self.shared = 4 * 3 * n_b * self.threads[0], 4 * (n_b + 2 * n_d) * self.threads[1]
        with on_device(launch):
            self.b = cuda.to_device(b)
            self.table = [cuda.to_device(array) for array in table[:6]]

    def run(self, signals, s0: np.float32, sigma: np.float32, result, outcome) -> None:
        """Fit signals (voxel, b) float32: result (8, voxel) float32 and outcome (voxel,) uint8 on the same side."""

        def work(stream, start, first, size, inputs, outputs, scratch):
            scale, starts, found = scratch
            threads, thin = self.threads
            starts_kernel[grid(size, thin), thin, stream, self.shared[1]](
                first, size, *inputs, *self.table, self.limits, scale, starts
            )
            search_kernel[grid(size, threads, WAVES), threads, stream, self.shared[0]](
                first, size, *inputs, scale, starts, self.b, s0, self.limits, self.tolerance, found
            )
            finish_kernel[grid(size, threads), threads, stream](
                first, size, self.b, scale, found, sigma, s0 > 0, self.limits, *outputs
            )

        scratch = [(shape, np.float32) for shape in ((), (2 * STARTS,), (6,))]
        run_chunks(self.launch, len(signals), [signals], [result, outcome], scratch, work)
