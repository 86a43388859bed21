"""Full non-linear least squares: S0, f, D and D* of equation (1) within bounds, at the global optimum.

The idea. Bi-exponential least squares is linear in the amplitudes, so only (D, D*) need a search: a table of pairs
gives the start (`start_table`), damped Newton steps with the amplitudes projected out finish it
(`variable_projection`), 16 voxels at a time. A lane whose voxel is done takes up the next voxel of the block,
so that hard voxels do not hold up easy ones. The paper's section 1.2 starts from the segmented fit instead; this start
is better and cheaper.

Standard errors are the Cramér-Rao bound at the estimate, with the noise of each voxel from its residuals or given.
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
from ivimsc.methods.nlls.start_table import STARTS, StartTable, find_starts, make_start_table
from ivimsc.methods.nlls.variable_projection import (
    BA,
    BC,
    BD,
    BP,
    BRR,
    COUNT,
    DONE,
    LAMBDA,
    ROWS,
    YY,
    D,
    P,
    amplitudes,
    amplitudes_known_s0,
    exponentials,
    judge,
    residuals,
    step,
)
from ivimsc.numerics.finish import Limits, finish
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.scaling import load_scaled, scales
from ivimsc.physics.parameters import Bounds
from ivimsc.physics.protocol import require_distinct

TITLE = "Full non-linear least squares"
SOURCE = "variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 10:413 (1973); model: Le Bihan et al., Radiology 168:497 (1988)"

L = LANES
TOLERANCE = np.float32(
    1e-6
)  # stop when a step promises less than this part of Σ r²: a hundredth of what the goal allows


@dataclass(frozen=True)
class Options:
    """Options of nlls."""

    f_bounds: tuple[float, float] = field(default=Bounds().f, metadata={"help": "bounds of f"})
    d_bounds: tuple[float, float] = field(default=Bounds().D, metadata={"help": "bounds of D [mm²/s]"})
    dstar_bounds: tuple[float, float] = field(default=Bounds().Dstar, metadata={"help": "bounds of D* [mm²/s]"})
    s0: float | None = field(default=None, metadata={"help": "S0 where it is known (none: fitted)"})
    sigma: float | None = field(
        default=None, metadata={"help": "noise SD for the standard errors (none: from residuals)"}
    )
    max_iterations: int = field(default=60, metadata={"help": "most Newton steps per voxel"})

    def __post_init__(self) -> None:
        Bounds(self.f_bounds, self.d_bounds, self.dstar_bounds)
        for name in ("s0", "sigma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"option {name} of nlls: found {value:g}, expected a number > 0 or none")
        if self.max_iterations < 1:
            raise InputError(f"option max_iterations of nlls: found {self.max_iterations}, expected at least 1")


@njit(**JIT)
def _load(w, t, known, lane, v, signals, scale, s0):
    """Put the signal of voxel `v` of the block into `lane`."""
    load_scaled(w, lane, signals, v, scale[v])
    squares = np.float32(0.0)
    for i in range(len(w)):
        squares += w[i, lane] * w[i, lane]
    t[YY + lane] = squares
    known[lane] = s0 / scale[v]


@njit(**JIT)
def _begin(t, lane, d, p):
    """Start a search at (D, D*) in `lane`."""
    t[D + lane] = d
    t[P + lane] = p
    t[BRR + lane] = np.float32(np.inf)
    t[LAMBDA + lane] = np.float32(0.0)
    t[COUNT + lane] = np.float32(0.0)


@njit(**JIT)
def _keep(t, lane, first, row):
    """Write what `lane` found into `row`, unless an earlier start of the same voxel found no worse."""
    if first or t[BRR + lane] < row[4]:
        row[0], row[1], row[2], row[3] = t[BA + lane], t[BC + lane], t[BD + lane], t[BP + lane]
        row[4] = t[BRR + lane]
        row[5] = t[COUNT + lane] if t[DONE + lane] > 0 else -t[COUNT + lane]


@njit(**JIT)
def _search(signals, scale, b, s0, starts, limits, found):
    """Newton steps for a block; found (voxel, 6): a, c, D, D*, Σ r² (scaled signals), iterations (< 0: at the limit)."""
    w = np.zeros((len(b), 3 * L), np.float32)
    t = np.ones(ROWS * L, np.float32)
    known = np.ones(L, np.float32)
    voxel, start = np.full(L, -1), np.zeros(L, np.int64)
    following, running = 0, 0
    while True:
        for lane in range(L):
            v = voxel[lane]
            if v >= 0:
                if not (t[DONE + lane] > 0 or t[COUNT + lane] >= limits.iterations):
                    continue
                k = start[lane]
                _keep(t, lane, k == 0, found[v])
                if k + 1 < STARTS and starts[v, 2 * k + 3] > 0:
                    start[lane] = k + 1
                    _begin(t, lane, starts[v, 2 * k + 2], starts[v, 2 * k + 3])
                    continue
                running -= 1
                voxel[lane] = -1
            while following < len(signals) and scale[following] == 0:
                following += 1
            if following < len(signals):
                voxel[lane], start[lane] = following, 0
                _load(w, t, known, lane, following, signals, scale, s0)
                _begin(t, lane, starts[following, 0], starts[following, 1])
                following += 1
                running += 1
        if running == 0:
            break
        exponentials(w, t, b)
        if s0 > 0:
            amplitudes_known_s0(t, known, limits.f_low, limits.f_high)
        else:
            amplitudes(t, limits.f_low, limits.f_high)
        residuals(w, t, b)
        judge(t)
        step(t, limits.d_low, limits.d_high, limits.p_low, limits.p_high, TOLERANCE)


@njit(**KERNEL)
def _kernel(start, stop, signals, b, s0, sigma, table, limits, result, outcome):
    """Fit the voxels start..stop: result (field, voxel) float32 in the order of `finish`, outcome (voxel,)."""
    block = signals[start:stop]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    starts = np.empty((len(block), 2 * STARTS), np.float32)
    found = np.empty((len(block), 6), np.float32)
    find_starts(block, scale, table, limits.d_low, limits.d_high, starts)
    _search(block, scale, b, s0, starts, limits, found)
    finish(start, scale, b, found, sigma, s0 > 0, limits, result, outcome)


class Fitter(fitter.Fitter):
    """nlls made ready for one protocol."""

    def __init__(self, bvalues: NDArray[np.float64], options: Options, launch: Launch) -> None:
        super().__init__(launch)
        self.options = options
        self.b = (bvalues * 1e-3).astype(np.float32)  # ms/µm²
        d, p = np.multiply(options.d_bounds, 1e3), np.multiply(options.dstar_bounds, 1e3)
        self.table: StartTable = make_start_table(bvalues * 1e-3, d, p, options.f_bounds)
        self.limits = Limits(*np.float32((*options.f_bounds, *d, *p, options.max_iterations)))
        self.notes = [
            f"bounds: f {options.f_bounds[0]:g}..{options.f_bounds[1]:g}, D {d[0]:g}..{d[1]:g}, D* {p[0]:g}..{p[1]:g} µm²/ms",
            "S0: fitted" if options.s0 is None else f"S0: known, {options.s0:g}",
        ]

    @cached_property
    def _search(self):
        from ivimsc.methods.nlls.on_gpu import Search  # CUDA is loaded only where it runs

        return Search(self.launch, self.b, self.table, self.limits, TOLERANCE)

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        known, sigma = np.float32(self.options.s0 or 0), np.float32(self.options.sigma or 0)
        result = empty_beside(self.launch, signals, (8, len(signals)), np.float32)
        outcome = empty_beside(self.launch, signals, (len(signals),), np.uint8)
        if self.launch.on_gpu:
            self._search.run(signals, known, sigma, result, outcome)
        else:
            run_blocks(
                self.launch,
                _kernel,
                len(signals),
                signals,
                self.b,
                known,
                sigma,
                self.table,
                self.limits,
                result,
                outcome,
            )
        S0, f, D_, Dstar, rmse, fstd, dstd, dstarstd = (result[k] for k in range(8))
        return Estimates(S0, f, D_, Dstar, rmse, outcome, fstd, dstd, dstarstd)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check the protocol and build the table of starting points."""
    require_distinct(voxels.bvalues, 3 if options.s0 else 4, "nlls")
    return Fitter(np.asarray(voxels.bvalues), options, launch)
