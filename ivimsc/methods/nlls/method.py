"""Full non-linear least squares: S0, f, D and D* of equation (1) within bounds, at the global optimum.

The idea. Bi-exponential least squares is linear in the amplitudes, so only (D, D*) need a search: a table of pairs
gives the start (`start_table`), damped Newton steps with the amplitudes projected out finish it
(`numerics.variable_projection`), 16 voxels at a time (`newton_lanes`). A lane whose voxel is done takes up the next voxel of the block,
so that hard voxels do not hold up easy ones. The paper's section 1.2 starts from the segmented fit instead; this start
is better and cheaper.

A signal that is the mean of n images has noise σ/√n: what is minimised is Σ n r², and σ is the noise of one image.

Standard errors are the Cramér-Rao bound at the estimate, with the noise of each voxel from its residuals or given. From
the residuals of one voxel the noise is uncertain itself; the errors are then widened to Student's t (`numerics.finish`),
so that the estimate ± 1.96 errors holds the truth in 95 %.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.compiling import JIT, KERNEL
from ivimsc.device.launch import Launch, empty_beside, run_blocks
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.methods import Inputs, VoxelSource
from ivimsc.methods.nlls.newton_lanes import (
    SEARCH_LANES,
    amplitudes,
    begin,
    exponentials,
    judge,
    residuals,
    step,
)
from ivimsc.methods.nlls.start_table import STARTS, Starts, StartTable, find_starts, make_start_table
from ivimsc.numerics.finish import (
    RESULT_ROWS,
    Found,
    Problem,
    estimates_of,
    finish,
    make_problem,
    results_of,
)
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.residuals import plain_squares
from ivimsc.numerics.scaling import load_scaled, scales
from ivimsc.physics.parameters import Bounds
from ivimsc.physics.protocol import require_distinct

TITLE = "Full non-linear least squares"
SOURCE = "variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 10:413 (1973); model: Le Bihan et al., Radiology 168:497 (1988)"

L = LANES


@dataclass(frozen=True)
class Options:
    """Options of nlls."""

    f_bounds: tuple[float, float] = field(default=Bounds().f, metadata={"help": "bounds of f"})
    d_bounds: tuple[float, float] = field(default=Bounds().D, metadata={"help": "bounds of D [mm²/s]"})
    dstar_bounds: tuple[float, float] = field(default=Bounds().Dstar, metadata={"help": "bounds of D* [mm²/s]"})
    dstar: float | None = field(default=None, metadata={"help": "D* where it is held fixed [mm²/s] (none: fitted)"})
    s0: float | None = field(default=None, metadata={"help": "S0 where it is known (none: fitted)"})
    sigma: float | None = field(
        default=None, metadata={"help": "noise SD for the standard errors (none: from residuals)"}
    )
    max_iterations: int = field(default=60, metadata={"help": "most Newton steps per voxel"})

    def __post_init__(self) -> None:
        _ = self.bounds  # makes and checks them
        for name in ("s0", "sigma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"option {name} of nlls: found {value:g}, expected a number > 0 or none")
        if self.max_iterations < 1:
            raise InputError(f"option max_iterations of nlls: found {self.max_iterations}, expected at least 1")

    @property
    def bounds(self) -> Bounds:
        """The bounds of f, D and D*; D* has one value where it is held fixed."""
        return Bounds.with_fixed(self.f_bounds, self.d_bounds, self.dstar_bounds, self.dstar)


@njit(**JIT)
def _load(w, lanes, lane, signals, v, scale, problem):
    """Put the signal of voxel `v` into `lane`."""
    load_scaled(w, lane, signals, v, scale, problem.root)
    squares = np.float32(0.0)
    for i in range(len(w)):
        squares += w[i, lane] * w[i, lane]
    lanes[0].total[lane] = squares
    lanes[0].s0[lane] = problem.s0 / scale


@njit(**JIT)
def _keep(lanes, lane, first_start, found, v):
    """Write what `lane` found for voxel `v`, unless an earlier start of the same voxel found no worse."""
    t = lanes[0]
    if first_start or t.best_rr[lane] < found.squares[v]:
        found.tissue[v], found.blood[v] = t.best_a[lane], t.best_c[lane]
        found.d[v], found.p[v] = t.best_d[lane], t.best_p[lane]
        found.squares[v] = t.best_rr[lane]
        found.done[v] = t.done[lane] > 0


@njit(**JIT)
def _search(signals, scale, problem, max_iterations, starts, found):
    """Newton steps for a block of voxels: fills `found`; each lane takes up voxel after voxel."""
    b, known_s0 = problem.b, problem.s0 > 0
    w = np.zeros((len(b), 3 * L), np.float32)
    lanes = np.zeros(1, SEARCH_LANES)
    t = lanes[0]
    for lane in range(L):
        begin(lanes, lane, np.float32(1.0), np.float32(1.0))  # a lane without a voxel computes, too: harmless numbers
    voxel, start = np.full(L, -1), np.zeros(L, np.int64)
    following, running = 0, 0
    while True:
        for lane in range(L):
            v = voxel[lane]
            if v >= 0:
                if not (t.done[lane] > 0 or t.steps[lane] >= max_iterations):
                    continue
                k = start[lane]
                _keep(lanes, lane, k == 0, found, v)
                if k + 1 < STARTS and starts.p[v, k + 1] > 0:
                    start[lane] = k + 1
                    begin(lanes, lane, starts.d[v, k + 1], starts.p[v, k + 1])
                    continue
                running -= 1
                voxel[lane] = -1
            while following < len(signals) and scale[following] == 0:
                following += 1
            if following < len(signals):
                voxel[lane], start[lane] = following, 0
                _load(w, lanes, lane, signals, following, scale[following], problem)
                begin(lanes, lane, starts.d[following, 0], starts.p[following, 0])
                following += 1
                running += 1
        if running == 0:
            break
        exponentials(w, lanes, b, problem.root)
        amplitudes(lanes, known_s0, problem.box)
        residuals(w, lanes, b)
        judge(lanes)
        step(lanes, problem.box)


@njit(**JIT)
def _room_for(n):
    """Room for the starting points of a block of `n` voxels, and for what the search finds."""
    starts = Starts(np.empty((n, STARTS), np.float32), np.empty((n, STARTS), np.float32))
    tissue, blood, d = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    p, squares, plain = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    return starts, Found(tissue, blood, d, p, squares, plain, np.empty(n, np.bool_))


@njit(**KERNEL)
def _kernel(start, stop, signals, problem, max_iterations, table, results):
    """Fit the voxels start..stop of signals (voxel, b) float32; `results` (`numerics.finish`) receives what it finds."""
    block = signals[start:stop]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    starts, found = _room_for(len(block))
    find_starts(block, scale, table, problem, starts)
    _search(block, scale, problem, max_iterations, starts, found)
    if problem.weighted:
        plain_squares(block, scale, found, problem.b)
    else:
        found.plain[:] = found.squares
    finish(start, scale, found, problem, results)


class Fitter(fitter.Fitter):
    """nlls made ready for one protocol."""

    closest = True

    def __init__(
        self, bvalues: NDArray[np.float64], weights: NDArray[np.float64], options: Options, launch: Launch
    ) -> None:
        super().__init__(launch)
        self.unknowns = 4 - (options.dstar is not None)
        bounds = options.bounds
        d, p = np.multiply(bounds.D, 1e3), np.multiply(bounds.Dstar, 1e3)  # µm²/ms
        self.problem: Problem = make_problem(bvalues, weights, bounds, options.sigma, options.s0)
        self.max_iterations = np.float32(options.max_iterations)
        n_p = 16 if options.dstar is None else 4  # of one D*: the sums are taken four columns at a time
        self.table: StartTable = make_start_table(bvalues * 1e-3, np.sqrt(weights), d, p, bounds.f, n_p)
        dstar = f"D* {p[0]:g}..{p[1]:g} µm²/ms" if options.dstar is None else f"D* held at {p[0]:g} µm²/ms"
        self.notes = [
            f"bounds: f {options.f_bounds[0]:g}..{options.f_bounds[1]:g}, D {d[0]:g}..{d[1]:g}, {dstar}",
            "S0: fitted" if options.s0 is None else f"S0: known, {options.s0:g}",
        ]

    @cached_property
    def _search(self):
        from ivimsc.methods.nlls.on_gpu import Search  # CUDA is loaded only where it runs

        return Search(self.launch, self.problem, self.max_iterations, self.table)

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        rows = empty_beside(self.launch, signals, (RESULT_ROWS, len(signals)), np.float32)
        outcome = empty_beside(self.launch, signals, (len(signals),), np.uint8)
        results = results_of.py_func(rows, outcome)
        if self.launch.on_gpu:
            self._search.run(signals, rows, outcome)
        else:
            run_blocks(
                self.launch, _kernel, len(signals), signals, self.problem, self.max_iterations, self.table, results
            )
        return estimates_of(results, self.problem)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check the protocol and build the table of starting points."""
    require_distinct(voxels.bvalues, 4 - (options.s0 is not None) - (options.dstar is not None), "nlls")
    return Fitter(np.asarray(voxels.bvalues), voxels.weights, options, launch)
