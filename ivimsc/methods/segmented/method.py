"""Segmented least squares: D from the high b-values, then f and D* from all of them.

The idea (section 1.2 of the paper, its steps 1 to 3; Le Bihan et al., Radiology 168:497, 1988). At and above a split b
the blood has decayed: a single exponential fitted there gives D. With D known, the rest of equation (1), that is both
amplitudes and D*, is fitted to all signals.

How to do the second step the paper does not say. `extrapolation=biexponential` (default) is least squares as above.
`extrapolation=loglinear` draws a straight line through the logarithms of the signals below the split, takes
f = 1 - S0_high / S0_low from the two intercepts, and D* = 10 D, the paper's start value, as it is: it underestimates f where
D* is fast.

Other second steps were tried, at b = 0, 10, 20, 50, 80, 100, 150, 200, 300, 500 s/mm² with SNR 30 and a split of 200
(10,000 voxels: f 0.05 to 0.5, D 0.5 to 2.5, D* 10 to 100 µm²/ms). RMSE of f and D* [µm²/ms]; that of D is 0.43 in all:

    both amplitudes and D* free, D known (default)                        0.065   42
    tissue's amplitude from the high b-values, the blood's free           0.086   61
    the blood's amplitude fixed, as the signal at b = 0 less the tissue's 0.091   54
    the blood's amplitude fixed by a decay fitted below the split         0.118   47

The amplitude of the tissue at b = 0 is an extrapolation: it carries the error of D with the lever of the whole segment, and
hands it to f and D*. So it is fitted again.

A signal that is the mean of n images has noise σ/√n: both steps minimise Σ n r², and σ is the noise of one image.
Standard errors are those of the two steps (`errors`); from the residuals of one voxel they are widened to Student's t
(`numerics.finish`).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.compiling import JIT, KERNEL
from ivimsc.device.launch import Launch, empty_beside, run_blocks
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.methods import Inputs, VoxelSource
from ivimsc.methods.segmented.blood import BLOOD_LANES, BloodGrid, fit_blood, make_blood_grid
from ivimsc.methods.segmented.errors import finish
from ivimsc.methods.segmented.exponential import (
    DECAY_LANES,
    Decay,
    DecayGrid,
    fit_decay,
    intercept_weights,
    into_cone,
    line_at_zero,
    make_decay_grid,
)
from ivimsc.numerics.finish import RESULT_ROWS, Found, Problem, estimates_of, make_problem, results_of
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.scaling import load_scaled, scales
from ivimsc.physics.parameters import Bounds

TITLE = "Segmented least squares"
SOURCE = "Le Bihan et al., Radiology 168:497 (1988), doi 10.1148/radiology.168.2.3393671"

L = LANES
EXTRAPOLATIONS = ("biexponential", "loglinear")


@dataclass(frozen=True)
class Options:
    """Options of segmented."""

    split: float = field(default=200.0, metadata={"help": "b-values from it on fit D [s/mm²]"})
    extrapolation: str = field(
        default="biexponential", metadata={"help": "how f and D* are found: " + " or ".join(EXTRAPOLATIONS)}
    )
    f_bounds: tuple[float, float] = field(default=Bounds().f, metadata={"help": "bounds of f"})
    d_bounds: tuple[float, float] = field(default=Bounds().D, metadata={"help": "bounds of D [mm²/s]"})
    dstar_bounds: tuple[float, float] = field(default=Bounds().Dstar, metadata={"help": "bounds of D* [mm²/s]"})
    sigma: float | None = field(
        default=None, metadata={"help": "noise SD for the standard errors (none: from residuals)"}
    )

    def __post_init__(self) -> None:
        Bounds(self.f_bounds, self.d_bounds, self.dstar_bounds)
        if self.extrapolation not in EXTRAPOLATIONS:
            raise InputError(
                f"option extrapolation of segmented: found {self.extrapolation!r}, expected {' or '.join(EXTRAPOLATIONS)}"
            )
        if not 0 < self.split < np.inf:
            raise InputError(f"option split of segmented: found {self.split:g}, expected a b-value > 0 s/mm²")
        if self.sigma is not None and not 0 < self.sigma < np.inf:
            raise InputError(f"option sigma of segmented: found {self.sigma:g}, expected a number > 0 or none")


class Split(NamedTuple):
    """How the b-values are split in two segments, and what both steps start from."""

    n_low: int  # number of b-values below the split
    high: DecayGrid  # for D, from the split on
    blood: BloodGrid  # for D*
    loglinear: bool  # extrapolate the low segment by a straight line through its logarithms
    line: NDArray[np.float64]  # (low b,) what each logarithm counts in that line's intercept


SUM_LANES = np.dtype([(name, np.float32, (LANES,)) for name in ("squares", "plain", "slope")])


@njit(**JIT)
def _fit_lanes(w, problem, split, decay_lanes, lanes, sums):
    """Fit 16 signals w (b, 3 · LANES) times the roots of their weights.

    lanes (1,) of BLOOD_LANES receives the fits, sums (1,) of SUM_LANES the squares of their residuals; decay_lanes is
    scratch.
    """
    b, root, box, n_low = problem.b, problem.root, problem.box, split.n_low
    t = lanes[0]
    tissue, blood, d, p = t.tissue, t.blood, t.d, t.p
    squares, plain, slope = sums[0].squares, sums[0].plain, sums[0].slope
    fit_decay(w[n_low:], split.high, Decay(d, tissue), decay_lanes)
    if split.loglinear:
        for l in range(L):
            blood[l] = max(line_at_zero(w[:n_low, l], root, split.line) - tissue[l], np.float32(0.0))
            blood[l] = into_cone(tissue[l], blood[l], box.f_low, box.f_high)
            p[l] = min(max(np.float32(10.0) * d[l], box.p_low), box.p_high)
    else:
        fit_blood(w, b, root, split.blood, box, lanes)
    for l in range(L):
        squares[l] = np.float32(0.0)
        plain[l] = np.float32(0.0)
        slope[l] = np.float32(0.0)
    for i in range(len(b)):
        bi, weight, row = b[i], root[i], w[i]
        inverse = np.float32(1.0) / (weight * weight)
        for l in range(L):
            e1 = weight * exp32(-bi * d[l])
            r = row[l] - tissue[l] * e1 - blood[l] * weight * exp32(-bi * p[l])
            slope[l] += r * bi * e1
            squares[l] += r * r
            plain[l] += r * r * inverse


@njit(**JIT)
def _room_for(n):
    """Room for what a block of `n` voxels finds."""
    tissue, blood, d = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    p, squares, plain = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    return Found(tissue, blood, d, p, squares, plain, np.ones(n, np.bool_))


@njit(**KERNEL)
def _kernel(start, stop, signals, problem, split, results):
    """Fit the voxels start..stop of signals (voxel, b) float32; `results` (`numerics.finish`) receives what it finds."""
    block = signals[start:stop]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    found, slope = _room_for(len(block)), np.empty(len(block), np.float32)
    w = np.empty((len(problem.b), 3 * L), np.float32)
    decay_lanes, lanes, sums = np.empty(1, DECAY_LANES), np.empty(1, BLOOD_LANES), np.empty(1, SUM_LANES)
    t, s = lanes[0], sums[0]
    for first in range(0, len(block), L):
        size = min(L, len(block) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, block, v, scale[v], problem.root)
        _fit_lanes(w, problem, split, decay_lanes, lanes, sums)
        for lane in range(size):
            v = first + lane
            found.tissue[v], found.blood[v], found.d[v], found.p[v] = (
                t.tissue[lane],
                t.blood[lane],
                t.d[lane],
                t.p[lane],
            )
            found.squares[v], found.plain[v], slope[v] = s.squares[lane], s.plain[lane], s.slope[lane]
    finish(start, scale, found, slope, problem, split, results)


class Fitter(fitter.Fitter):
    """segmented made ready for one protocol."""

    def __init__(
        self, bvalues: NDArray[np.float64], weights: NDArray[np.float64], options: Options, launch: Launch
    ) -> None:
        super().__init__(launch)
        n_low, loglinear = int(np.sum(bvalues < options.split)), options.extrapolation == "loglinear"
        bounds = Bounds(options.f_bounds, options.d_bounds, options.dstar_bounds)
        self.problem: Problem = make_problem(bvalues, weights, bounds, options.sigma)
        b, root, box = self.problem.b, self.problem.root, self.problem.box
        high = make_decay_grid(b[n_low:], root[n_low:], box.d_low, box.d_high)
        blood = make_blood_grid(b, root, box.p_low, box.p_high)
        line = intercept_weights(bvalues[:n_low], weights[:n_low])
        self.split = Split(n_low, high, blood, loglinear, line)
        low, up = (", ".join(f"{b:g}" for b in part) for part in (bvalues[:n_low], bvalues[n_low:]))
        rest = (
            f"f from b = {low} (loglinear extrapolation; D* = 10 D)" if loglinear else "f and D* from all, with this D"
        )
        self.notes = [f"split b: {options.split:g} s/mm²; D from b = {up}; {rest}"]

    @cached_property
    def _segments(self):
        from ivimsc.methods.segmented.on_gpu import Segments  # CUDA is loaded only where it runs

        return Segments(self.launch, self.problem, self.split)

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        rows = empty_beside(self.launch, signals, (RESULT_ROWS, len(signals)), np.float32)
        outcome = empty_beside(self.launch, signals, (len(signals),), np.uint8)
        results = results_of.py_func(rows, outcome)
        if self.launch.on_gpu:
            self._segments.run(signals, rows, outcome)
        else:
            run_blocks(self.launch, _kernel, len(signals), signals, self.problem, self.split, results)
        return estimates_of(results, self.problem)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check that both segments hold at least two b-values."""
    bvalues = np.asarray(voxels.bvalues, dtype=np.float64)
    above, below = int(np.sum(bvalues >= options.split)), int(np.sum(bvalues < options.split))
    if above < 2 or below < 2:
        listed = ", ".join(f"{b:g}" for b in bvalues)
        raise InputError(f"segmented: found {above} b-values from the split b of {options.split:g} s/mm² on and {below} below it ({listed}), expected at least 2 and 2")  # fmt: skip
    return Fitter(bvalues, voxels.weights, options, launch)
