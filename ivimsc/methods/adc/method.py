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
from ivimsc.compiling import JIT, KERNEL, LANE_JIT
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fitter import Inputs
from ivimsc.numerics.ending import AT_BOUND, BAD_SIGNAL, CONVERGED, ITERATION_LIMIT
from ivimsc.numerics.lanes import LANES, exp32
from ivimsc.numerics.scaling import load_scaled, scales
from ivimsc.numerics.special import log32
from ivimsc.options import expect, expect_positive, option
from ivimsc.physics.parameters import BY_KEY
from ivimsc.physics.protocol import require_distinct
from ivimsc.voxels import VoxelSource

TITLE = "Mono-exponential least squares (ADC)"
SOURCE = "Stejskal and Tanner, J. Chem. Phys. 42:288 (1965); weighted logarithms: Salvador et al., Hum. Brain Mapp. 24:144 (2005)"

L = LANES
ZERO, ONE, TINY = np.float32(0.0), np.float32(1.0), np.float32(1e-30)
STEPS = 8  # Newton steps from the line: three reach float32 at SNR 5, the others are for signals that do not decay
CLOSE = np.float32(3e-4)  # after a step of so much of D + `FAST` the next, its square, would be one of float32's digits
FAST = np.float32(0.1)  # µm²/ms


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


class Lanes(NamedTuple):
    """Sixteen voxels: their signals w (b, lane), and (lane,) D, S0, 1 where D has settled (else 0), and sums over b: see `_sums`."""

    w: NDArray[np.float32]
    d: NDArray[np.float32]
    a: NDArray[np.float32]
    settled: NDArray[np.float32]
    g: NDArray[np.float32]
    bg: NDArray[np.float32]
    bbg: NDArray[np.float32]
    y: NDArray[np.float32]
    by: NDArray[np.float32]
    bby: NDArray[np.float32]
    squares: NDArray[np.float32]
    plain: NDArray[np.float32]


@njit(**JIT)
def _make_lanes(n_b):
    e = np.float32
    return Lanes(np.empty((n_b, L), e), np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e),
                 np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e), np.empty(L, e),
                 np.empty(L, e))  # fmt: skip


@njit(**LANE_JIT)
def _line(setting, t):
    """The start t.d: slope of the straight line through the logarithms, weighted by the square of the signal."""
    b, root, low, high = setting.b, setting.root, setting.low, setting.high
    weight, wb, wbb, wy, wby = t.g, t.bg, t.bbg, t.y, t.by
    for l in range(L):
        weight[l] = wb[l] = wbb[l] = wy[l] = wby[l] = ZERO
    for i in range(len(b)):
        signal, bi, inverse = t.w[i], b[i], ONE / root[i]
        for l in range(L):
            w = signal[l] * signal[l] if signal[l] > ZERO else ZERO
            logarithm = log32(signal[l] * inverse)
            weight[l] += w
            wb[l] += w * bi
            wbb[l] += w * bi * bi
            wy[l] += w * logarithm
            wby[l] += w * bi * logarithm
    for l in range(L):
        above, below = weight[l] * wby[l] - wb[l] * wy[l], weight[l] * wbb[l] - wb[l] * wb[l]
        t.d[l] = min(max(-above / max(below, TINY), low), high)


@njit(**LANE_JIT)
def _sums(b, root, t):
    """Σ e e, b e e, b² e e and Σ e y, b e y, b² e y at t.d, with e = exp(-b D) and y times their roots; and S0 that fits best there, t.a."""
    g, bg, bbg, y, by, bby = t.g, t.bg, t.bbg, t.y, t.by, t.bby
    for l in range(L):
        g[l] = bg[l] = bbg[l] = y[l] = by[l] = bby[l] = ZERO
    for i in range(len(b)):
        signal, bi, ri = t.w[i], b[i], root[i]
        for l in range(L):
            e = ri * exp32(-bi * t.d[l])
            ee, ey = e * e, e * signal[l]
            g[l] += ee
            bg[l] += bi * ee
            bbg[l] += bi * bi * ee
            y[l] += ey
            by[l] += bi * ey
            bby[l] += bi * bi * ey
    for l in range(L):
        t.a[l] = max(y[l], ZERO) / max(g[l], TINY)


@njit(**LANE_JIT)
def _step(low, high, t):
    """One Newton step of the projected cost along D, within its bounds; Gauss-Newton where the cost is not convex.

    A lane that has settled stays as it is, so that a voxel's result does not depend on its neighbours.
    """
    settled = t.settled
    for l in range(L):
        a, g = t.a[l], max(t.g[l], TINY)
        first, second = t.by[l] - a * t.bg[l], t.bby[l] - a * t.bbg[l]  # Σ b e r, Σ b² e r
        gauss = a * a * (t.bbg[l] - t.bg[l] * t.bg[l] / g)
        mixed = first - a * t.bg[l]
        newton = a * a * t.bbg[l] - a * second - mixed * mixed / g
        curvature = newton if newton > ZERO else gauss
        d = min(max(t.d[l] - a * first / max(curvature, TINY), low), high)
        d = t.d[l] if settled[l] > ZERO else d
        settled[l] = ONE if abs(d - t.d[l]) <= CLOSE * (t.d[l] + FAST) else ZERO
        t.d[l] = d


@njit(**LANE_JIT)
def _squares(b, root, t):
    """Σ r², weighted and as it is, at t.d and t.a."""
    for l in range(L):
        t.squares[l] = t.plain[l] = ZERO
    for i in range(len(b)):
        signal, bi, ri = t.w[i], b[i], root[i]
        inverse = ONE / ri
        for l in range(L):
            r = signal[l] - t.a[l] * ri * exp32(-bi * t.d[l])
            t.squares[l] += r * r
            t.plain[l] += r * r * inverse * inverse


@njit(**JIT)
def _leave(v, l, scale, setting, t, result):
    """Write the results of lane `l`, whose signal was divided by `scale` (0: bad), as voxel `v`."""
    if scale == 0 or not t.a[l] > ZERO:
        result.S0[v] = result.D[v] = result.rmse[v] = result.dstd[v] = np.nan
        result.outcome[v] = BAD_SIGNAL
        return
    n, a, d = len(setting.b), np.float64(t.a[l]), t.d[l]
    freedom = n - 2
    noise = np.float64(setting.sigma) / scale if setting.sigma > ZERO else math.nan
    if setting.sigma == ZERO and freedom > 0:
        noise = math.sqrt(t.squares[l] / freedom)
    g, bg, bbg = np.float64(t.g[l]), np.float64(t.bg[l]), np.float64(t.bbg[l])
    information = bbg - bg * bg / g  # of D, S0 projected out, over a² and at unit noise
    error = noise / (a * math.sqrt(information)) if information > 1e-12 * bbg else math.inf
    result.S0[v], result.D[v] = a * scale, d * 1e-3
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
    t = _make_lanes(len(b))
    for first in range(0, len(block), L):
        size = min(L, len(block) - first)
        for lane in range(L):
            v = first + min(lane, size - 1)
            load_scaled(t.w, lane, block, v, scale[v], root)
        _line(setting, t)
        t.settled[:] = ZERO
        for _ in range(STEPS):
            _sums(b, root, t)
            _step(setting.low, setting.high, t)
            if t.settled.min() > ZERO:
                break
        _sums(b, root, t)
        _squares(b, root, t)
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
