"""The noise level of a data set: measured once, in one way, for every method that asks for it.

nlls is fitted to a sample of the voxels. Each voxel's Σ r² over σ² follows a chi-square distribution, whose degrees of freedom
are the b-values less the parameters that were free: a voxel that ends at a bound has spent fewer than four. The median over
the voxels then tells σ. Voxels that the model does not explain (motion, kurtosis, outliers) move a median little, and voxels
without signal, the background, are left out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fit.pattern import Pattern, pattern_of
from ivimsc.methods import METHODS
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.physics.parameters import Bounds
from ivimsc.physics.signal import signals as model_signals
from ivimsc.voxels import VoxelSource, sample_signals

__all__ = ["FEWEST", "NoiseLevel", "has_signal", "measure_noise", "noise_level"]

UNKNOWNS = 4  # S0, f, D and D*
FEWEST = 30  # voxels whose residuals tell a noise level: to 5 % at six degrees of freedom
APART = 0.2  # mean of the background over that of the tissue, below which there is a background at all
BRIGHTEST = 0.98  # quantile of the signals at the smallest b; brighter ones count as that, for some are spikes
FINEST = 1e-5  # of S0: no scanner has less noise, and float32 signals without any fit to about a tenth of that
CLOSE = 1e-5  # relative distance of an estimate from a bound that it lies at


class NoiseLevel(NamedTuple):
    """What the residuals tell of the noise.

    sigma: noise SD of one image, in the unit of the signal; snr: median S0 over it; voxels: number whose residuals told it;
    of_signals: noise SD of the signals as they are, each the mean of its images (root mean square over the b-values);
    pattern: what the residuals have in common beside noise.
    """

    sigma: float
    snr: float
    voxels: int
    of_signals: float
    pattern: Pattern | None = None

    def sentence(self) -> str:
        """The noise level in words, for the notes of a fit."""
        return f"noise level: SD {self.sigma:.4g} of one image, SNR {self.snr:.3g} at b = 0 (from the residuals of {self.voxels:,} voxels)"


def noise_level(voxels: VoxelSource, launch: Launch) -> float:
    """Noise SD of the signals of a data set, in their unit: see `measure_noise`."""
    return measure_noise(voxels, launch).of_signals


def measure_noise(voxels: VoxelSource, launch: Launch) -> NoiseLevel:
    """Measure the noise level of a data set on a sample of its voxels.

    Parameters
    ----------
    voxels : the data
    launch : where to fit the sample

    Raises
    ------
    InputError
        for fewer than 5 b-values, which leave no residual, and where no voxel can be fitted
    """
    b = np.asarray(voxels.bvalues, np.float64)
    if len(b) <= UNKNOWNS:
        raise InputError(f"noise level: found {len(b)} b-values, which leave no residuals to tell it from, expected the option snr or sigma")  # fmt: skip
    nlls = METHODS["nlls"].load()
    signals = sample_signals(voxels)
    signals = signals[has_signal(signals)]
    on_cpu = Launch("cpu", launch.threads)
    fitter = nlls.prepare(voxels, nlls.Options(), on_cpu)
    found = fitter.fit(np.ascontiguousarray(signals))
    with np.errstate(invalid="ignore"):
        rest = (
            model_signals(*(a[:, None].astype(np.float64) for a in (found.S0, found.f, found.D, found.Dstar)), b)
            - signals
        )
    weights = np.asarray(voxels.weights, np.float64)  # images behind each signal
    squares, freedom = np.sum(weights * rest * rest, axis=1), len(b) - _spent(found)
    told = np.isfinite(squares) & (freedom > 0)
    finest = FINEST * float(np.nanmedian(np.abs(found.S0))) if told.any() else 0.0
    sigma = max(sigma_of_squares(squares[told], freedom[told]), finest) if told.any() else 0.0
    if not sigma > 0:
        raise InputError("noise level: found no voxel with residuals to tell it from, expected the option snr or sigma")
    of_signals = sigma * float(np.sqrt(np.mean(1 / weights)))
    pattern = pattern_of(fitter, found, signals, b, sigma / np.sqrt(weights))
    return NoiseLevel(sigma, float(np.nanmedian(found.S0)) / sigma, int(told.sum()), of_signals, pattern)


def _spent(found: Estimates) -> NDArray[np.int64]:
    """How many of the four parameters each voxel spent: one less for D or D* at a bound, two less for f at 0 or 1."""
    bounds = Bounds()
    at = [
        (values <= low + CLOSE * (high - low)) | (values >= high - CLOSE * (high - low))
        for values, (low, high) in ((found.f, bounds.f), (found.D, bounds.D), (found.Dstar, bounds.Dstar))
    ]
    return UNKNOWNS - np.where(at[0], 2, at[1].astype(int) + at[2])


def has_signal(signals: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels (voxel,) with signal: not the background, where there is one.

    The signals at the smallest b are cut in two by Otsu's threshold (IEEE Trans. Syst. Man Cybern. 9:62, 1979). The lower
    class is background where its mean is below a fifth of that of the upper; else all voxels have signal.

    Parameters
    ----------
    signals : (voxel, b), the first column at the smallest b
    """
    first = np.where(np.isfinite(signals[:, 0]), signals[:, 0], 0).astype(np.float64)
    if len(first) < 2 or first.max() <= 0:
        return np.ones(len(first), bool)
    ordered = np.sort(np.minimum(first, np.quantile(first, BRIGHTEST)))
    n, below = len(ordered), np.arange(1, len(ordered))
    sums = np.cumsum(ordered)[:-1]
    low, high = sums / below, (ordered.sum() - sums) / (n - below)
    best = int(np.argmax(below * (n - below) * (high - low) ** 2))
    if low[best] >= APART * high[best]:
        return np.ones(n, bool)
    return first > ordered[best]
