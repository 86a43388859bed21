"""The simplified fit: D from the high b-values, f from their intercept at b = 0, and no D*.

The idea (Le Bihan et al., Radiology 168:497, 1988; the two b-values and b = 0 of the "simplified" or "asymptotic" IVIM). At and
above a split b the blood has decayed, and one exponential A exp(-b D) is left, which is fitted by least squares. What the
signal at b = 0 has more than its intercept A is blood: f = 1 - A / S0. Nothing else of the signal is used, so that three
b-values are enough, and nothing is said of D*. It is what protocols with few low b-values allow.

Standard errors follow from those of the exponential, from the noise of the signal at b = 0, which is independent of it,
and from f = 1 - A / S0 to first order. The noise of each voxel is given, or told by the residuals of the exponential; then the
errors are widened to Student's t (`numerics.finish`). Where the noise is not known and only two b-values are above the split,
there are no errors. The blood that has not decayed at the split, exp(-b D*), makes f too small and D too large, and no
standard error holds that.
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
from ivimsc.numerics.decay import decay_errors, fit_decays, make_decay_lanes
from ivimsc.numerics.ending import AT_BOUND, BAD_SIGNAL, CONVERGED, ITERATION_LIMIT
from ivimsc.numerics.finish import students_widening
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.scaling import load_scaled, scales
from ivimsc.options import expect, expect_positive, option
from ivimsc.physics.parameters import BY_KEY, Bounds
from ivimsc.voxels import VoxelSource

TITLE = "Simplified: D above a split, f from the intercept"
SOURCE = "Le Bihan et al., Radiology 168:497 (1988), doi 10.1148/radiology.168.2.3393671"

L = LANES
NEARLY_ZERO = 10.0  # s/mm²: from here on the signal at the smallest b has lost too much blood to stand for S0


@dataclass(frozen=True)
class Options:
    """Options of simplified."""

    split: float = option(200.0, "b-values from it on fit D and the intercept [s/mm²]")
    f_bounds: tuple[float, float] = option((BY_KEY["f"].lower, BY_KEY["f"].upper), "bounds of f")
    d_bounds: tuple[float, float] = option((BY_KEY["d"].lower, BY_KEY["d"].upper), "bounds of D [mm²/s]")
    sigma: float | None = option(None, "noise SD for the standard errors (none: from residuals)")

    def __post_init__(self) -> None:
        expect(0 < self.split < math.inf, "split", "simplified", self.split, "a b-value > 0 s/mm²")
        low, high = self.d_bounds
        expect(0 <= low < high < math.inf, "d_bounds", "simplified", f"{low:g},{high:g}", "LOW,HIGH with 0 <= LOW < HIGH [mm²/s]")  # fmt: skip
        Bounds(f=self.f_bounds)
        expect_positive(self, ("sigma",), "simplified")


class Setting(NamedTuple):
    """What is the same for all voxels.

    b (high,) [ms/µm²] and root (high,): the b-values from the split on, and the square roots of their numbers of images;
    root_zero: that of b = 0; bounds of D [µm²/ms] and of f; sigma: noise SD of one image [unit of the signal], 0 where
    it is not known; widening: of the errors, where it is not.
    """

    b: NDArray[np.float32]
    root: NDArray[np.float32]
    root_zero: np.float32
    low: np.float32
    high: np.float32
    f_low: np.float32
    f_high: np.float32
    sigma: np.float32
    widening: np.float64


class Result(NamedTuple):
    """What is found, each (voxel,): S0 and rmse in the unit of the signal, D and its error in mm²/s."""

    S0: NDArray[np.float32]
    f: NDArray[np.float32]
    D: NDArray[np.float32]
    rmse: NDArray[np.float32]
    spread: NDArray[np.float32]
    fstd: NDArray[np.float32]
    dstd: NDArray[np.float32]
    outcome: NDArray[np.uint8]


@njit(**JIT)
def _leave(v, l, signals, scale, setting, t, result):
    """Write the results of lane `l` as voxel `v`, whose signals (b,), b = 0 first, were divided by `scale` (0: bad)."""
    if scale == 0:
        result.S0[v] = result.f[v] = result.D[v] = result.rmse[v] = result.spread[v] = result.fstd[v] = result.dstd[
            v
        ] = np.nan
        result.outcome[v] = BAD_SIGNAL
        return
    n, d, a = len(setting.b), t.d[l], np.float64(t.a[l])
    s0 = np.float64(signals[0]) / scale
    known = setting.sigma > 0
    noise = np.float64(setting.sigma) / scale if known else math.nan
    if not known and n > 2:
        noise = math.sqrt(t.squares[l] / (n - 2)) * setting.widening
    a_error, d_error = decay_errors(t, l)
    f = np.float32(min(max(1.0 - a / s0, np.float64(setting.f_low)), np.float64(setting.f_high)))
    zero = a / (s0 * setting.root_zero)
    f_error = noise * math.sqrt(a_error * a_error + zero * zero) / s0
    d_error *= 1e-3 * noise
    result.S0[v], result.f[v], result.D[v] = signals[0], f, d * 1e-3
    result.rmse[v] = math.sqrt(t.plain[l] / (n + 1)) * scale
    result.spread[v] = math.sqrt(t.squares[l] / (n + 1)) * scale
    result.fstd[v] = f_error if math.isfinite(f_error) else np.nan
    result.dstd[v] = d_error if math.isfinite(d_error) else np.nan
    at_bound = d <= setting.low or d >= setting.high or f <= setting.f_low or f >= setting.f_high
    result.outcome[v] = AT_BOUND if at_bound else CONVERGED if t.settled[l] > 0 else ITERATION_LIMIT


@njit(**KERNEL)
def _kernel(start, stop, signals, setting, result):
    """Fit the voxels start..stop of signals (voxel, b), the smallest b first, those from the split on last."""
    block, b, root = signals[start:stop], setting.b, setting.root
    high = block[:, block.shape[1] - len(b) :]
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    t = make_decay_lanes(len(b))
    for first in range(0, len(block), L):
        size = min(L, len(block) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(t.w, lane, high, v, scale[v], root)
        fit_decays(b, root, setting.low, setting.high, t)
        for lane in range(size):
            v = first + lane
            _leave(start + v, lane, block[v], scale[v], setting, t, result)


class Fitter(fitter.Fitter):
    """simplified made ready for one protocol."""

    closest, unknowns = True, 3  # S0, f and D

    def __init__(self, voxels: VoxelSource, columns: NDArray[np.intp], options: Options, launch: Launch) -> None:
        b = np.asarray(voxels.bvalues, np.float64)[columns]
        self.columns = columns
        listed = ", ".join(f"{value:g}" for value in b[1:])
        notes = [f"split b: {options.split:g} s/mm²; D and the intercept from b = {listed}, S0 from b = {b[0]:g}"]
        if b[0] > 0:
            notes.append(f"warning: S0 is the signal at b = {b[0]:g} s/mm²; the blood that it has lost is missing in f")
        super().__init__(launch, notes)
        root = np.sqrt(voxels.weights[columns]).astype(np.float32)
        bounds = np.float32((*np.multiply(options.d_bounds, 1e3), *options.f_bounds))
        widening = 1.0 if options.sigma else students_widening(len(b) - 3)
        sigma = np.float32(options.sigma or 0)
        self.setting = Setting(
            (b[1:] * 1e-3).astype(np.float32), root[1:], root[0], *bounds, sigma, np.float64(widening)
        )

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        n = len(signals)
        result = Result(*(np.empty(n, np.float32) for _ in range(7)), np.empty(n, np.uint8))
        run_blocks(self.launch, _kernel, n, signals, self.setting, result)
        return Estimates(**result._asdict(), Dstar=None)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check the protocol, and choose its b-values.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : not used

    Raises
    ------
    InputError
        for fewer than 2 b-values from the split on, and for a protocol without b = 0
    """
    b = np.asarray(voxels.bvalues, np.float64)
    above, listed = np.flatnonzero(b >= options.split), ", ".join(f"{value:g}" for value in b)
    if len(above) < 2:
        raise InputError(f"simplified: found {len(above)} b-values from the split b of {options.split:g} s/mm² on ({listed}), expected at least 2")  # fmt: skip
    if b[0] >= NEARLY_ZERO:
        raise InputError(f"simplified: found no b = 0 ({listed} s/mm²), expected a signal at b = 0 (below {NEARLY_ZERO:g}), from which f is told")  # fmt: skip
    return Fitter(voxels, np.append(0, above), options, launch)
