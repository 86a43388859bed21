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
from ivimsc.methods.segmented.exponential import fit_decay, into_cone, line_at_zero, make_decay_grid
from ivimsc.numerics.finish import Limits, finish
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


@njit(**JIT)
def _fit_lanes(w, b, n_low, high, low, loglinear, limits, t, out):
    """Fit 16 signals w (b, LANES): out (5, LANES) receives amplitudes of tissue and blood, D, D*, Σ r²."""
    tissue, blood, d, p, squares = out[0], out[1], out[2], out[3], out[4]
    fit_decay(w[n_low:], high, d, tissue, t)
    if loglinear:
        for l in range(L):
            blood[l] = max(line_at_zero(w[:n_low, l], b[:n_low]) - tissue[l], np.float32(0.0))
            p[l] = min(max(np.float32(10.0) * d[l], limits.p_low), limits.p_high)
    else:
        for i in range(n_low):
            for l in range(L):
                w[i, l] -= tissue[l] * exp32(-b[i] * d[l])
        fit_decay(w[:n_low], low, p, blood, t)
    for l in range(L):
        squares[l] = np.float32(0.0)
        blood[l] = into_cone(tissue[l], blood[l], limits.f_low, limits.f_high)
    for i in range(len(b)):
        removed = i < n_low and not loglinear
        for l in range(L):
            r = w[i, l] - blood[l] * exp32(-b[i] * p[l])
            r -= np.float32(0.0) if removed else tissue[l] * exp32(-b[i] * d[l])
            squares[l] += r * r


@njit(**KERNEL)
def _kernel(start, stop, signals, b, n_low, high, low, loglinear, sigma, limits, result, outcome):
    """Fit the voxels start..stop: result (8, voxel) float32 in the order of `finish`, outcome (voxel,)."""
    block = signals[start:stop]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    found = np.empty((len(block), 6), np.float32)
    w = np.empty((len(b), L), np.float32)
    t = np.empty((7, L), np.float32)
    out = np.zeros((5, L), np.float32)
    for first in range(0, len(block), L):
        size = min(L, len(block) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(w, lane, block, v, scale[v])
        _fit_lanes(w, b, n_low, high, low, loglinear, limits, t, out)
        for lane in range(size):
            for k in range(5):
                found[first + lane, k] = out[k, lane]
            found[first + lane, 5] = np.float32(1.0)
    finish(start, scale, b, found, sigma, False, limits, result, outcome)


class Fitter(fitter.Fitter):
    """segmented made ready for one protocol."""

    def __init__(self, bvalues: NDArray[np.float64], options: Options, launch: Launch) -> None:
        super().__init__(launch)
        self.options = options
        self.b = (bvalues * 1e-3).astype(np.float32)  # ms/µm²
        self.n_low = int(np.sum(bvalues <= options.split))
        d, p = np.multiply(options.d_bounds, 1e3), np.multiply(options.dstar_bounds, 1e3)
        self.high = make_decay_grid(self.b[self.n_low :], *d, logarithmic=False)
        self.low = make_decay_grid(self.b[: self.n_low], *p, logarithmic=True)
        self.limits = Limits(*np.float32((*options.f_bounds, *d, *p, 1)))
        listed = [", ".join(f"{b:g}" for b in part) for part in (bvalues[: self.n_low], bvalues[self.n_low :])]
        self.notes = [
            f"split b: {options.split:g} s/mm²; D from b = {listed[1]}; f{'' if self._loglinear else ' and D*'} from b = {listed[0]}"
            + (f" ({options.extrapolation} extrapolation; D* = 10 D)" if self._loglinear else "")
        ]

    @property
    def _loglinear(self) -> bool:
        return self.options.extrapolation == "loglinear"

    @cached_property
    def _segments(self):
        from ivimsc.methods.segmented.on_gpu import Segments  # CUDA is loaded only where it runs

        return Segments(self.launch, self.b, self.n_low, self.high, self.low, self._loglinear, self.limits)

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        result = empty_beside(self.launch, signals, (8, len(signals)), np.float32)
        outcome = empty_beside(self.launch, signals, (len(signals),), np.uint8)
        sigma = np.float32(self.options.sigma or 0)
        if self.launch.on_gpu:
            self._segments.run(signals, sigma, result, outcome)
        else:
            run_blocks(self.launch, _kernel, len(signals), signals, self.b, self.n_low, self.high, self.low,
                       self._loglinear, sigma, self.limits, result, outcome)  # fmt: skip
        S0, f, D, Dstar, rmse, fstd, dstd, dstarstd = (result[k] for k in range(8))
        return Estimates(S0, f, D, Dstar, rmse, outcome, fstd, dstd, dstarstd)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check that both segments hold at least two b-values."""
    bvalues = np.asarray(voxels.bvalues, dtype=np.float64)
    above, below = int(np.sum(bvalues > options.split)), int(np.sum(bvalues <= options.split))
    if above < 2 or below < 2:
        listed = ", ".join(f"{b:g}" for b in bvalues)
        raise InputError(f"segmented: found {above} b-values above the split b of {options.split:g} s/mm² and {below} up to it ({listed}), expected at least 2 and 2")  # fmt: skip
    return Fitter(bvalues, options, launch)
