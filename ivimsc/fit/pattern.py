"""Do the residuals of many voxels, on average, have a pattern that noise does not leave?

Curvature (kurtosis) or a third pool can bend every voxel's signal by less than its noise: then no voxel is a misfit (outcome 8),
and yet D and f are wrong by many of their standard errors in all of them. The mean over thousands of voxels shows it.
What noise, bounds and the floor of magnitude images leave in that mean is told by a fit to signals that the model did make:
those of the estimates, with new noise of the same level.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.estimates import Estimates
from ivimsc.fitter import Fitter

__all__ = ["Pattern", "pattern_of"]

SIZE = 0.1  # noise SDs, root mean square over the b-values; clean phantoms have 0.03 to 0.05 at SNR 15 to 80
SURE = 6.0  # standard errors of the largest one
NAMED = 3  # b-values that the sentence names
SEED = 1905


class Pattern(NamedTuple):
    """Mean residual (b,) beyond what the model leaves, in noise SDs of each signal; and its standard error (b,)."""

    mean: NDArray[np.float64]
    error: NDArray[np.float64]

    @property
    def found(self) -> bool:
        """Whether the pattern is large enough to matter, and no chance."""
        large = np.sqrt(np.mean(self.mean**2)) > SIZE
        return bool(large and np.max(np.abs(self.mean) / self.error) > SURE)

    def sentence(self, bvalues: NDArray[np.float64]) -> str:
        """What the user is told, where there is a pattern."""
        worst = np.sort(np.argsort(-np.abs(self.mean))[:NAMED])
        named = ", ".join(f"{self.mean[k]:+.2g} at b = {bvalues[k]:g}" for k in worst)
        return (f"warning: the residuals of two exponentials have a pattern that noise does not leave (mean in noise SDs: {named}): f, D and D* "
                "may be off by more than their errors, also where they say converged; fit kurtosis or triexp beside them, or smaller "
                "b-values alone; a pattern that stays is of the images (motion, drift)")  # fmt: skip


def pattern_of(fitter: Fitter, found: Estimates, signals: NDArray[np.float32], bvalues: NDArray[np.float64],
               noise: NDArray[np.float64]) -> Pattern:  # fmt: skip
    """The mean residuals of nlls beside those of signals that its own estimates make.

    Parameters
    ----------
    fitter : nlls, made ready
    found : its estimates of `signals`
    signals : (voxel, b); magnitudes where none is negative
    bvalues : (b,) in s/mm²
    noise : (b,) noise SD of the signals
    """
    known = np.isfinite(signals).all(1) & np.isfinite(found.f)
    clean = found.predict(bvalues)[known].astype(np.float64)
    random = np.random.Generator(np.random.Philox(SEED))
    made = clean + random.normal(size=clean.shape) * noise
    if not np.any(signals[known] < 0):
        made = np.hypot(made, random.normal(size=clean.shape) * noise)
    again = np.ascontiguousarray(made, np.float32)
    own = (again - fitter.fit(again).predict(bvalues)) / noise
    rest = (signals[known] - clean) / noise
    usual = np.isfinite(own).all(1) & (np.sum(rest**2, 1) < _limit(own))
    own, rest = own[usual], rest[usual]
    n = max(len(own), 2)
    error = np.sqrt((np.var(own, 0) + np.var(rest, 0)) / n) if len(own) else np.ones(len(bvalues))
    return Pattern(rest.mean(0) - own.mean(0) if len(own) else np.zeros(len(bvalues)), np.maximum(error, 1e-12))


def _limit(own: NDArray[np.float64]) -> float:
    """Σ r² of a voxel above which it counts as an outlier of its own: four times what noise leaves at most."""
    squares = np.sum(own**2, 1)
    return 4 * float(np.nanmax(squares)) if np.isfinite(squares).any() else 0.0
