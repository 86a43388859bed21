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
from ivimsc.device.finishing import FOUND, finish_kernel
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import grid, on_device, run_chunks, threads_for
from ivimsc.methods.nlls import start_table
from ivimsc.methods.nlls.start_table import NO_PEAKS, STARTS, Starts, StartTable
from ivimsc.numerics import lanes, scaling
from ivimsc.numerics import variable_projection as vp
from ivimsc.numerics.finish import Found, Problem
from ivimsc.numerics.variable_projection import Products, Residuals, Slopes

__all__ = ["Search", "search_kernel", "starts_kernel"]

ZERO, ONE, INFINITE = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
WAVES = 8  # blocks of the search per multiprocessor: some eight voxels per thread of a chunk, to even out their steps
NO_PRODUCTS = Products(*(ZERO for _ in Products._fields))
NO_RESIDUALS = Residuals(*(ZERO for _ in Residuals._fields))
FLAT = Slopes(ZERO, ZERO, ONE, ZERO, ONE, ONE, ONE)  # the slopes before there is a point
_scale_of, _exp32 = as_device(scaling.scale_of), as_device(lanes.exp32)
_explained, _insert_peak, _node_at, _pair_at = (
    as_device(f) for f in (start_table.explained, start_table.insert_peak, start_table.node_at, start_table.pair_at)
)
_add_products, _add_residual, _best_amplitudes, _best_fraction = (
    as_device(f) for f in (vp.add_products, vp.add_residual, vp.best_amplitudes, vp.best_fraction)
)
_slopes, _corrected, _damping, _negligible, _newton_step = (
    as_device(f) for f in (vp.slopes, vp.corrected, vp.damping, vp.negligible, vp.newton_step)
)


@cuda.jit(device=True)
def _dot(column, y):
    total = ZERO
    for i in range(column.shape[0]):
        total += column[i] * y[i]
    return total


@cuda.jit(device=True)
def _best_partner(y2, s1, s2, table, k, box):
    """What the best D of the table explains together with its D* number `k`, and that D; see `start_table`."""
    top, partner = -ONE, ZERO
    for j in range(table.nodes.shape[0]):
        node, pair = _node_at(table.nodes, j), _pair_at(table.pairs, k, j)
        gain, d = _explained(s1[j], s2[j], y2, node, table.p_inverse[k], pair, box.f_low, box.f_high)
        partner = d if gain > top else partner
        top = max(gain, top)
    return top, partner


@cuda.jit(cache=True)
def starts_kernel(first, size, signals, table, problem, scale, starts):
    """Scale (chunk,) and `Starts` of the voxels first .. first + size: `start_table.find_starts`."""
    i = cuda.grid(1)
    if i >= size:
        return
    width, lane, box, root = cuda.blockDim.x, cuda.threadIdx.x, problem.box, problem.root
    n_b, n_d, n_p = signals.shape[1], table.nodes.shape[0], table.p.shape[0]
    rows = cuda.shared.array(0, float32)
    y = rows[lane : n_b * width : width]
    s1 = rows[n_b * width + lane : (n_b + n_d) * width : width]
    s2 = rows[(n_b + n_d) * width + lane : (n_b + 2 * n_d) * width : width]
    factor = _scale_of(signals, first + i)
    scale[i] = factor
    inverse = ONE / factor if factor > ZERO else ZERO
    for m in range(n_b):
        y[m] = signals[first + i, m] * inverse * root[m] if factor > ZERO else ZERO
    for j in range(n_d):
        s1[j] = _dot(table.q1[j], y)
        s2[j] = _dot(table.q2[j], y)
    peaks = NO_PEAKS
    outside = np.float32(-2.0)  # before the first D* and after the last: the ends can be maxima
    before, here, d_here = outside, outside, ZERO
    for k in range(n_p + 1):
        after, d_after = outside, ZERO
        if k < n_p:
            after, d_after = _best_partner(_dot(table.e2[k], y), s1, s2, table, k, box)
        if k > 0:
            peaks = _insert_peak(peaks, before, here, after, d_here, table.p[k - 1])
        before, here, d_here = here, after, d_after
    starts.d[0, i], starts.p[0, i] = min(max(peaks.d1, box.d_low), box.d_high), peaks.p1
    starts.d[1, i], starts.p[1, i] = min(max(peaks.d2, box.d_low), box.d_high), peaks.p2


@cuda.jit(device=True)
def _evaluate(y, e1, e2, problem, point, known):
    """`Amplitudes`, `Products` and `Residuals` at the trial point (d, p); e1, e2 (b,) are scratch."""
    d, p = point
    b, root, box = problem.b, problem.root, problem.box
    g = NO_PRODUCTS
    for m in range(b.shape[0]):
        first, second = root[m] * _exp32(-b[m] * d), root[m] * _exp32(-b[m] * p)
        e1[m], e2[m] = first, second
        g = _add_products(g, y[m], first, second, b[m])
    if known > ZERO:
        best = _best_fraction(g.g11, g.g12, g.g22, g.y1, g.y2, known, box.f_low, box.f_high)
    else:
        best = _best_amplitudes(g.g11, g.g12, g.g22, g.y1, g.y2, box.f_low, box.f_high)
    r = NO_RESIDUALS
    for m in range(b.shape[0]):
        r = _add_residual(r, best.a, best.c, y[m], e1[m], e2[m], b[m])
    return best, g, r


