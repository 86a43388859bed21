"""Segmented least squares on a GPU: one thread per voxel, its signal in shared memory, all voxels the same work."""

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.device.finishing import FOUND
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import grid, on_device, run_chunks, threads_for
from ivimsc.methods.segmented import blood as second
from ivimsc.methods.segmented import errors as two_steps
from ivimsc.methods.segmented import exponential
from ivimsc.methods.segmented.blood import BLOOD_STEPS, NO_PRODUCTS, NO_RESIDUALS, BloodGrid
from ivimsc.methods.segmented.exponential import NEWTON_STEPS, Decay, DecayGrid, Weighted
from ivimsc.numerics import finish, lanes, scaling, standard_errors
from ivimsc.numerics import variable_projection as vp
from ivimsc.numerics.finish import Found, Problem
from ivimsc.numerics.standard_errors import NO_GRAM, Errors

__all__ = ["Segments", "errors_kernel", "segments_kernel"]

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


UNIT, NOTHING = 1.0, 0.0  # float64
_explained, _next_p, _add_products, _add_residual, _best_amplitudes, _slopes, _corrected = (
    as_device(f)
    for f in (
        second.explained,
        second.next_p,
        vp.add_products,
        vp.add_residual,
        vp.best_amplitudes,
        vp.slopes,
        vp.corrected,
    )
)
(
    _fit_at,
    _results_of,
    _results_at,
    _write,
    _exp64,
    _add_gram,
    _root_of,
    _two_step_variances,
    _line_variances,
    _is_inside,
    _uncertain,
) = (
    as_device(f)
    for f in (
        finish.fit_at,
        finish.results_of,
        finish.results_at,
        finish.write,
        lanes.exp64,
        standard_errors.add_gram,
        standard_errors.root_of,
        two_steps.two_step_variances,
        two_steps.line_variances,
        two_steps.is_inside,
        two_steps.uncertain,
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
def _amplitude(y, grid, rate):
    """The best amplitude at `rate`, and the sums `Weighted`."""
    b, root = grid.b, grid.root
    total, g, bg, bbg = ZERO, ZERO, ZERO, ZERO
    for i in range(y.shape[0]):
        e = root[i] * _exp32(-b[i] * rate)
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
        amplitude, weighted = _amplitude(y, grid, rate)
        first, second = ZERO, ZERO
        for i in range(y.shape[0]):
            e = grid.root[i] * _exp32(-b[i] * rate)
            r = b[i] * e * (y[i] - amplitude * e)
            first += r
            second += b[i] * r
        rate = _newton_rate(Decay(rate, amplitude), weighted, first, second, low, high)
    amplitude, _weighted = _amplitude(y, grid, rate)
    return Decay(rate, amplitude)


@cuda.jit(device=True)
def _best_node(y, e1, grid):
    """The best D* of the grid and its neighbours: `blood.fit_blood`, its first part."""
    nodes, columns = grid.nodes, grid.columns
    g11, y1 = ZERO, ZERO
    for i in range(y.shape[0]):
        g11 += e1[i] * e1[i]
        y1 += e1[i] * y[i]
    best, at = -ONE, 0
    for j in range(nodes.shape[0]):
        g12, y2 = ZERO, ZERO
        for i in range(y.shape[0]):
            g12 += columns[j, i] * e1[i]
            y2 += columns[j, i] * y[i]
        gain = _explained(g11, g12, grid.squares[j], y2, y1 / g11)
        if gain > best:
            best, at = gain, j
    return nodes[at], nodes[max(at - 1, 0)], nodes[min(at + 1, nodes.shape[0] - 1)]


@cuda.jit(device=True)
def _fit_blood(y, e1, problem, grid):
    """Amplitudes and D* at known D: `blood.fit_blood`."""
    b, root, box = problem.b, problem.root, problem.box
    p, low, high = _best_node(y, e1, grid)
    for step in range(BLOOD_STEPS + 1):
        products, left = NO_PRODUCTS, NO_RESIDUALS
        for i in range(b.shape[0]):
            products = _add_products(products, y[i], e1[i], root[i] * _exp32(-b[i] * p), b[i])
        s = products
        best = _best_amplitudes(s.g11, s.g12, s.g22, s.y1, s.y2, box.f_low, box.f_high)
        for i in range(b.shape[0]):
            left = _add_residual(left, best.a, best.c, y[i], e1[i], root[i] * _exp32(-b[i] * p), b[i])
        if step < BLOOD_STEPS:
            p = _next_p(p, _slopes(p, best, products, left), low, high)
    tissue, blood = _corrected(best, left)
    return tissue, blood, p


@cuda.jit(cache=True)
def segments_kernel(first, size, signals, problem, split, scale, slope, found):
    """Scale (chunk,) and `Found` of the voxels first .. first + size: `method._fit_lanes`."""
    v = cuda.grid(1)
    if v >= size:
        return
    width, lane, n_b = cuda.blockDim.x, cuda.threadIdx.x, signals.shape[1]
    b, root, box, n_low = problem.b, problem.root, problem.box, split.n_low
    rows = cuda.shared.array(0, float32)
    y = rows[lane : n_b * width : width]
    e1 = rows[n_b * width + lane : 2 * n_b * width : width]
    factor = _scale_of(signals, first + v)
    scale[v] = factor
    inverse = ONE / factor if factor > ZERO else ZERO
    for i in range(n_b):
        y[i] = signals[first + v, i] * inverse * root[i] if factor > ZERO else ZERO
    d, tissue = _fit_decay(y[n_low:], split.high)
    for i in range(n_b):
        e1[i] = root[i] * _exp32(-b[i] * d)
    if split.loglinear:
        blood = max(_line_at_zero(y[:n_low], root, split.line) - tissue, ZERO)
        blood = _into_cone(tissue, blood, box.f_low, box.f_high)
        p = min(max(TEN * d, box.p_low), box.p_high)
    else:
        tissue, blood, p = _fit_blood(y, e1, problem, split.blood)
    squares, plain, total = ZERO, ZERO, ZERO
    for i in range(n_b):
        r = y[i] - tissue * e1[i] - blood * root[i] * _exp32(-b[i] * p)
        squares += r * r
        total += r * b[i] * e1[i]
        plain += r * r / (root[i] * root[i])
    found.tissue[v], found.blood[v], found.d[v], found.p[v] = tissue, blood, d, p
    found.squares[v], found.plain[v], found.done[v] = squares, plain, True
    slope[v] = total


@cuda.jit(cache=True)
def errors_kernel(first, size, problem, split, scale, slope, found, rows, outcome):
    """Results with the errors of the two steps: `errors.finish`, one thread per voxel."""
    i = cuda.grid(1)
    if i >= size:
        return
    fit, good = _fit_at(found, i), scale[i] > 0
    tissue, blood = (np.float64(fit.tissue), np.float64(fit.blood)) if good else (UNIT, UNIT)
    d, p = (np.float64(fit.d), np.float64(fit.p)) if good else (UNIT, UNIT)
    both, high, line = NO_GRAM, NO_GRAM, NOTHING
    for k in range(problem.b.shape[0] - 1, -1, -1):
        b, root = np.float64(problem.b[k]), np.float64(problem.root[k])
        e1, e2 = _exp64(-b * d), _exp64(-b * p)
        both = _add_gram(both, root * e1, root * e2, b)
        if k >= split.n_low:
            high = both
        elif split.loglinear:
            relative = split.line[k] / (root * (tissue * e1 + blood * e2))
            line += relative * relative
    if split.loglinear:
        variances = _line_variances(high, tissue, blood, line)
    else:
        total, shared, bend = _two_step_variances(both, high, tissue, blood)
        inside = _is_inside(fit.tissue, fit.blood, fit.p, problem.box)
        steep = np.float64(slope[i]) if inside else NOTHING
        widening = NOTHING if problem.rules.sigma > 0 else problem.rules.widening
        variances = _uncertain(total, shared, bend, np.float64(fit.squares), steep, widening)
    errors = Errors(_root_of(variances.f), _root_of(variances.d), _root_of(variances.p))
    values = _results_at(scale[i], fit, errors, problem.box, problem.rules)
    _write(_results_of(rows, outcome), first + i, values)


class Segments:
    """segmented on a GPU for one protocol; the arguments are those of the kernel of `method`, in host memory."""

    def __init__(self, launch: Launch, problem: Problem, split) -> None:
        self.launch = launch
        n_b = len(problem.b)
        self.threads = threads_for(2 * n_b, f"segmented with {n_b} b-values")
        self.shared = 4 * 2 * n_b * self.threads
        with on_device(launch):
            self.problem = problem._replace(b=cuda.to_device(problem.b), root=cuda.to_device(problem.root))
            high = DecayGrid(*(cuda.to_device(array) for array in split.high))
            blood = BloodGrid(*(cuda.to_device(array) for array in split.blood))
            self.split = split._replace(high=high, blood=blood, line=cuda.to_device(split.line))

    def run(self, signals, rows, outcome) -> None:
        """Fit signals (voxel, b) float32: rows (RESULT_ROWS, voxel) float32, outcome (voxel,) uint8, on the same side."""

        def work(stream, start, first, size, inputs, outputs, scratch):
            scale, slope, found = scratch[0], scratch[1], Found(*scratch[2:])
            blocks = grid(size, self.threads), self.threads, stream
            segments_kernel[(*blocks, self.shared)](first, size, *inputs, self.problem, self.split, scale, slope, found)
            errors_kernel[blocks](first, size, self.problem, self.split, scale, slope, found, *outputs)

        scratch = [((), np.float32), ((), np.float32), *FOUND]
        run_chunks(self.launch, len(signals), [signals], [rows, outcome], scratch, work)
