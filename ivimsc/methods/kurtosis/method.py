"""Equation (1) with kurtosis: S0 [(1 - f) exp(-b D + b² D² K / 6) + f exp(-b D*)], by least squares at the global optimum.

The idea. From b of about 800 s/mm² on, tissue no longer decays as one exponential; the kurtosis K is the next term of the
logarithm of its signal. Without it D is too small and f too large. The exponent turns up at b = 3 / (D K), where the
expansion has lost its meaning: K is therefore at most 3 / (D b_max), beside its bounds. The search is that of nlls with one
unknown more (`numerics.search3`): the amplitudes are projected out, a table of (D, K) for every D* gives two starts
(`start_table`), and damped Newton steps finish them, 16 voxels at a time (`lanes`).

A signal that is the mean of n images has noise σ/√n: what is minimised is Σ n r², and σ is the noise of one image. Standard
errors are the Cramér-Rao bound at the estimate, with the noise of each voxel given, or from its residuals and then widened to
Student's t (`numerics.finish`). K at the end of its bounds, or at 3 / (D b_max), has outcome 2, as f, D and D* have.
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
from ivimsc.methods.kurtosis.lanes import KURTOSIS_LANES, one_round
from ivimsc.methods.kurtosis.start_table import StartTable, find_starts, make_start_table
from ivimsc.numerics.ending import AT_BOUND, BAD_SIGNAL, CONVERGED, ITERATION_LIMIT, Box, boxes_of, ending
from ivimsc.numerics.finish import students_widening
from ivimsc.numerics.information import covariance
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.residuals import noise_from_residuals
from ivimsc.numerics.scaling import scales
from ivimsc.numerics.search3 import found_room, make_queue, refill, starts_room
from ivimsc.options import expect, expect_positive, option
from ivimsc.physics.parameters import BY_KEY, Bounds
from ivimsc.physics.protocol import require_distinct
from ivimsc.voxels import VoxelSource

TITLE = "Two pools with kurtosis, non-linear least squares"
SOURCE = "Lu et al., J. Magn. Reson. Imaging 36:1088 (2012); kurtosis: Jensen et al., Magn. Reson. Med. 53:1432 (2005)"

L = LANES
NEEDS = 600.0  # s/mm²: with a smaller largest b, K's standard error at SNR 50 is about K itself
HIGH = 300.0  # s/mm²: from about here on the signal tells D and K
A, C, D, K, P = range(5)  # columns of the Fisher information


@dataclass(frozen=True)
class Options:
    """Options of kurtosis."""

    f_bounds: tuple[float, float] = option(Bounds().f, "bounds of f")
    d_bounds: tuple[float, float] = option(Bounds().D, "bounds of D [mm²/s]")
    dstar_bounds: tuple[float, float] = option(Bounds().Dstar, "bounds of D* [mm²/s]")
    k_bounds: tuple[float, float] = option((BY_KEY["k"].lower, BY_KEY["k"].upper), "bounds of K")
    dstar: float | None = option(None, "D* where it is held fixed [mm²/s] (none: fitted)")
    sigma: float | None = option(None, "noise SD for the standard errors (none: from residuals)")
    max_iterations: int = option(60, "most Newton steps per start")

    def __post_init__(self) -> None:
        _ = self.bounds  # makes and checks them
        low, high = self.k_bounds
        expect(
            -10 <= low < high <= 10,
            "k_bounds",
            "kurtosis",
            f"{low:g},{high:g}",
            "LOW,HIGH with -10 <= LOW < HIGH <= 10",
        )
        expect_positive(self, ("sigma",), "kurtosis")
        expect(self.max_iterations >= 1, "max_iterations", "kurtosis", self.max_iterations, "at least 1")

    @property
    def bounds(self) -> Bounds:
        """The bounds of f, D and D*; D* has one value where it is held fixed."""
        return Bounds.with_fixed(self.f_bounds, self.d_bounds, self.dstar_bounds, self.dstar)


class Problem(NamedTuple):
    """What all voxels share: see `numerics.finish.Problem`; `turn` is the largest D K [µm²/ms], 3 over the largest b."""

    b: NDArray[np.float32]
    root: NDArray[np.float32]
    box: Box
    limits: Box
    k_low: np.float32
    k_high: np.float32
    turn: np.float32
    sigma: np.float32
    widening: np.float64
    dstar_known: bool


class Results(NamedTuple):
    """The results (voxel,), in the units of `estimates.Estimates`; those that follow K do not exist in equation (1)."""

    S0: NDArray[np.float32]
    f: NDArray[np.float32]
    D: NDArray[np.float32]
    Dstar: NDArray[np.float32]
    rmse: NDArray[np.float32]
    spread: NDArray[np.float32]
    fstd: NDArray[np.float32]
    dstd: NDArray[np.float32]
    dstarstd: NDArray[np.float32]
    K: NDArray[np.float32]
    kstd: NDArray[np.float32]
    outcome: NDArray[np.uint8]


@njit(**JIT)
def _finite(value):
    return np.float32(value) if math.isfinite(value) else np.float32(np.nan)


@njit(**JIT)
def _finish(first, signals, scale, found, problem, results):
    """Write the results of a block of voxels, from voxel `first` on."""
    b, root = problem.b.astype(np.float64), problem.root.astype(np.float64)
    information, scratch, columns = np.empty((5, 5)), np.empty(5), np.empty(5)
    unknowns = 4 if problem.dstar_known else 5
    n, known = len(b), problem.sigma > 0
    box, limits = problem.box, problem.limits
    for i in range(len(scale)):
        v = first + i
        a, c, d, k, p = np.float64(found.a1[i]), np.float64(found.a2[i]), np.float64(found.x1[i]), np.float64(found.x2[i]), np.float64(found.x3[i])  # fmt: skip
        total = a + c
        if scale[i] == 0 or not total > 0:
            results.S0[v] = results.f[v] = results.D[v] = results.Dstar[v] = results.K[v] = results.rmse[v] = np.nan
            results.spread[v] = results.fstd[v] = results.dstd[v] = results.dstarstd[v] = results.kstd[v] = np.nan
            results.outcome[v] = BAD_SIGNAL
            continue
        information[:] = 0.0
        squares, plain = 0.0, 0.0
        for m in range(n):
            e1, e2 = root[m] * math.exp(-b[m] * d + b[m] * b[m] * d * d * k / 6), root[m] * math.exp(-b[m] * p)
            columns[A], columns[C], columns[P] = e1, e2, -b[m] * e2
            columns[D], columns[K] = (b[m] * b[m] * d * k / 3 - b[m]) * e1, b[m] * b[m] * d * d / 6 * e1
            r = signals[i, m] / np.float64(scale[i]) * root[m] - a * e1 - c * e2
            squares += r * r
            plain += r * r / (root[m] * root[m])
            for x in range(unknowns):
                for y in range(x + 1):
                    information[x, y] += columns[x] * columns[y]
        noise = np.float64(problem.sigma) / scale[i]
        if not known:
            noise = noise_from_residuals(squares, n, unknowns) * problem.widening
        f_error, d_error, k_error, p_error = math.inf, math.inf, math.inf, math.inf
        if covariance(information, unknowns, scratch):
            along_a, along_c = -c / (total * total), a / (total * total)
            f_error = noise * math.sqrt(max(along_a * along_a * information[A, A] + 2 * along_a * along_c * information[A, C] + along_c * along_c * information[C, C], 0.0))  # fmt: skip
            d_error, k_error = noise * math.sqrt(information[D, D]) / a, noise * math.sqrt(information[K, K]) / a
            p_error = 0.0 if problem.dstar_known else noise * math.sqrt(information[P, P]) / c
        f = min(max(np.float32(c / total), box.f_low), box.f_high)
        outcome = ending(f, d, p, f_error, p_error, box)
        highest = min(np.float64(problem.k_high), np.float64(problem.turn) / max(d, 1e-30))
        if outcome == CONVERGED and (k <= problem.k_low or k >= highest * (1 - 1e-5)):
            outcome = AT_BOUND
        results.S0[v], results.f[v], results.K[v] = total * scale[i], f, k
        results.D[v] = min(max(np.float32(d * 1e-3), limits.d_low), limits.d_high)
        results.Dstar[v] = min(max(np.float32(p * 1e-3), limits.p_low), limits.p_high)
        results.rmse[v] = math.sqrt(plain / n) * scale[i]
        results.spread[v] = math.sqrt(squares / n) * scale[i]
        results.fstd[v], results.dstd[v] = _finite(f_error), _finite(d_error * 1e-3)
        results.kstd[v], results.dstarstd[v] = _finite(k_error), _finite(p_error * 1e-3)
        results.outcome[v] = outcome if found.done[i] else ITERATION_LIMIT


@njit(**KERNEL)
def _kernel(start, stop, signals, problem, max_iterations, table, results):
    """Fit the voxels start..stop of signals (voxel, b) float32; `results` receives what it finds."""
    block = signals[start:stop]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    starts, found = starts_room(len(block), 2), found_room(len(block))
    find_starts(block, scale, table, problem, starts)
    lanes, w = np.zeros(1, KURTOSIS_LANES), np.zeros((len(problem.b), 3 * L), np.float32)
    queue = make_queue(lanes)
    while refill(queue, lanes, w, (block, scale, starts, found), problem.root, max_iterations):
        one_round(w, lanes, problem)
    _finish(start, block, scale, found, problem, results)


class Fitter(fitter.Fitter):
    """kurtosis made ready for one protocol."""

    closest, unknowns = True, 5

    def __init__(self, voxels: VoxelSource, options: Options, launch: Launch) -> None:
        bvalues, weights = np.asarray(voxels.bvalues, np.float64), np.asarray(voxels.weights, np.float64)
        box, limits = boxes_of(options.bounds)
        turn = 3e3 / bvalues[-1]  # D K, in µm²/ms
        self.unknowns = 5 - (options.dstar is not None)
        widening = 1.0 if options.sigma else students_widening(len(bvalues) - self.unknowns)
        b, root = (bvalues * 1e-3).astype(np.float32), np.sqrt(weights).astype(np.float32)
        self.problem = Problem(b, root, box, limits, *np.float32((*options.k_bounds, turn, options.sigma or 0)),
                               np.float64(widening), options.dstar is not None)  # fmt: skip
        self.table: StartTable = make_start_table(bvalues * 1e-3, np.sqrt(weights), box, options.k_bounds, turn)
        self.max_iterations = np.float32(options.max_iterations)
        fixed = f"D* held at {options.dstar * 1e3:g}" if options.dstar else f"D* {box.p_low:g}..{box.p_high:g}"
        super().__init__(launch, [f"bounds: f {box.f_low:g}..{box.f_high:g}, D {box.d_low:g}..{box.d_high:g}, {fixed} µm²/ms, K {options.k_bounds[0]:g}..{options.k_bounds[1]:g} and at most {turn:.3g} / D [µm²/ms]"])  # fmt: skip

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        n = len(signals)
        results = Results(*(np.empty(n, np.float32) for _ in Results._fields[:-1]), np.empty(n, np.uint8))
        run_blocks(self.launch, _kernel, n, signals, self.problem, self.max_iterations, self.table, results)
        found = results._asdict()
        if self.problem.dstar_known:
            del found["dstarstd"]
        return Estimates(**found)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check that the protocol can tell K, and build the table of starting points.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : not used

    Raises
    ------
    InputError
        for fewer b-values than unknowns, for a protocol whose b-values are too small or too few for K, and for a lower bound
        of K that lies beyond 3 / (D b_max)
    """
    b = np.asarray(voxels.bvalues, np.float64)
    require_distinct(b, 5 if options.dstar is None else 4, "kurtosis")
    listed = ", ".join(f"{value:g}" for value in b)
    if np.sum(b >= HIGH) < 3 or b[-1] < NEEDS:
        raise InputError(f"kurtosis: found b = {listed} s/mm², expected at least 3 b-values from {HIGH:g} on, the largest at least {NEEDS:g}, better 1000: with less, K cannot be told from D")  # fmt: skip
    low, most = options.k_bounds[0], 3 / (b[-1] * options.d_bounds[1])
    if low > most:
        raise InputError(f"option k_bounds of kurtosis: found a lower bound of {low:g}, expected at most {most:.3g}, which is 3 / (D b_max) at the upper bound of D")  # fmt: skip
    return Fitter(voxels, options, launch)
