"""A fit made ready, the same way for arrays and for files: options, what they name, the noise level, the method, the notes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from ivimsc.device.launch import Launch
from ivimsc.device.verdict import mark_misfits
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fit.inputs import inputs_of
from ivimsc.fit.noise import FEWEST, NoiseLevel, measure_noise
from ivimsc.fitter import Fitter
from ivimsc.methods import Method, make_options
from ivimsc.voxels import VoxelSource

__all__ = ["Prepared", "prepare"]

BY_CHANCE = 1e-4  # one voxel in 10,000 is called a misfit by noise alone


class Noise:
    """The noise level of a data set, measured when it is first asked for."""

    def __init__(self, voxels: VoxelSource, launch: Launch) -> None:
        self._voxels, self._launch, self._level = voxels, launch, None

    def level(self) -> NoiseLevel:
        """The noise level; InputError where the data do not tell it."""
        if self._level is None:
            self._level = measure_noise(self._voxels, self._launch)
        return self._level

    def known(self) -> NoiseLevel | None:
        """The noise level where enough voxels tell it, else None."""
        if len(self._voxels) < FEWEST:
            return None
        try:
            level = self.level()
        except InputError:
            return None
        return level if level.voxels >= FEWEST else None


class Prepared(NamedTuple):
    """A fit made ready.

    Attributes
    ----------
    fitter : the method, ready for the data set
    options : of the method
    notes : what is told of the data, the device, the method's choices and the noise
    limit : mean square of residuals beyond which a voxel is a misfit [unit of the signal, squared]; inf: not judged
    """

    fitter: Fitter
    options: Any
    notes: list[str]
    limit: float

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels (see `Fitter.fit`), and mark those that the model does not explain."""
        estimates = self.fitter.fit(signals, first, s0)
        mark_misfits(self.fitter.launch, estimates, self.limit)
        return estimates


def prepare(method: Method, settings: Mapping[str, Any], voxels: VoxelSource, launch: Launch) -> Prepared:
    """Make a fit ready; the method looks at the whole data set here.

    Parameters
    ----------
    method, settings : the record of the method, and its options, typed or as text
    voxels : the data, with ``attrs["notes"]`` where something was noted while they were read
    launch : where to run

    Raises
    ------
    InputError
        for bad options, for files that they name and that cannot be used, and for data that the method cannot fit
    """
    module, noise = method.load(), Noise(voxels, launch)
    options = make_options(module, settings)
    fitter = module.prepare(voxels, options, launch, inputs_of(method, options, lambda: noise.level().of_signals))
    given = getattr(options, "sigma", None)
    level = noise.known()
    notes = [*voxels.attrs.get("notes", []), *fitter.launch.notes, *fitter.notes]
    if isinstance(given, int | float):
        sigma = float(given)
    else:
        sigma = 0.0 if level is None else level.sigma
        notes += [] if level is None else [level.sentence()]
    weights = np.asarray(voxels.weights, np.float64)[getattr(fitter, "columns", slice(None))]  # of the b-values it uses
    return Prepared(fitter, options, notes, _limit(sigma, weights))


def _limit(sigma: float, weights: NDArray[np.float64]) -> float:
    """Mean square of residuals that noise alone passes in `BY_CHANCE` of the voxels; inf where sigma is 0: not known.

    The signal at a b-value is the mean of `weights` (b,) images, each with noise `sigma`. A sum of squares of different
    variances is taken for a multiple of a chi-square with the same mean and variance (Satterthwaite, Biometrics 2:110, 1946).
    """
    if not sigma > 0:
        return np.inf
    a = 1 / weights
    scale, freedom = np.sum(a * a) / np.sum(a), np.sum(a) ** 2 / np.sum(a * a)
    return float(sigma**2 * scale * chi2.isf(BY_CHANCE, freedom) / len(weights))