@cuda.jit(device=True)
def _plain_squares(y, problem, point):
    """Σ r² without weights, at the amplitudes and diffusivities (a, c, d, p)."""
    a, c, d, p = point
    b, root = problem.b, problem.root
    squares = ZERO
    for m in range(b.shape[0]):
        r = y[m] / root[m] - a * _exp32(-b[m] * d) - c * _exp32(-b[m] * p)
        squares += r * r
    return squares


@cuda.jit(cache=True)
def search_kernel(first, size, signals, scale, starts, problem, max_iterations, found):
    """Newton steps: `Found` of a chunk, as in `method._search`; any number of threads, each takes up voxel after voxel."""
    width, lane = cuda.blockDim.x, cuda.threadIdx.x
    box, n_b = problem.box, problem.b.shape[0]
    rows = cuda.shared.array(0, float32)
    y = rows[lane : n_b * width : width]
    e1 = rows[n_b * width + lane : 2 * n_b * width : width]
    e2 = rows[2 * n_b * width + lane : 3 * n_b * width : width]
    i, k = cuda.grid(1) - cuda.gridsize(1), STARTS
    d, p, known, total, factor, count = ONE, ONE, ZERO, ONE, ZERO, ZERO
    least, best_d, best_p, best_a, best_c = INFINITE, ONE, ONE, ONE, ONE
    slope = FLAT
    done = True
    while True:
        if done or count >= max_iterations:
            if k < STARTS:  # a search has ended: keep what it found, unless an earlier start found no worse
                if k == 0 or least < found.squares[i]:
                    found.tissue[i], found.blood[i], found.d[i], found.p[i] = best_a, best_c, best_d, best_p
                    found.squares[i] = least
                    found.plain[i] = (
                        _plain_squares(y, problem, (best_a, best_c, best_d, best_p)) if problem.weighted else least
                    )
                    found.done[i] = done
                k += 1
                if k < STARTS and not starts.p[k, i] > ZERO:
                    k = STARTS
            if k >= STARTS:  # on to the next voxel
                i += cuda.gridsize(1)
                while i < size and not scale[i] > ZERO:
                    i += cuda.gridsize(1)
                if i >= size:
                    break
                k, total, inverse = 0, ZERO, ONE / scale[i]
                for m in range(n_b):
                    value = signals[first + i, m] * inverse * problem.root[m]
                    y[m] = value
                    total += value * value
                known = problem.s0 / scale[i]
            d, p = starts.d[k, i], starts.p[k, i]
            least, factor, count = INFINITE, ZERO, ZERO
        best, products, left = _evaluate(y, e1, e2, problem, (d, p), known)
        better = left.rr <= least
        if better:
            least, best_d, best_p = left.rr, d, p
            best_a, best_c = _corrected(best, left)
            slope = _slopes(p, best, products, left)
        factor = _damping(factor, better)
        d, p, done = _newton_step(best_d, best_p, slope, factor, _negligible(least, total), box)
        count += ONE


class Search:
    """nlls on a GPU for one protocol; the arguments are those of the kernel of `method`, in host memory."""

    def __init__(self, launch: Launch, problem: Problem, max_iterations: np.float32, table: StartTable) -> None:
        self.launch, self.max_iterations = launch, max_iterations
        n_b, n_d = len(problem.b), len(table.nodes)
        what = f"nlls with {n_b} b-values"
        self.threads = threads_for(3 * n_b, what), threads_for(n_b + 2 * n_d, what)
        self.shared = 4 * 3 * n_b * self.threads[0], 4 * (n_b + 2 * n_d) * self.threads[1]
        with on_device(launch):
            self.problem = problem._replace(b=cuda.to_device(problem.b), root=cuda.to_device(problem.root))
            self.table = StartTable(*(cuda.to_device(array) for array in table))

    def run(self, signals, rows, outcome) -> None:
        """Fit signals (voxel, b) float32: rows (RESULT_ROWS, voxel) float32, outcome (voxel,) uint8, on the same side."""

        def work(stream, start, first, size, inputs, outputs, scratch):
            scale, starts, found = scratch[0], Starts(*scratch[1:3]), Found(*scratch[3:])
            threads, thin = self.threads
            starts_kernel[grid(size, thin), thin, stream, self.shared[1]](
                first, size, *inputs, self.table, self.problem, scale, starts
            )
            search_kernel[grid(size, threads, WAVES), threads, stream, self.shared[0]](
                first, size, *inputs, scale, starts, self.problem, self.max_iterations, found
            )
            finish_kernel[grid(size, threads), threads, stream](first, size, self.problem, scale, found, *outputs)

        scratch = [((), np.float32), ((STARTS,), np.float32), ((STARTS,), np.float32), *FOUND]
        run_chunks(self.launch, len(signals), [signals], [rows, outcome], scratch, work)
