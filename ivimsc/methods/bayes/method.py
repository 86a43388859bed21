"""Bayesian fit: posterior mean, standard deviation and maximum of S0, f, D and D* per voxel.

The idea. With three unknowns (S0, and if wanted σ, integrate out in closed form) a posterior needs no Markov chain:
weighted draws of the prior, shared by all voxels, are exact up to a known Monte-Carlo error, and where the data are so
sharp that few draws carry weight, local draws follow (`posterior`). The posterior mean has the smallest mean
squared error of all estimators, if the prior is the true one. `population`, the default, takes the prior from the data themselves
(`population`), as Orton et al. do, but for any number of tissues: that needs no training and comes close to the bound.

Priors: ``population`` (a mixture of Gaussians over logit f, ln D, ln D* that the data choose; where fewer than 100 voxels
or a poor protocol do not tell it, the broad log-normal `fixed_priors.BROAD_PRIOR`), ``spatial`` (the neighbours of each voxel,
and the population: `spatial`), ``shrinkage`` (Gaussian over logit f, ln D, ln D* of the region, or a mixture: components), ``uniform``,
``reciprocal`` (uniform in f, 1 / x in D and D*), ``lognormal`` (logit-normal f), or the truth of a voxel store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.device.launch import Launch, empty_beside, leave_gpu
from ivimsc.device.verdict import evidence_of, judged
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.methods import Inputs, VoxelSource
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.draws import SHIFTS, empirical_draws, make_proposal, prior_draws
from ivimsc.methods.bayes.fixed_priors import bounds_of
from ivimsc.methods.bayes.likelihood import NoiseModel, root_of
from ivimsc.methods.bayes.posterior import posteriors
from ivimsc.methods.bayes.prior_and_noise import learn, points_of, read_sample
from ivimsc.methods.bayes.problem import Problem, sampling
from ivimsc.methods.bayes.spatial.fitter import SpatialFitter
from ivimsc.methods.bayes.spatial.neighbourhood import places_of
from ivimsc.methods.bayes.spatial.volume import learn_field
from ivimsc.methods.bayes.summary import named
from ivimsc.physics.parameters import Bounds
from ivimsc.physics.protocol import B0_LIMIT, require_distinct

TITLE = "Bayesian: posterior mean, SD and maximum"
SOURCE = "Orton et al., Magn. Reson. Med. 71:411 (2014) for the shrinkage prior; self-normalised importance sampling"

PRIORS = ("population", "spatial", "shrinkage", "uniform", "reciprocal", "lognormal")
LIKELIHOODS = ("auto", "gaussian", "rician")
ROUNDS = 6  # most local rounds
DRAWS = 2048  # of the prior, shared by all voxels
SPATIAL_POINTS = 512  # local draws per round where they begin at what the neighbours say
EMPIRICAL = 65536  # most draws taken from a store's truth
FEWEST = 256  # fewest voxels with truth that a prior is taken from
FEW, SOON = 64, 2048  # up to so many voxels, their points may begin at fewer places, which are made in less time
MISFIT = 10.0  # median residual in noise SDs from which the prior is said to exclude the data


@dataclass(frozen=True)
class Options:
    """Options of bayes."""

    prior: str = field(
        default="population", metadata={"help": f"{', '.join(PRIORS)}, or a voxel store (.h5) with truth"}
    )
    likelihood: str = field(
        default="auto", metadata={"help": "gaussian, rician, or auto: rician where the largest b-values near the noise"}
    )
    sigma: float | str = field(
        default="estimate", metadata={"help": "noise SD: a number, estimate (one for all voxels), or marginal"}
    )
    s0: float | None = field(default=None, metadata={"help": "S0 where it is known (none: integrated out)"})
    f_bounds: tuple[float, float] = field(default=Bounds().f, metadata={"help": "bounds of f"})
    d_bounds: tuple[float, float] = field(default=Bounds().D, metadata={"help": "bounds of D [mm²/s]"})
    dstar_bounds: tuple[float, float] = field(default=Bounds().Dstar, metadata={"help": "bounds of D* [mm²/s]"})
    f_normal: tuple[float, float] = field(
        default=(0.15, 1.0), metadata={"help": "lognormal: median of f, SD of logit f"}
    )
    d_normal: tuple[float, float] = field(
        default=(1.2e-3, 0.5), metadata={"help": "lognormal: median of D [mm²/s], SD of ln D"}
    )
    dstar_normal: tuple[float, float] = field(
        default=(30e-3, 0.7), metadata={"help": "lognormal: median of D* [mm²/s], SD of ln D*"}
    )
    components: int = field(default=1, metadata={"help": "shrinkage: number of Gaussians (tissues)"})
    draws: int | None = field(
        default=None, metadata={"help": "shared draws (none: 2048, or the store's truth up to 65536)"}
    )
    points: int | None = field(
        default=None, metadata={"help": "local draws per round (none: 1024; 2048 for Rician noise)"}
    )
    seed: int = field(default=0, metadata={"help": "shifts the low-discrepancy points"})

    def __post_init__(self) -> None:
        _expect(self.prior in PRIORS or self.prior.endswith(".h5"), "prior", self.prior,
                f"{', '.join(PRIORS)} or a voxel store (.h5)")  # fmt: skip
        _expect(self.likelihood in LIKELIHOODS, "likelihood", self.likelihood, ", ".join(LIKELIHOODS))
        self._check_sigma()
        _expect(self.s0 is None or 0 < self.s0 < np.inf, "s0", self.s0, "a number > 0 or none")
        self._check_medians()
        _expect(1 <= self.components <= 16, "components", self.components, "1 to 16")
        _expect(self.draws is None or 256 <= self.draws <= 2**20, "draws", self.draws, "256 to 1048576")
        _expect(self.points is None or 256 <= self.points <= 2**16, "points", self.points, "256 to 65536")
        _expect(self.seed >= 0, "seed", self.seed, "a number >= 0")

    def _check_sigma(self) -> None:
        if isinstance(self.sigma, str):
            _expect(self.sigma in ("estimate", "marginal"), "sigma", self.sigma, "a number > 0, estimate or marginal")
            _expect(self.sigma != "marginal" or self.likelihood != "rician", "sigma", self.sigma,
                    "a number or estimate with the rician likelihood")  # fmt: skip
        else:
            _expect(0 < self.sigma < np.inf, "sigma", self.sigma, "a number > 0, estimate or marginal")

    def _check_medians(self) -> None:
        bounds = Bounds(self.f_bounds, self.d_bounds, self.dstar_bounds)
        for name, top in (("f_normal", 1.0), ("d_normal", bounds.Dstar[1]), ("dstar_normal", np.inf)):
            median, spread = getattr(self, name)
            _expect(0 < median < top and 0 < spread < np.inf, name, f"{median:g},{spread:g}",
                    f"a median in 0..{top:g} and an SD > 0")  # fmt: skip

    @property
    def truth_from(self) -> str | None:
        """The voxel store whose truth is the prior, where there is one: the caller reads it for `prepare`."""
        return self.prior if self.prior not in PRIORS else None


def _expect(good: bool, name: str, found: object, expected: str) -> None:
    if not good:
        raise InputError(f"option {name} of bayes: found {found}, expected {expected}")


class Fitter(fitter.Fitter):
    """bayes made ready: a prior, a noise level and the fixed points.

    Attributes
    ----------
    problem : what is the same for all voxels
    launch : where it runs
    notes : what was chosen, for the user
    """

    def __init__(self, problem: Problem, launch: Launch, notes: list[str], weights: NDArray[np.float64]) -> None:
        super().__init__(launch, notes)
        self.problem, noise = problem, problem.noise
        of_image = float(noise.sigma) / np.sqrt(np.mean(1 / weights))
        self.evidence = evidence_of(noise.b.astype(np.float64) * 1e3, of_image, bool(noise.s0 > 0), weights=weights)

    @cached_property
    def _on_gpu(self) -> Any:
        from ivimsc.methods.bayes.on_gpu import Posterior  # CUDA is loaded only where it runs

        return Posterior(self.launch, self.problem)

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; `s0` is not used."""
        if not self.launch.on_gpu:
            found = posteriors(self.problem, signals, self.launch, first)
            return judged(self.launch, named(found.values, found.outcome), self.evidence)
        values = empty_beside(self.launch, signals, (rows.ROWS, len(signals)), np.float32)
        outcome = empty_beside(self.launch, signals, (len(signals),), np.uint8)
        self._on_gpu.run(signals, first, values, outcome)
        return judged(self.launch, named(values, outcome), self.evidence)

    def below(self, signals: NDArray[np.float32], f: NDArray, D: NDArray, Dstar: NDArray) -> NDArray[np.float32]:
        """The posterior probability that f, D and D* lie below given values; on the CPU always.

        Uniform over 0..1 if the values are the truth and the prior is the one that they come from.

        Parameters
        ----------
        signals : (voxel, b) float32
        f, D, Dstar : (voxel,) the values; D and D* in mm²/s

        Returns
        -------
        (voxel, 3), NaN for bad signals
        """
        targets = np.stack([f, np.multiply(D, 1e3), np.multiply(Dstar, 1e3)], axis=1).astype(np.float32)
        return posteriors(self.problem, signals, self.launch, targets=targets).below


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check the protocol; find the prior and the noise level, from the data where asked for.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : holds the truth (f, d, dstar) of the voxel store that the option `prior` names, where it names one

    Raises
    ------
    InputError
        for fewer than 3 b-values, and a prior that excludes the data
    """
    require_distinct(voxels.bvalues, 3, "bayes")
    spatial = options.prior == "spatial"
    if spatial:
        places_of(voxels)
        if launch.on_gpu:
            launch = leave_gpu(launch, "prior=spatial has no CUDA kernels")
    truth = None if inputs is None else inputs.files.get("prior")
    theta = None if options.truth_from is None else _empirical(truth, options)
    sample, unit = read_sample(voxels)
    prior, sigma, rician, notes = learn(
        sample, unit, theta, np.asarray(voxels.bvalues), options, launch, inputs, voxels.weights
    )
    weights = np.asarray(voxels.weights, np.float64)
    root = root_of(np.ones_like(weights) if rician else weights)
    if rician and np.any(weights != weights[0]):
        notes.append("the Rician likelihood weighs all b-values alike, whatever the number of their images")
    b = (voxels.bvalues * 1e-3).astype(np.float32)
    noise = NoiseModel(b, root, np.float32(options.s0 or 0), np.float32(sigma), rician)
    if theta is None:
        draws = prior_draws(noise, prior, options.draws or DRAWS, options.seed)
    else:
        draws = empirical_draws(noise, theta, options.seed)
    shifts = SHIFTS if len(voxels) > FEW else SOON
    points = points_of(options, rician)
    proposal = make_proposal(points, options.seed + 1, shifts)
    problem = Problem(
        noise,
        prior,
        draws,
        proposal,
        sampling(ROUNDS if theta is None else 0, options.seed, None if theta is not None else bounds_of(options)),
    )
    if spatial:
        field = learn_field(voxels, noise, prior, options.seed, launch)
        notes += field.notes
        if field.coupling.alone < 1:  # else the fit is voxelwise, to the byte
            few = make_proposal(min(points, SPATIAL_POINTS), options.seed + 1, shifts)
            problem = problem._replace(proposal=few)
            return SpatialFitter(problem, field, launch, [*notes, *_notes_on_s0(voxels.bvalues, options)], weights)
    fitter = Fitter(problem, launch, [*notes, *_notes_on_s0(voxels.bvalues, options)], weights)
    if sigma > 0 and not isinstance(options.sigma, str):
        _check_reach(fitter, sample, options)
    return fitter


def _empirical(truth: Mapping[str, NDArray] | None, options: Options) -> NDArray[np.float64]:
    """Draws (3, n) of f, D, D* [µm²/ms] from a store's truth, the voxels without a number left out."""
    if truth is None:
        raise InputError(f"{options.prior}: found no truth, expected a voxel store with the true f, D and D*")
    units = {"f": 1, "d": 1e3, "dstar": 1e3}
    theta = np.stack([np.asarray(truth[key], np.float64) * unit for key, unit in units.items()])
    theta = theta[:, np.isfinite(theta).all(0)]
    if theta.shape[1] < FEWEST:
        raise InputError(f"{options.prior}: found {theta.shape[1]} voxels with truth, expected at least {FEWEST}")
    n = min(options.draws or EMPIRICAL, theta.shape[1])
    order = np.random.Generator(np.random.Philox(options.seed)).permutation(theta.shape[1])[:n]
    return np.ascontiguousarray(theta[:, order])


def _notes_on_s0(bvalues: NDArray[np.float64], options: Options) -> list[str]:
    """What was chosen for S0, and a warning where that leaves the prior undetermined."""
    notes = ["S0: integrated out, flat prior" if options.s0 is None else f"S0: known, {options.s0:g}"]
    if options.prior == "shrinkage" and options.s0 is None and bvalues[0] > B0_LIMIT:
        notes.append(
            f"warning: without b = 0 (the smallest is {bvalues[0]:g} s/mm²) the data hardly tell S0, f and D* apart, and a prior learned from them may be far off: give s0, or another prior"
        )
    return notes


def _check_reach(fitter: Fitter, sample: NDArray[np.float32], options: Options) -> None:
    """Refuse a prior that cannot come near the data: with a given σ its residuals are many σ."""
    estimates = fitter.fit(sample[:256])
    if len(sample) and (misfit := float(np.median(estimates.rmse)) / options.sigma) > MISFIT:
        raise InputError(f"option prior of bayes: found residuals of {misfit:.0f} noise SDs (median) under prior {options.prior} "
                         f"and sigma {options.sigma:g}, expected at most {MISFIT:g}: this prior excludes the data")  # fmt: skip
