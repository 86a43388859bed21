"""Mono-exponential least squares: S0 and D of S(b) = S0 exp(-b D), the apparent diffusion coefficient.

The idea. The logarithm of the signal is a straight line in b. Weighted by the square of the signal, because noise on a small
signal moves its logarithm most, the line gives a start that is nearly the answer. Newton steps on the signals themselves
follow, with S0 projected out: least squares on the signals is the maximum likelihood for Gaussian noise, where the line
through the logarithms is biased. Sixteen voxels are fitted side by side.

Standard errors are the Cramér-Rao bound at the estimate, with the noise of each voxel from its residuals, or given. D at the
end of its bounds has outcome 2. Blood is not modelled: with b-values below about 100 s/mm² the D of perfused tissue is too
large, and `b_range` leaves them out.
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
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.scaling import load_scaled, scales
from ivimsc.options import expect, expect_positive, option
from ivimsc.physics.parameters import BY_KEY
from ivimsc.physics.protocol import require_distinct
from ivimsc.voxels import VoxelSource

TITLE = "Mono-exponential least squares (ADC)"
SOURCE = "Stejskal and Tanner, J. Chem. Phys. 42:288 (1965); weighted logarithms: Salvador et al., Hum. Brain Mapp. 24:144 (2005)"

L = LANES
ZERO = np.float32(0.0)


@dataclass(frozen=True)
class Options:
    """Options of adc."""

    b_range: tuple[float, float] = option((0.0, 1e5), "b-values that are used, LOW,HIGH, both included [s/mm²]")
    d_bounds: tuple[float, float] = option((BY_KEY["d"].lower, BY_KEY["d"].upper), "bounds of D [mm²/s]")
    sigma: float | None = option(None, "noise SD for the standard errors (none: from residuals)")

    def __post_init__(self) -> None:
        for name, unit in (("b_range", "s/mm²"), ("d_bounds", "mm²/s")):
            low, high = getattr(self, name)
            expect(
                0 <= low < high < math.inf, name, "adc", f"{low:g},{high:g}", f"LOW,HIGH with 0 <= LOW < HIGH [{unit}]"
            )
        expect_positive(self, ("sigma",), "adc")


class Setting(NamedTuple):
    """What is the same for all voxels.

    b (b,) [ms/µm²]; root (b,): square roots of the numbers of images behind each signal, which weight it; bounds of D
    [µm²/ms]; sigma: noise SD of one image [unit of the signal], 0 where it is not known.
    """

    b: NDArray[np.float32]
    root: NDArray[np.float32]
    low: np.float32
    high: np.float32
    sigma: np.float32


class Result(NamedTuple):
    """What is found, each (voxel,): S0 and rmse in the unit of the signal, D and its standard error in mm²/s."""

    S0: NDArray[np.float32]
    D: NDArray[np.float32]
    rmse: NDArray[np.float32]
    dstd: NDArray[np.float32]
    outcome: NDArray[np.uint8]


@njit(**JIT)
def _leave(v, l, scale, setting, t, result):
    """Write the results of lane `l`, whose signal was divided by `scale` (0: bad), as voxel `v`."""
    if scale == 0 or not t.a[l] > ZERO:
        result.S0[v] = result.D[v] = result.rmse[v] = result.dstd[v] = np.nan
        result.outcome[v] = BAD_SIGNAL
        return
    n, d = len(setting.b), t.d[l]
    freedom = n - 2
    noise = np.float64(setting.sigma) / scale if setting.sigma > ZERO else math.nan
    if setting.sigma == ZERO and freedom > 0:
        noise = math.sqrt(t.squares[l] / freedom)
    error = noise * decay_errors(t, l)[1]
    result.S0[v], result.D[v] = np.float64(t.a[l]) * scale, d * 1e-3
    result.rmse[v] = math.sqrt(t.plain[l] / n) * scale
    result.dstd[v] = error * 1e-3 if math.isfinite(error) else np.nan
    at_bound = d <= setting.low or d >= setting.high
    result.outcome[v] = AT_BOUND if at_bound else CONVERGED if t.settled[l] > ZERO else ITERATION_LIMIT


@njit(**KERNEL)
def _kernel(start, stop, signals, setting, result):
    """Fit the voxels start..stop of signals (voxel, b)."""
    block, b, root = signals[start:stop], setting.b, setting.root
    scale = np.empty(len(block), np.float32)
    scales(block, scale)
    t = make_decay_lanes(len(b))
    for first in range(0, len(block), L):
        size = min(L, len(block) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(t.w, lane, block, v, scale[v], root)
        fit_decays(b, root, setting.low, setting.high, t)
        for lane in range(size):
            _leave(start + first + lane, lane, scale[first + lane], setting, t, result)


class Fitter(fitter.Fitter):
    """adc made ready for one protocol."""

    closest, unknowns = True, 2

    def __init__(self, voxels: VoxelSource, columns: NDArray[np.intp], options: Options, launch: Launch) -> None:
        bvalues = np.asarray(voxels.bvalues, np.float64)
        low, high = np.multiply(options.d_bounds, 1e3)
        used = ", ".join(f"{b:g}" for b in bvalues[columns])
        super().__init__(launch, [f"S0 and D from b = {used} s/mm²; D {low:g}..{high:g} µm²/ms"])
        self.columns, self._all = columns, len(columns) == len(bvalues)
        b = (bvalues[columns] * 1e-3).astype(np.float32)  # ms/µm²
        root = np.sqrt(voxels.weights[columns]).astype(np.float32)
        self.setting = Setting(b, root, np.float32(low), np.float32(high), np.float32(options.sigma or 0))

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        n = len(signals)
        signals = np.ascontiguousarray(signals if self._all else signals[:, self.columns])
        result = Result(*(np.empty(n, np.float32) for _ in range(4)), np.empty(n, np.uint8))
        run_blocks(self.launch, _kernel, n, signals, self.setting, result)
        return Estimates(result.S0, None, result.D, None, result.rmse, result.outcome, dstd=result.dstd)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check the protocol, and choose its b-values.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : not used

    Raises
    ------
    InputError
        for fewer than 2 distinct b-values within `b_range`
    """
    low, high = options.b_range
    bvalues = np.asarray(voxels.bvalues, np.float64)
    columns = np.flatnonzero((bvalues >= low) & (bvalues <= high))
    if len(columns) < 2 <= len(bvalues):
        listed = ", ".join(f"{b:g}" for b in bvalues)
        raise InputError(f"option b_range of adc: found {low:g},{high:g}, which holds {len(columns)} of b = {listed} s/mm², expected at least 2")  # fmt: skip
    require_distinct(bvalues, 2, "adc")
    return Fitter(voxels, columns, options, launch)
