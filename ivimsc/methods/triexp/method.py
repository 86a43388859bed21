"""Three pools: S0 [(1 - f - f2) exp(-b D) + f exp(-b D*) + f2 exp(-b D*2)], by least squares at the global optimum.

The idea. Kidney and liver have a third pool between tissue and fast blood (tubular flow; slow capillaries). The three
diffusivities are slow, intermediate and fast: their bounds touch and do not overlap, which keeps them in order. The fractions are
at least 0 and sum to 1, because the amplitudes of the three exponentials are at least 0. The search is that of nlls with one
unknown and one amplitude more (`numerics.search3`): the amplitudes are projected out, a table of triples gives four starts
(`start_table`), and damped Newton steps finish them, 16 voxels at a time (`lanes`).

`organ` takes the bounds from the literature: they are the geometric means of neighbouring pools, and four times the fast one.

A signal that is the mean of n images has noise σ/√n: what is minimised is Σ n r², and σ is the noise of one image. Standard
errors are the Cramér-Rao bound at the estimate, with the noise of each voxel given, or from its residuals and then widened to
Student's t (`numerics.finish`). Outcome 4 says that a pool cannot be told: f or f2 is about 0, or two neighbouring
diffusivities are about the same.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.compiling import JIT, KERNEL
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fitter import Inputs
from ivimsc.methods.triexp.lanes import TRIEXP_LANES, one_round
from ivimsc.methods.triexp.start_table import STARTS, StartTable, find_starts, look_again, make_start_table
from ivimsc.numerics.ending import (
    AT_BOUND,
    BAD_SIGNAL,
    CONVERGED,
    ITERATION_LIMIT,
    UNIDENTIFIABLE,
    Box,
    boxes_of,
    ending,
)
from ivimsc.numerics.finish import students_widening
from ivimsc.numerics.information import covariance
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.residuals import noise_from_residuals
from ivimsc.numerics.scaling import scales
from ivimsc.numerics.search3 import found_room, make_queue, refill, starts_room
from ivimsc.options import expect, expect_positive, option
from ivimsc.phantoms.literature import three_pools
from ivimsc.physics.parameters import Bounds
from ivimsc.physics.protocol import require_distinct
from ivimsc.voxels import VoxelSource

TITLE = "Three pools, non-linear least squares"
SOURCE = "Cercueil et al., Eur. Radiol. 25:1541 (2015); van Baalen et al., J. Magn. Reson. Imaging 46:228 (2017)"

L = LANES
LOW_B, FEWEST_LOW = (
    200.0,
    4,
)  # s/mm²: the pools of blood are told by at least so many b-values below it, b = 0 among them

LOOKS = 2  # more searches from where a pool is empty: see `start_table`


@dataclass(frozen=True)
class Options:
    """Options of triexp."""

    d_bounds: tuple[float, float] = option((0.0, 5e-3), "bounds of D, the slow pool [mm²/s]")
    dstar_bounds: tuple[float, float] = option((5e-3, 0.07), "bounds of D*, the intermediate pool [mm²/s]")
    dstar2_bounds: tuple[float, float] = option((0.07, 1.0), "bounds of D*2, the fast pool [mm²/s]")
    organ: str | None = option(
        None, "takes the three bounds from the literature: liver, kidney-cortex or kidney-medulla"
    )
    sigma: float | None = option(None, "noise SD for the standard errors (none: from residuals)")
    max_iterations: int = option(60, "most Newton steps per start")

    def __post_init__(self) -> None:
        if self.organ is not None:
            known = three_pools()
            expect(self.organ in known, "organ", "triexp", repr(self.organ), f"one of {', '.join(known)}, or none")
            D, Dstar, Dstar2 = known[self.organ]
            slow, fast = math.sqrt(D * Dstar), math.sqrt(Dstar * Dstar2)
            for name, values in (("d_bounds", (0.0, slow)), ("dstar_bounds", (slow, fast)), ("dstar2_bounds", (fast, min(4 * Dstar2, 1.0)))):  # fmt: skip
                object.__setattr__(self, name, values)
        Bounds(D=self.d_bounds, Dstar=self.dstar_bounds)
        low, high = self.dstar2_bounds
        expect(0 < low < high <= 1, "dstar2_bounds", "triexp", f"{low:g},{high:g}", "LOW,HIGH with 0 < LOW < HIGH <= 1 [mm²/s]")  # fmt: skip
        ordered = self.d_bounds[1] <= self.dstar_bounds[0] and self.dstar_bounds[1] <= low
        found = "; ".join(f"{a:g},{b:g}" for a, b in (self.d_bounds, self.dstar_bounds, self.dstar2_bounds))
        expect(ordered, "d_bounds, dstar_bounds, dstar2_bounds", "triexp", found, "bounds that do not overlap, which keeps the pools in order")  # fmt: skip
        expect_positive(self, ("sigma",), "triexp")
        expect(self.max_iterations >= 1, "max_iterations", "triexp", self.max_iterations, "at least 1")


class Problem(NamedTuple):
    """What all voxels share: see `numerics.finish.Problem`; g: D*2 [µm²/ms], and its limits [mm²/s] as results keep them."""

    b: NDArray[np.float32]
    root: NDArray[np.float32]
    box: Box
    limits: Box
    g_low: np.float32
    g_high: np.float32
    g_lowest: np.float32
    g_highest: np.float32
    sigma: np.float32
    widening: np.float64


class Results(NamedTuple):
    """The results (voxel,), in the units of `estimates.Estimates`."""

    S0: NDArray[np.float32]
    f: NDArray[np.float32]
    D: NDArray[np.float32]
    Dstar: NDArray[np.float32]
    rmse: NDArray[np.float32]
    spread: NDArray[np.float32]
    fstd: NDArray[np.float32]
    dstd: NDArray[np.float32]
    dstarstd: NDArray[np.float32]
    f2: NDArray[np.float32]
    Dstar2: NDArray[np.float32]
    f2std: NDArray[np.float32]
    dstar2std: NDArray[np.float32]
    outcome: NDArray[np.uint8]


@njit(**JIT)
def _finite(value):
    return np.float32(value) if math.isfinite(value) else np.float32(np.nan)


@njit(**JIT)
def _within(value, low, high):
    return min(max(np.float32(value), low), high)


@njit(**JIT)
def _share_variance(own, total, amplitudes, information):
    """Variance of the share of amplitude number `own` in their sum, from their covariance."""
    slopes = (
        (1.0 if own == 0 else 0.0) / total - amplitudes[own] / (total * total),
        (1.0 if own == 1 else 0.0) / total - amplitudes[own] / (total * total),
        (1.0 if own == 2 else 0.0) / total - amplitudes[own] / (total * total),
    )
    variance = 0.0
    for i in range(3):
        for j in range(3):
            variance += slopes[i] * slopes[j] * information[i, j]
    return max(variance, 0.0)


@njit(**JIT)
def _finish(first, signals, scale, found, problem, results):
    """Write the results of a block of voxels, from voxel `first` on."""
    b, root = problem.b.astype(np.float64), problem.root.astype(np.float64)
    information, scratch, columns, amplitudes = np.empty((6, 6)), np.empty(6), np.empty(6), np.empty(3)
    n, known = len(b), problem.sigma > 0
    box, limits = problem.box, problem.limits
    second = Box(box.f_low, box.f_high, box.p_low, np.float32(np.inf), problem.g_low, problem.g_high)
    for i in range(len(scale)):
        v = first + i
        amplitudes[0], amplitudes[1], amplitudes[2] = found.a1[i], found.a2[i], found.a3[i]
        d, p, g = np.float64(found.x1[i]), np.float64(found.x2[i]), np.float64(found.x3[i])
        total = amplitudes.sum()
        if scale[i] == 0 or not total > 0:
            results.S0[v] = results.f[v] = results.D[v] = results.Dstar[v] = results.f2[v] = results.Dstar2[v] = np.nan
            results.rmse[v] = results.spread[v] = results.fstd[v] = results.dstd[v] = results.dstarstd[v] = np.nan
            results.f2std[v] = results.dstar2std[v] = np.nan
            results.outcome[v] = BAD_SIGNAL
            continue
        information[:] = 0.0
        squares, plain = 0.0, 0.0
        for m in range(n):
            columns[0], columns[1], columns[2] = root[m] * math.exp(-b[m] * d), root[m] * math.exp(-b[m] * p), root[m] * math.exp(-b[m] * g)  # fmt: skip
            r = signals[i, m] / np.float64(scale[i]) * root[m]
            for x in range(3):
                r -= amplitudes[x] * columns[x]
                columns[3 + x] = -b[m] * columns[x]
            squares += r * r
            plain += r * r / (root[m] * root[m])
            for x in range(6):
                for y in range(x + 1):
                    information[x, y] += columns[x] * columns[y]
        noise = np.float64(problem.sigma) / scale[i]
        if not known:
            noise = noise_from_residuals(squares, n, 6) * problem.widening
        f_error, f2_error, d_error, p_error, g_error = math.inf, math.inf, math.inf, math.inf, math.inf
        if covariance(information, 6, scratch):
            f_error = noise * math.sqrt(_share_variance(1, total, amplitudes, information))
            f2_error = noise * math.sqrt(_share_variance(2, total, amplitudes, information))
            d_error = noise * math.sqrt(information[3, 3]) / amplitudes[0]
            p_error = noise * math.sqrt(information[4, 4]) / amplitudes[1]
            g_error = noise * math.sqrt(information[5, 5]) / amplitudes[2]
        f, f2 = np.float32(amplitudes[1] / total), np.float32(amplitudes[2] / total)
        one, other = ending(f, d, p, f_error, p_error, box), ending(f2, p, g, f2_error, g_error, second)
        outcome = CONVERGED
        if one == AT_BOUND or other == AT_BOUND or not amplitudes[0] > 0:
            outcome = AT_BOUND
        if one == UNIDENTIFIABLE or other == UNIDENTIFIABLE:
            outcome = UNIDENTIFIABLE
        results.S0[v], results.f[v], results.f2[v] = total * scale[i], f, f2
        results.D[v] = _within(d * 1e-3, limits.d_low, limits.d_high)
        results.Dstar[v] = _within(p * 1e-3, limits.p_low, limits.p_high)
        results.Dstar2[v] = _within(g * 1e-3, problem.g_lowest, problem.g_highest)
        results.rmse[v] = math.sqrt(plain / n) * scale[i]
        results.spread[v] = math.sqrt(squares / n) * scale[i]
        results.fstd[v], results.f2std[v], results.dstd[v] = (
            _finite(f_error),
            _finite(f2_error),
            _finite(d_error * 1e-3),
        )
        results.dstarstd[v], results.dstar2std[v] = _finite(p_error * 1e-3), _finite(g_error * 1e-3)
        results.outcome[v] = outcome if found.done[i] else ITERATION_LIMIT


@njit(**KERNEL)
def _kernel(start, stop, signals, problem, max_iterations, table, results):
    """Fit the voxels start..stop of signals (voxel, b) float32; `results` receives what it finds."""
    block = signals[start:stop]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    starts, found = starts_room(len(block), STARTS), found_room(len(block))
    find_starts(block, scale, table, problem, starts)
    lanes, w = np.zeros(1, TRIEXP_LANES), np.zeros((len(problem.b), 4 * L), np.float32)
    searched, again = scale, np.empty(len(block), np.float32)
    for _ in range(1 + LOOKS):
        queue = make_queue(lanes)
        while refill(queue, lanes, w, (block, searched, starts, found), problem.root, max_iterations):
            one_round(w, lanes, problem)
        if not look_again(block, scale, table, problem, found, starts, again):
            break
        searched = again
    _finish(start, block, scale, found, problem, results)


class Fitter(fitter.Fitter):
    """triexp made ready for one protocol."""

    closest, unknowns = True, 6

    def __init__(self, voxels: VoxelSource, options: Options, launch: Launch) -> None:
        bvalues, weights = np.asarray(voxels.bvalues, np.float64), np.asarray(voxels.weights, np.float64)
        box, limits = boxes_of(Bounds(D=options.d_bounds, Dstar=options.dstar_bounds))
        g_low, g_high = np.multiply(options.dstar2_bounds, 1e3)
        widening = 1.0 if options.sigma else students_widening(len(bvalues) - 6)
        b, root = (bvalues * 1e-3).astype(np.float32), np.sqrt(weights).astype(np.float32)
        numbers = np.float32((g_low, g_high, *options.dstar2_bounds, options.sigma or 0))
        self.problem = Problem(b, root, box, limits, *numbers, np.float64(widening))
        self.table: StartTable = make_start_table(bvalues * 1e-3, np.sqrt(weights), box, g_low, g_high)
        self.max_iterations = np.float32(options.max_iterations)
        super().__init__(launch, [f"bounds: D {box.d_low:.3g}..{box.d_high:.3g}, D* {box.p_low:.3g}..{box.p_high:.3g}, D*2 {g_low:.3g}..{g_high:.3g} µm²/ms"])  # fmt: skip

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        n = len(signals)
        results = Results(*(np.empty(n, np.float32) for _ in Results._fields[:-1]), np.empty(n, np.uint8))
        run_blocks(self.launch, _kernel, n, signals, self.problem, self.max_iterations, self.table, results)
        return Estimates(**results._asdict())


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check that the protocol can tell three pools, and build the table of starting points.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : not used

    Raises
    ------
    InputError
        for fewer b-values than unknowns, and for too few low or high ones
    """
    b = np.asarray(voxels.bvalues, np.float64)
    require_distinct(b, 6, "triexp")
    low, high = int(np.sum(b < LOW_B)), int(np.sum(b >= LOW_B))
    if low < FEWEST_LOW or high < 2:
        raise InputError(f"triexp: found {low} b-values below {LOW_B:g} s/mm² and {high} from there on ({', '.join(f'{value:g}' for value in b)}), expected at least {FEWEST_LOW} and 2: with less, three pools cannot be told")  # fmt: skip
    return Fitter(voxels, options, launch)
