"""The population that training voxels are drawn from, where no truth is given.

A voxel of the training is a draw (f, D, D*) of the population, an S0 over the noise as the data set has it, and fresh noise.
S0 and the parameters are drawn apart from one another: a network that is taught so knows nothing of S0 but what the signal
says, as with the flat prior of `bayes`.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.physics.noise import rician_mean, rician_variance
from ivimsc.physics.signal import signals as model_signals

__all__ = ["Drawn", "Population"]

SMEARED = 0.25  # SD of ln(S0/σ) that is added to what the data show: a signal alone then tells S0
ROOM = 0.1  # share of the voxels whose S0/σ is drawn evenly from the whole range of the data, with room at its ends
BEYOND = 1.5  # factor of that room
TABLE = np.linspace(0.0, 12.0, 2401)  # S/σ at which the moments of averaged magnitudes are kept; above, S²/σ² is large


class Drawn(NamedTuple):
    """Training voxels: signals (voxel, b) for S0 = 1 with noise; sigma (voxel,) noise SD of one image over S0; truth (voxel, 3)
    f, D, D* [1, µm²/ms].
    """

    signals: NDArray[np.float32]
    sigma: NDArray[np.float32]
    truth: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Population:
    """What training voxels are drawn from.

    Attributes
    ----------
    bvalues, weights : (b,) [s/mm²], and images behind each signal
    theta : (draw, 3) f, D, D* [1, µm²/ms]
    usual : (draw,) which of them are of a tissue of the data; the others are there for voxels unlike all of these
    ratios : (voxel,) S0 over the noise SD of one image, of some voxels of the data
    rician : the noise is that of magnitudes; else Gaussian
    s0_known : S0 is known, the same for all voxels; it is then 1 in the unit of the drawn signals
    about : what a model's card says of it: words, where it is from; JSON types
    """

    bvalues: NDArray[np.float64]
    weights: NDArray[np.float64]
    theta: NDArray[np.float64]
    usual: NDArray[np.bool_]
    ratios: NDArray[np.float64]
    rician: bool
    about: dict[str, Any]
    s0_known: bool = False

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the largest S0/σ that is drawn."""
        low, high = np.quantile(self.ratios, (0.005, 0.995))
        return float(low / BEYOND), float(high * BEYOND)

    def of(self, theta: NDArray[np.float64]) -> "Population":
        """The same data set with other f, D and D* (draw, 3)."""
        return replace(self, theta=theta, usual=np.ones(len(theta), bool))

    def clean(self) -> NDArray[np.float32]:
        """Signals (draw, b) of equation (1) for S0 = 1."""
        f, D, Dstar = self.theta.T[:, :, None]
        return np.ascontiguousarray(model_signals(1.0, f, D, Dstar, self.bvalues * 1e-3), np.float32)

    def draw(self, n: int, generator: np.random.Generator, clean: NDArray[np.float32] | None = None) -> Drawn:
        """So many training voxels.

        Parameters
        ----------
        n, generator : how many, and where the random numbers come from
        clean : `clean()`, where it is at hand
        """
        clean = self.clean() if clean is None else clean
        places = generator.integers(0, len(self.theta), n)
        sigma = (1 / (np.full(n, self.ratios[0]) if self.s0_known else self._ratios(n, generator))).astype(np.float32)
        return Drawn(self._noisy(clean[places], sigma, generator), sigma, self.theta[places].astype(np.float32))

    def _ratios(self, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """S0/σ (voxel,) of n voxels: as the data have them, smeared; some from the whole range."""
        ratio = self.ratios[generator.integers(0, len(self.ratios), n)] * np.exp(SMEARED * generator.standard_normal(n))
        low, high = self.reach
        even = np.exp(generator.uniform(np.log(low), np.log(high), n))
        return np.clip(np.where(generator.random(n) < ROOM, even, ratio), low, high)

    def _noisy(self, clean: NDArray, sigma: NDArray, generator: np.random.Generator) -> NDArray[np.float32]:
        """Signals (voxel, b) with noise: magnitudes by equation (11), or means of several of them by their moments."""
        noise = sigma[:, None] / np.sqrt(self.weights).astype(np.float32)
        first = generator.standard_normal(clean.shape, np.float32)
        if not self.rician:
            return clean + noise * first
        if np.all(self.weights == 1):
            return np.hypot(clean + noise * first, noise * generator.standard_normal(clean.shape, np.float32))
        mean, sd = (np.interp(clean / sigma[:, None], TABLE, table) for table in _moments())
        far = clean > TABLE[-1] * sigma[:, None]
        mean = np.where(far, np.sqrt(clean * clean + sigma[:, None] ** 2), mean * sigma[:, None])
        return (mean + np.where(far, 1, sd) * noise * first).astype(np.float32)


def _moments() -> tuple[NDArray, NDArray]:
    """Mean and SD of a magnitude over σ at `TABLE`."""
    return rician_mean(TABLE, 1.0), np.sqrt(rician_variance(TABLE, 1.0))
