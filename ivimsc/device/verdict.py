"""The verdict on estimates of any method: is D* identifiable, from the noise and the protocol alone?

A method with a prior or a trained network is sure of its D* even where the data say nothing of it. So the question is asked
of the data: at the estimate, the Cramér-Rao standard errors of this voxel's noise and of this protocol either keep f away
from 0 and D* away from D, or they do not (`numerics.ending`). The rule is the same for every method. nlls and segmented
answer it in their own kernels, where the errors are computed anyway.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.device.launch import Launch, is_on_gpu, run_blocks
from ivimsc.estimates import Estimates
from ivimsc.numerics.ending import AT_BOUND, CONVERGED, UNIDENTIFIABLE, Box, ending
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.standard_errors import ERROR_LANES, errors_in_lanes

__all__ = ["Evidence", "Found", "evidence_of", "judge", "judged"]

L = LANES
NO_BOX = Box(-np.inf, np.inf, -np.inf, np.inf, -np.inf, np.inf)  # bounds are the method's own matter


class Found(NamedTuple):
    """Estimates (voxel,) float32: S0 in the unit of the signal, D and Dstar in mm²/s; NaN where there is none.

    spread: root mean square of the residuals, each times the root of its number of images; in the unit of the signal.
    """

    S0: NDArray[np.float32]
    f: NDArray[np.float32]
    D: NDArray[np.float32]
    Dstar: NDArray[np.float32]
    spread: NDArray[np.float32]


class Evidence(NamedTuple):
    """What the data know of a voxel.

    b (b,) float64 [ms/µm²]; root (b,) float64: square root of the number of images behind each b-value; sigma: noise SD of one
    image in the unit of the signal, 0 where it comes from each voxel's residuals, NaN where the b-values are fewer than the
    unknowns; factor: what turns `Found.spread` into that noise SD, NaN without a degree of freedom; known_s0: S0 was given.
    """

    b: NDArray[np.float64]
    root: NDArray[np.float64]
    sigma: float
    factor: float
    known_s0: bool


def evidence_of(
    bvalues: NDArray[np.float64],
    sigma: float | None = None,
    known_s0: bool = False,
    residuals: int | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Evidence:
    """The evidence of a protocol.

    Parameters
    ----------
    bvalues : (b,) all b-values that the estimates rest on [s/mm²], that of a measured S0 among them
    sigma : noise SD in the unit of the signal; None: from the residuals of each voxel
    known_s0 : S0 was given, not measured
    residuals : number of b-values that the residuals are over; None: all
    weights : (b,) images that each signal is the mean of, sigma being the noise of one; None: 1 each
    """
    unknowns, n = 3 if known_s0 else 4, len(bvalues)
    freedom = n - unknowns
    factor = np.sqrt((residuals or n) / freedom) if freedom > 0 else np.nan
    root = np.sqrt(np.ones(n) if weights is None else np.asarray(weights, np.float64))
    told = float(sigma or 0.0) if freedom >= 0 else np.nan
    return Evidence(np.asarray(bvalues, np.float64) * 1e-3, root, told, float(factor), known_s0)


@njit(**JIT)
def noise_of(spread, evidence):
    """Noise SD of one image of a voxel in the unit of the signal: the known one, or that of its residuals."""
    return np.float64(spread) * evidence.factor if evidence.sigma == 0 else evidence.sigma


@njit(**JIT)
def is_unidentifiable(f, d, p, errors, noise):
    """Whether the data leave f = 0 or D* = D: errors are those at S0 = 1 and unit noise, `noise` is that over S0."""
    if not d + p < np.inf:  # there is no estimate to judge
        return False
    return ending(f, d, p, errors[0] * noise, errors[1] * noise, NO_BOX) == UNIDENTIFIABLE


@njit(**KERNEL)
def _kernel(start, stop, found, evidence, outcome):
    """Give the voxels start..stop that are converged or at a bound the outcome `UNIDENTIFIABLE` where it holds."""
    scratch = np.zeros(1, ERROR_LANES)
    t = scratch[0]
    for first in range(start, stop, L):
        for lane in range(L):
            v = min(first + lane, stop - 1)
            f, d, p = np.float64(found.f[v]), 1e3 * np.float64(found.D[v]), 1e3 * np.float64(found.Dstar[v])
            t.tissue[lane], t.blood[lane], t.d[lane], t.p[lane] = 1.0 - f, f, d, p
        errors_in_lanes(scratch, evidence.b, evidence.root, evidence.known_s0)
        for lane in range(min(L, stop - first)):
            v = first + lane
            if outcome[v] != CONVERGED and outcome[v] != AT_BOUND:
                continue
            noise = noise_of(found.spread[v], evidence) / found.S0[v]
            if is_unidentifiable(found.f[v], t.d[lane], t.p[lane], (t.f_error[lane], t.p_error[lane]), noise):
                outcome[v] = UNIDENTIFIABLE


def judged(launch: Launch, estimates: Estimates, evidence: Evidence) -> Estimates:
    """The same estimates; the outcome of the voxels whose D* the data cannot tell says so (it is changed in place)."""
    e = estimates
    judge(launch, Found(e.S0, e.f, e.D, e.Dstar, e.rmse if e.spread is None else e.spread), evidence, e.outcome)
    return estimates


def judge(launch: Launch, found: Found, evidence: Evidence, outcome: Any) -> None:
    """Mark the voxels whose D* the data cannot tell.

    Parameters
    ----------
    launch : where to run; arrays that are on a GPU are judged there
    found : estimates (voxel,)
    evidence : what the data know
    outcome : (voxel,) uint8, changed where it is `CONVERGED` or `AT_BOUND`
    """
    if is_on_gpu(outcome):
        from ivimsc.device.verdict_on_gpu import judge_on_gpu  # CUDA is loaded only where it runs

        judge_on_gpu(launch, found, evidence, outcome)
    else:
        run_blocks(launch, _kernel, len(outcome), found, evidence, outcome)
