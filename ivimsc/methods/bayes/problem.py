"""What the posteriors of all voxels have in common, and where their results go: arrays by name, as the kernels take them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.methods.bayes.draws import Draws, Proposal
from ivimsc.methods.bayes.likelihood import NoiseModel
from ivimsc.methods.bayes.priors import Prior
from ivimsc.numerics.ending import Box

__all__ = ["Problem", "Results", "Sampling", "sampling"]

NO_BOX = Box(*np.float32([-np.inf, np.inf] * 3))
NEAR = 1e-3  # of the range: this near a bound the maximum lies at it
TARGET, LEAST, TEMPERED, CLIMB = np.float32(400), np.float32(50), np.float32(60), 64  # see `Sampling`


class Sampling(NamedTuple):
    """When the sampling of a voxel stops.

    Attributes
    ----------
    target : effective sample size that ends the local rounds
    least : effective sample size below which the outcome is "iteration limit"
    rounds : most local rounds; 0 where the prior has no density
    tempered : least effective sample size that a proposal is made from
    climb : points per round of the search for the maximum
    seed : of the shifts
    box : bounds of f, D, D* [µm²/ms]; a maximum there gives the outcome "at a bound"
    wider : factor of the spread of points that are kept (`posterior.kept_points_kernel`)
    """

    target: np.float32
    least: np.float32
    rounds: int
    tempered: np.float32
    climb: int
    seed: int
    box: Box = NO_BOX
    wider: np.float32 = np.float32(1)


def sampling(rounds: int, seed: int, bounds: NDArray[np.float64] | None = None) -> Sampling:
    """The usual sampling, with at most `rounds` local rounds; bounds (3, 2) of f, D, D* [µm²/ms]."""
    if bounds is None:
        return Sampling(TARGET, LEAST, rounds, TEMPERED, CLIMB, seed)
    margin = NEAR * (bounds[:, 1] - bounds[:, 0])
    inner = np.stack([bounds[:, 0] + margin, bounds[:, 1] - margin], 1)
    return Sampling(TARGET, LEAST, rounds, TEMPERED, CLIMB, seed, Box(*inner.astype(np.float32).ravel()))


class Problem(NamedTuple):
    """What is the same for all voxels: the noise model in units of the signal, the prior, its draws, and the sampling."""

    noise: NoiseModel
    prior: Prior
    draws: Draws
    proposal: Proposal
    sampling: Sampling


class Results(NamedTuple):
    """What is found of each voxel.

    Attributes
    ----------
    values : (row, voxel) the rows of `rows`, in units of the signal and mm²/s; NaN for bad signals
    outcome : (voxel,) how the fit ended
    below : (voxel, 3) posterior probability that f, D, D* lie below the targets, where targets are given
    """

    values: NDArray[np.float32]
    outcome: NDArray[np.uint8]
    below: NDArray[np.float32]
