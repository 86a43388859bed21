"""What the posteriors of all voxels have in common, and where their results go: arrays by name, as the kernels take them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.methods.bayes.draws import Draws, Proposal
from ivimsc.methods.bayes.likelihood import NoiseModel
from ivimsc.methods.bayes.priors import Prior

__all__ = ["Problem", "Results", "Sampling", "sampling"]

TARGET, LEAST, TEMPERED, CLIMB = np.float32(400), np.float32(50), np.float32(60), 128  # see `Sampling`


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
    """

    target: np.float32
    least: np.float32
    rounds: int
    tempered: np.float32
    climb: int
    seed: int


def sampling(rounds: int, seed: int) -> Sampling:
    """The usual sampling, with at most `rounds` local rounds."""
    return Sampling(TARGET, LEAST, rounds, TEMPERED, CLIMB, seed)


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
