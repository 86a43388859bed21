"""The spatial prior of a whole volume: sites of all voxels, what the data tell of neighbours, sweeps. Done once, before the fit.

The sites take three quarters of the time. All of it is kept in memory, about 150 bytes for each voxel, and 4 for
each place of the volume.
"""

from typing import NamedTuple

import numpy as np

from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods import VoxelSource
from ivimsc.methods.bayes.draws import make_proposal, prior_draws
from ivimsc.methods.bayes.likelihood import NoiseModel
from ivimsc.methods.bayes.priors import Prior
from ivimsc.methods.bayes.problem import Problem, Sampling
from ivimsc.methods.bayes.spatial.neighbourhood import Neighbourhood, find_neighbours, places_of
from ivimsc.methods.bayes.spatial.sites import Beliefs, Sites, empty_sites, population_of, sites_kernel
from ivimsc.methods.bayes.spatial.sweeps import Coupling, Learnt, learn_coupling, sweep
from ivimsc.numerics.scaling import scales

__all__ = ["Field", "learn_field"]

CHUNK = 2**16  # voxels read at once
DRAWS, LOCAL, POINTS = 2048, 512, 512  # shared draws, points of a local round, points that a site is told from
TARGET, TEMPERED, ROUNDS, WIDER = np.float32(150), np.float32(50), 4, np.float32(1.3)  # as in `problem.Sampling`
SHIFTS = 8192  # places where the points of a voxel may begin
SWEEPS = 4
SPREAD = np.array([0, 3, 5])  # of the variances among the six numbers of a covariance


class Field(NamedTuple):
    """Neighbours, beliefs of the last sweep and coupling, as `final.spatial_kernel` takes them; what the user is told."""

    hood: Neighbourhood
    beliefs: Beliefs
    coupling: Coupling
    notes: list[str]


def learn_field(voxels: VoxelSource, noise: NoiseModel, prior: Prior, seed: int, launch: Launch) -> Field:
    """The spatial prior of a data set.

    Parameters
    ----------
    voxels : all of them, with their places
    noise : in units of the signal
    prior : the population
    seed : shifts the points
    launch : its threads

    Raises
    ------
    InputError
        see `neighbourhood.places_of`
    """
    places_of(voxels)  # what cannot be done is told before the work
    sites = empty_sites(len(voxels))
    limits = Sampling(TARGET, np.float32(0), ROUNDS, TEMPERED, 1, seed, wider=WIDER)
    draws, kept = prior_draws(noise, prior, DRAWS, seed), make_proposal(POINTS, seed + 3, SHIFTS)
    problem = Problem(noise, prior, draws, make_proposal(LOCAL, seed + 2, SHIFTS), limits)
    population = population_of(prior)
    for start in range(0, len(voxels), CHUNK):
        signals = np.ascontiguousarray(voxels.read(start, min(start + CHUNK, len(voxels))))
        scale = np.empty(len(signals), np.float32)
        scales(signals, scale)
        run_blocks(
            launch, sites_kernel, len(signals), start, signals, scale, problem, kept, population, sites, block=256
        )
    hood = find_neighbours(voxels, np.isfinite(sites.told))
    learnt = learn_coupling(hood, sites, launch)
    beliefs = (
        sweep(hood, sites, learnt.coupling, SWEEPS, launch) if learnt.coupling.alone < 1 else sites.with_population
    )
    return Field(hood, beliefs, learnt.coupling, [_words(learnt, hood, sites)])


def _words(learnt: Learnt, hood: Neighbourhood, sites: Sites) -> str:
    """What was learnt of neighbours, in words."""
    coupling = learnt.coupling
    if not learnt.voxels:
        return "spatial prior: no voxel has a neighbour, and so the prior is the population alone"
    if coupling.alone == 1:
        return f"spatial prior: neighbours tell nothing of each other (from {learnt.voxels:,} voxels), and so the prior is the population alone"
    spread = np.nanvar(sites.with_population.mean, axis=0) + np.nanmean(
        sites.with_population.covariance[:, SPREAD], axis=0
    )
    apart = 100 * np.sqrt(coupling.apart[SPREAD] / spread)
    weights = ", ".join(f"{w:.2g} at {d:.3g} mm" for w, d in zip(coupling.weights[:4], hood.distances, strict=False))
    return (f"spatial prior: neighbours of a kind agree within {apart[0]:.0f}, {apart[1]:.0f} and {apart[2]:.0f} % of the population's spread "
            f"of logit f, ln D and ln D*; {100 * coupling.alone:.2g} % of the voxels are like no neighbour; weights {weights}; "
            f"{SWEEPS} sweeps, from {learnt.voxels:,} voxels")  # fmt: skip
