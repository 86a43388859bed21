"""The population that a data set's voxels come from, learnt from their signals alone: what networks are adapted to.

The noise level is the one that every method takes (`noise`). The population of f, D and D* is the one that `bayes` finds as its prior:
a mixture of Gaussians, or the broad prior where the data do not tell a population. S0 over the noise is that of the voxels.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.population import Population
from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.fit.noise import has_signal, measure_noise
from ivimsc.options import expect_positive, option
from ivimsc.physics.protocol import require_distinct
from ivimsc.voxels import VoxelSource, sample_signals

if TYPE_CHECKING:
    from ivimsc.methods.bayes.priors import Prior

__all__ = ["Told", "population_of"]

VOXELS = 4096  # that the population is learnt from: fewer tell it worse, more take longer
DRAWS = 2**17  # of f, D and D*
FEW_B = 4  # b-values below which a network that finds S0 has nothing to learn


@dataclass(frozen=True)
class Told:
    """What is known beforehand; what is None is taken from the data."""

    sigma: float | None = option(None, "noise SD of one image in units of the signal")
    snr: float | None = option(None, "S0 over noise SD, of every voxel, instead of sigma")
    s0: float | None = option(None, "S0, the same for all voxels")

    def __post_init__(self) -> None:
        expect_positive(self, ("sigma", "snr", "s0"), "a population from the data")
        if self.sigma is not None and self.snr is not None:
            raise InputError(
                "options of a population from the data: found sigma and snr together, expected one of them"
            )


def population_of(
    voxels: VoxelSource, launch: Launch, told: Told = Told(), seed: int = 0
) -> tuple[Population, list[str]]:
    """The population of a data set, and what the user is told of it.

    Parameters
    ----------
    voxels : the data
    launch : threads of the CPU
    told : the noise level, where it is known
    seed : keys the search and the draws

    Raises
    ------
    InputError
        for fewer than 4 b-values, no voxel with signal, and a noise level that cannot be told
    """
    from ivimsc.methods.bayes.method import (
        Options as BayesOptions,  # bayes is loaded only where a population is asked for
    )
    from ivimsc.methods.bayes.prior_and_noise import learn
    from ivimsc.methods.bayes.priors import draw, parameters

    bvalues, weights = np.asarray(voxels.bvalues, np.float64), np.asarray(voxels.weights, np.float64)
    require_distinct(bvalues, FEW_B - (told.s0 is not None), "a population from the data")
    signals = _good(sample_signals(voxels, 2 * VOXELS))
    if not len(signals):
        raise InputError("population: found no voxel with signal, expected some to learn from")
    scale = signals[:, :2].max(1).astype(np.float64) if told.s0 is None else np.full(64, told.s0)
    sigma = told.sigma or (float(np.median(scale)) / told.snr if told.snr else measure_noise(voxels, launch).sigma)
    some = signals[:: -(-len(signals) // VOXELS)]
    options, cpu = BayesOptions(sigma=sigma, s0=told.s0, seed=seed), Launch("cpu", launch.threads)
    prior, _, _, words = learn(some, float(np.median(some.max(1))), None, bvalues, options, cpu, None, weights)
    t = draw(prior, DRAWS, seed)
    ratios = np.full(64, float(told.snr)) if told.snr else np.maximum(scale / sigma, 1.0)
    about: dict[str, Any] = {
        "population": words[0].removeprefix("warning: ").removeprefix("prior: "),
        "voxels": len(some), "noise": f"SD {sigma:.4g}, SNR {float(np.median(ratios)):.3g} (median)",
        "learned": not words[0].startswith("warning"),
    }  # fmt: skip
    rician = not bool(np.any(signals < 0))
    theta = np.ascontiguousarray(parameters(prior, t).T)
    notes = [words[0].replace("prior: ", "population: ", 1)]
    return Population(
        bvalues, weights, theta, _of_a_tissue(prior, t), ratios, rician, about, told.s0 is not None
    ), notes


def _of_a_tissue(prior: "Prior", t: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Draws (draw,) of a mixture that are rather of another component than the last, the broad one; all where it is alone."""
    if len(prior.constants) < 2:
        return np.ones(t.shape[1], bool)
    away = np.einsum("cij,cjn->cin", prior.whiten.astype(np.float64), t[None] - prior.means[:, :, None])
    logs = prior.constants[:, None] - 0.5 * np.sum(away * away, axis=1)
    return logs.argmax(0) < len(logs) - 1


def _good(signals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signals (voxel, b) of the voxels that a network could fit, without the background."""
    good = np.isfinite(signals).all(1) & (signals[:, 0] > 0)
    signals = signals[good]
    return np.ascontiguousarray(signals[has_signal(signals)])
