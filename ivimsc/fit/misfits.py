"""Does the model explain the signal, and do these estimates? The one rule of outcome 8, the same for every method; and chi2.

Σ n r² / σ² over the b-values, with σ the noise of one image and n the images behind each signal, follows a chi-square
distribution where the curve is the true one. A voxel whose residuals are beyond what noise alone does in one voxel of 10,000 is
looked at again: nlls finds the two exponentials that are closest to its signal.

1. These are beyond the limit as well: the model does not explain the signal, outcome 8.
2. They are not, and leave D* not identifiable: so do the data, outcome 4.
3. Else the data determine f, D and D*, and the estimates are others: outcome 7 for a trained method, 3 for the rest.

nlls, adc, simplified, kurtosis and triexp need no second look: their curve is the closest one of their model.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from ivimsc.device.launch import Launch, beside, is_on_gpu, on_host
from ivimsc.estimates import Estimates
from ivimsc.fitter import Fitter
from ivimsc.methods import METHODS
from ivimsc.numerics.ending import AT_BOUND, CONVERGED, MISFIT, UNIDENTIFIABLE
from ivimsc.outcome import Outcome
from ivimsc.voxels import Voxels, VoxelSource

__all__ = ["BY_CHANCE", "Standard", "limit_of", "marked", "standard_of"]

BY_CHANCE = 1e-4  # one voxel in 10,000 is called a misfit by noise alone
LOOKED_AT = (CONVERGED, AT_BOUND, UNIDENTIFIABLE)  # what ended otherwise keeps its outcome


class Standard(NamedTuple):
    """What the residuals of a fit are held against.

    sigma: noise SD of one image [unit of the signal], 0: not known; snr: S0 over it where that is given instead, else 0;
    bvalues [s/mm²], weights, columns (b,): those of the residuals, the numbers of their images, and their places among the
    signals; unknowns: parameters of the model; s0: the known one [unit of the signal], or 0; trained: the method has learned;
    closest: its curve is the closest of its model.
    """

    sigma: float
    snr: float
    bvalues: NDArray[np.float64]
    weights: NDArray[np.float64]
    columns: NDArray[np.intp]
    unknowns: int
    s0: float
    trained: bool
    closest: bool


def standard_of(fitter: Fitter, options: Any, voxels: VoxelSource, sigma: float, trained: bool) -> Standard:
    """What the residuals of a method are held against.

    Parameters
    ----------
    fitter, options, trained : the method made ready, its options, and whether it has learned
    voxels : the data
    sigma : noise SD of one image in the unit of the signal, 0: not known
    """
    bvalues = np.asarray(voxels.bvalues, np.float64)
    columns = np.arange(len(bvalues)) if fitter.columns is None else np.asarray(fitter.columns)
    s0, snr = (float(getattr(options, name, None) or 0.0) for name in ("s0", "snr"))
    weights = np.asarray(voxels.weights, np.float64)[columns]
    unknowns = fitter.unknowns - (s0 > 0)
    return Standard(
        0.0 if snr else sigma, snr, bvalues[columns], weights, columns, unknowns, s0, trained, fitter.closest
    )


def limit_of(n: int) -> float:
    """The largest Σ n r² / σ² over `n` b-values that is no misfit: noise alone exceeds it in `BY_CHANCE` of the voxels."""
    return float(chdtri(n, BY_CHANCE))


def marked(estimates: Estimates, signals: Any, standard: Standard, launch: Launch) -> Estimates:
    """The estimates with chi2, and with outcomes (changed in place) that say which of them miss their signal.

    Parameters
    ----------
    estimates : of a method, on the host or on a GPU
    signals : (voxel, b) that they are of, on the same side
    standard : what the residuals are held against
    launch : where the estimates are
    """
    n, freedom = len(standard.columns), len(standard.columns) - standard.unknowns
    if not (standard.sigma > 0 or standard.snr > 0):
        return estimates
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sigma = standard.sigma or on_host(estimates.S0).astype(np.float64) / standard.snr
        squares = n * (_spread(estimates, signals, standard) / sigma) ** 2
        missed = np.flatnonzero(squares > limit_of(n))
    outcome = on_host(estimates.outcome)
    missed = missed[np.isin(outcome[missed], LOOKED_AT)]
    if len(missed):
        units = np.broadcast_to(sigma, outcome.shape)[missed]
        outcome[missed] = _endings(on_host(signals)[missed], units, standard, launch)
        if is_on_gpu(estimates.outcome):
            estimates.outcome.copy_to_device(outcome)
    if freedom < 1:
        return estimates
    return replace(estimates, chi2=beside(estimates.outcome, (squares / freedom).astype(np.float32), launch))


def _spread(estimates: Estimates, signals: Any, standard: Standard) -> NDArray[np.float64]:
    """The root mean square (voxel,) of residuals, each times the root of its number of images."""
    if estimates.spread is not None:
        return on_host(estimates.spread).astype(np.float64)
    weights = standard.weights
    if np.all(weights == weights[0]):
        return on_host(estimates.rmse).astype(np.float64) * np.sqrt(weights[0])
    rest = on_host(signals)[:, standard.columns] - estimates.predict(standard.bvalues)
    return np.sqrt(np.mean(weights * rest * rest, axis=1))


def _endings(rows: NDArray[np.float32], sigma: NDArray, standard: Standard, launch: Launch) -> NDArray[np.uint8]:
    """The outcomes (voxel,) of signals (voxel, b) whose estimates miss them; sigma (voxel,): their noise."""
    n = len(standard.columns)
    if standard.closest or n < standard.unknowns:
        return np.full(len(rows), MISFIT, np.uint8)
    nlls = METHODS["nlls"].load()
    y = np.ascontiguousarray(rows[:, standard.columns] / sigma[:, None], np.float32)
    s0 = standard.s0 / float(sigma[0]) if standard.s0 and standard.sigma else None
    voxels = Voxels(y, standard.bvalues, repeats=standard.weights)
    best = nlls.prepare(voxels, nlls.Options(sigma=1.0, s0=s0), Launch("cpu", launch.threads)).fit(y)
    spread = best.rmse.astype(np.float64) * np.sqrt(standard.weights[0]) if best.spread is None else best.spread
    other = Outcome.OUTSIDE_TRAINING if standard.trained else Outcome.ITERATION_LIMIT
    explained = n * np.square(spread, dtype=np.float64) <= limit_of(n)
    told = np.where(best.outcome == UNIDENTIFIABLE, UNIDENTIFIABLE, int(other))
    return np.where(explained, told, MISFIT).astype(np.uint8)
