"""Segmented least squares: D from the high b-values, then f and D* from the low ones.

The idea (section 1.2 of the paper, its steps 1 to 3; Le Bihan et al., Radiology 168:497, 1988). Above a split b the
blood has decayed: a single exponential fitted there gives D and the tissue's intercept S0_high. What remains of the
signal at and below the split, extrapolated to b = 0, is the blood: S0_low = S0_high + its intercept, and
f = 1 - S0_high / S0_low.

How to extrapolate the paper does not say. `extrapolation=biexponential` (default) fits the remainder by an exponential
of its own, which gives D* as well; `extrapolation=loglinear` draws a straight line through the logarithms of the signals
below the split and takes D* = 10 D, the paper's start value, as it is: it underestimates f where D* is fast.
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
from ivimsc.methods.segmented.exponential import (
    DECAY_LANES,
    Decay,
    DecayGrid,
    fit_decay,
    into_cone,
    line_at_zero,
    make_decay_grid,
)
from ivimsc.numerics.ending import Box
from ivimsc.numerics.finish import RESULT_ROWS, Found, Problem, finish, results_of
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

    split: float = field(default=200.0, metadata={"help": "b-values above it fit D [s/mm²]"})
    extrapolation: str = field(
        default="biexponential", metadata={"help": "of the low b-values: " + " or ".join(EXTRAPOLATIONS)}
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
    """How the b-values are split in two segments."""

    n_low: int  # number of b-values up to the split
    high: DecayGrid  # for D, above the split
    low: DecayGrid  # for D*, up to the split
    loglinear: bool  # extrapolate the low segment by a straight line through its logarithms


FIT_LANES = np.dtype([(name, np.float32, (LANES,)) for name in Found._fields if name != "done"])


@njit(**JIT)
def _fit_lanes(w, problem, split, decay_lanes, lanes):
    """Fit 16 signals w (b, LANES), which are changed; lanes (1,) of FIT_LANES receives the fits."""
    b, box, n_low, loglinear = problem.b, problem.box, split.n_low, split.loglinear
    t = lanes[0]
    tissue, blood, d, p, squares = t.tissue, t.blood, t.d, t.p, t.squares
    fit_decay(w[n_low:], split.high, Decay(d, tissue), decay_lanes)
    if loglinear:
        for l in range(L):
            blood[l] = max(line_at_zero(w[:n_low, l], b[:n_low]) - tissue[l], np.float32(0.0))
            p[l] = min(max(np.float32(10.0) * d[l], box.p_low), box.p_high)
    else:
        for i in range(n_low):
            for l in range(L):
                w[i, l] -= tissue[l] * exp32(-b[i] * d[l])
        fit_decay(w[:n_low], split.low, Decay(p, blood), decay_lanes)
    for l in range(L):
        squares[l] = np.float32(0.0)
        blood[l] = into_cone(tissue[l], blood[l], box.f_low, box.f_high)
    for i in range(len(b)):
        removed = i < n_low and not loglinear  # the tissue was taken out of this signal above
        for l in range(L):
            r = w[i, l] - blood[l] * exp32(-b[i] * p[l])
            r -= np.float32(0.0) if removed else tissue[l] * exp32(-b[i] * d[l])
            squares[l] += r * r


@njit(**JIT)
def _room_for(n):
    """Room for what a block of `n` voxels finds."""
    tissue, blood, d = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    p, squares = np.empty(n, np.float32), np.empty(n, np.float32)
    return Found(tissue, blood, d, p, squares, np.ones(n, np.bool_))


@njit(**KERNEL)
def _kernel(start, stop, signals, problem, split, results):
    """Fit the voxels start..stop of signals (voxel, b) float32; `results` (`numerics.finish`) receives what it finds."""
    block = signals[start:stop]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    found = _room_for(len(block))
    w = np.empty((len(problem.b), L), np.float32)
    decay_lanes, lanes = np.empty(1, DECAY_LANES), np.empty(1, FIT_LANES)
    t = lanes[0]
    for first in range(0, len(block), L):
        size = min(L, len(block) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, block, v, scale[v])
        _fit_lanes(w, problem, split, decay_lanes, lanes)
        for lane in range(size):
            v = first + lane
            found.tissue[v], found.blood[v], found.squares[v] = t.tissue[lane], t.blood[lane], t.squares[lane]
            found.d[v], found.p[v] = t.d[lane], t.p[lane]
    finish(start, scale, found, problem, results)


class Fitter(fitter.Fitter):
    """segmented made ready for one protocol."""

    def __init__(self, bvalues: NDArray[np.float64], options: Options, launch: Launch) -> None:
        super().__init__(launch)
        b = (bvalues * 1e-3).astype(np.float32)  # ms/µm²
        n_low, loglinear = int(np.sum(bvalues <= options.split)), options.extrapolation == "loglinear"
        d, p = np.multiply(options.d_bounds, 1e3), np.multiply(options.dstar_bounds, 1e3)  # µm²/ms
        high = make_decay_grid(b[n_low:], *d, logarithmic=False)
        low = make_decay_grid(b[:n_low], *p, logarithmic=True)
        self.split = Split(n_low, high, low, loglinear)
        box = Box(*np.float32((*options.f_bounds, *d, *p)))
        self.problem = Problem(b, np.float32(0), np.float32(options.sigma or 0), box)
        listed = [", ".join(f"{b:g}" for b in part) for part in (bvalues[:n_low], bvalues[n_low:])]
        self.notes = [
            f"split b: {options.split:g} s/mm²; D from b = {listed[1]}; f{'' if loglinear else ' and D*'} from b = {listed[0]}"
            + (f" ({options.extrapolation} extrapolation; D* = 10 D)" if loglinear else "")
        ]

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
        return Estimates(**results._asdict())


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check that both segments hold at least two b-values."""
    bvalues = np.asarray(voxels.bvalues, dtype=np.float64)
    above, below = int(np.sum(bvalues > options.split)), int(np.sum(bvalues <= options.split))
    if above < 2 or below < 2:
        listed = ", ".join(f"{b:g}" for b in bvalues)
        raise InputError(f"segmented: found {above} b-values above the split b of {options.split:g} s/mm² and {below} up to it ({listed}), expected at least 2 and 2")  # fmt: skip
    return Fitter(bvalues, options, launch)
