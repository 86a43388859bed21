"""Bayesian fit: posterior mean, standard deviation and maximum of S0, f, D and D* per voxel.

The idea. With three unknowns (S0, and if wanted σ, integrate out in closed form) a posterior needs no Markov chain:
weighted draws of the prior, shared by all voxels, are exact up to a known Monte-Carlo error, and where the data are so
sharp that few draws carry weight, local draws follow (`posterior`). The posterior mean has the smallest mean
squared error of all estimators, if the prior is the true one. `shrinkage` takes the prior from the data themselves
(`shrinkage`), after Orton et al.: that needs no training and comes close to the bound.

Priors: ``shrinkage`` (Gaussian over logit f, ln D, ln D* of the region, or a mixture: components), ``uniform``,
``reciprocal`` (uniform in f, 1 / x in D and D*), ``lognormal`` (logit-normal f), or the truth of a voxel store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.device.launch import Launch, empty_beside, run_blocks
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.methods import Inputs, VoxelSource
from ivimsc.methods.bayes.draws import Draws, empirical_draws, make_proposal, prior_draws
from ivimsc.methods.bayes.likelihood import Model, unit_signals
from ivimsc.methods.bayes.posterior import FIELDS, Settings, posterior_kernel
from ivimsc.methods.bayes.priors import Prior, box_prior, draw, gaussian_prior, parameters
from ivimsc.methods.bayes.shrinkage import Population, estimate_noise, estimate_prior
from ivimsc.numerics.scaling import scales
from ivimsc.physics.parameters import Bounds
from ivimsc.physics.protocol import B0_LIMIT, require_distinct

TITLE = "Bayesian: posterior mean, SD and maximum"
SOURCE = "Orton et al., Magn. Reson. Med. 71:411 (2014) for the shrinkage prior; self-normalised importance sampling"

PRIORS = ("shrinkage", "uniform", "reciprocal", "lognormal")
TARGET, LEAST, ROUNDS, TEMPERED, CLIMB = 400.0, 50.0, 6, 60.0, 128
DRAWS = 4096
SUBSET = 8192  # voxels that tell the prior and the noise level
EMPIRICAL = 65536  # most draws taken from a store's truth
LOWEST_D = 1e-5  # mm²/s: where 1 / D begins, if the bounds begin at 0
MISFIT = 10.0  # median residual in noise SDs from which the prior is said to exclude the data


@dataclass(frozen=True)
class Options:
    """Options of bayes."""

    prior: str = field(
        default="shrinkage", metadata={"help": f"{', '.join(PRIORS)}, or a voxel store (.h5) with truth"}
    )
    likelihood: str = field(default="gaussian", metadata={"help": "gaussian or rician"})
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
        default=None, metadata={"help": "shared draws (none: 4096, or the store's truth up to 65536)"}
    )
    points: int = field(default=2048, metadata={"help": "local draws per round"})
    seed: int = field(default=0, metadata={"help": "shifts the low-discrepancy points"})

    def __post_init__(self) -> None:
        bounds = Bounds(self.f_bounds, self.d_bounds, self.dstar_bounds)
        _expect(
            self.prior in PRIORS or self.prior.endswith(".h5"),
            "prior",
            self.prior,
            f"{', '.join(PRIORS)} or a voxel store (.h5)",
        )
        _expect(self.likelihood in ("gaussian", "rician"), "likelihood", self.likelihood, "gaussian or rician")
        if isinstance(self.sigma, str):
            _expect(self.sigma in ("estimate", "marginal"), "sigma", self.sigma, "a number > 0, estimate or marginal")
            _expect(self.sigma != "marginal" or self.likelihood == "gaussian", "sigma", self.sigma,
                    "a number or estimate with the rician likelihood")  # fmt: skip
        else:
            _expect(0 < self.sigma < np.inf, "sigma", self.sigma, "a number > 0, estimate or marginal")
        _expect(self.s0 is None or 0 < self.s0 < np.inf, "s0", self.s0, "a number > 0 or none")
        for name, top in (("f_normal", 1.0), ("d_normal", bounds.Dstar[1]), ("dstar_normal", np.inf)):
            median, spread = getattr(self, name)
            _expect(
                0 < median < top and 0 < spread < np.inf,
                name,
                f"{median:g},{spread:g}",
                f"a median in 0..{top:g} and an SD > 0",
            )
        _expect(1 <= self.components <= 16, "components", self.components, "1 to 16")
        _expect(self.draws is None or 256 <= self.draws <= 2**20, "draws", self.draws, "256 to 1048576")
        _expect(256 <= self.points <= 2**16, "points", self.points, "256 to 65536")
        _expect(self.seed >= 0, "seed", self.seed, "a number >= 0")

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
    model, prior, draws : noise model; prior with a density; its draws (all there is of an empirical prior)
    settings : when the sampling stops
    """

    def __init__(
        self, model: Model, prior: Prior, draws: Draws, settings: Settings, options: Options, launch: Launch
    ) -> None:
        super().__init__(launch)
        self.model, self.prior, self.draws, self.settings = model, prior, draws, settings
        self.proposal = make_proposal(options.points, options.seed + 1)

    @cached_property
    def _on_gpu(self) -> Any:
        from ivimsc.methods.bayes.on_gpu import Posterior  # CUDA is loaded only where it runs

        return Posterior(self.launch, self.model, self.prior, self.draws, self.proposal, self.settings)

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; `s0` is not used."""
        if self.launch.on_gpu:
            result = empty_beside(self.launch, signals, (FIELDS, len(signals)), np.float32)
            outcome = empty_beside(self.launch, signals, (len(signals),), np.uint8)
            self._on_gpu.run(signals, first, result, outcome)
        else:
            result, outcome, _ = self._run(signals, np.empty((len(signals), 0), np.float32), first)
        S0, f, D, Dstar, rmse, fstd, dstd, dstarstd, ess, fmap, dmap, dstarmap = (result[k] for k in range(FIELDS))
        return Estimates(
            S0, f, D, Dstar, rmse, outcome, fstd, dstd, dstarstd, ess=ess, fmap=fmap, dmap=dmap, dstarmap=dstarmap
        )

    def below(self, signals: NDArray[np.float32], f: NDArray, D: NDArray, Dstar: NDArray) -> NDArray[np.float32]:
        """(voxel, 3) posterior probability that f, D and D* [mm²/s] are below the values given, NaN for bad signals.

        Uniform over 0..1 if the values are the truth and the prior is the one that they come from. On the CPU always.
        """
        targets = np.stack([f, np.multiply(D, 1e3), np.multiply(Dstar, 1e3)], axis=1).astype(np.float32)
        return self._run(signals, targets)[2]

    def _run(
        self, signals: NDArray[np.float32], targets: NDArray[np.float32], first: int = 0
    ) -> tuple[NDArray, NDArray, NDArray]:
        n = len(signals)
        scale = np.empty(n, np.float32)
        scales(signals, scale)
        result, outcome = np.empty((FIELDS, n), np.float32), np.empty(n, np.uint8)
        below = np.full((n, 3), np.nan, np.float32)
        run_blocks(self.launch, posterior_kernel, n, first, signals, scale, self.model, self.draws, self.proposal, self.prior,
                   self.settings, targets, result, outcome, below, block=256)  # fmt: skip
        return result, outcome, below


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check the protocol; find the prior and the noise level, from the data where asked for.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : holds the truth (f, d, dstar) of the voxel store that the option `prior` names, where it names one
    """
    truth = None if inputs is None else inputs.files.get("prior")
    require_distinct(voxels.bvalues, 3, "bayes")
    theta = None if options.truth_from is None else _empirical(truth, options)
    sample, unit = _sample(voxels)
    prior, sigma, notes = _learn(sample, unit, theta, np.asarray(voxels.bvalues), options, launch)
    model = Model((voxels.bvalues * 1e-3).astype(np.float32), np.float32(options.s0 or 0), np.float32(sigma),
                  options.likelihood == "rician")  # fmt: skip
    if theta is None:
        draws = prior_draws(model, prior, options.draws or DRAWS, options.seed)
    else:
        draws = empirical_draws(model, theta, options.seed)
    settings = Settings(TARGET, LEAST, ROUNDS if theta is None else 0, TEMPERED, CLIMB, options.seed)
    made = Fitter(model, prior, draws, settings, options, launch)
    made.notes = [*notes, "S0: integrated out, flat prior" if options.s0 is None else f"S0: known, {options.s0:g}"]
    if options.prior == "shrinkage" and options.s0 is None and voxels.bvalues[0] > B0_LIMIT:
        made.notes.append(
            f"warning: without b = 0 (the smallest is {voxels.bvalues[0]:g} s/mm²) the data hardly tell S0, f and D* apart, and a prior learned from them may be far off: --set s0=…, or another prior"
        )
    if sigma > 0 and not isinstance(options.sigma, str):
        _check_reach(made, sample, options)
    return made


def _empirical(truth: Mapping[str, NDArray] | None, options: Options) -> NDArray[np.float64]:
    """Draws (3, n) of f, D, D* [µm²/ms] from a store's truth, the voxels without a number left out."""
    if truth is None:
        raise InputError(f"{options.prior}: found no truth, expected a voxel store with the true f, D and D*")
    theta = np.stack(
        [np.asarray(truth[key], np.float64) * unit for key, unit in (("f", 1), ("d", 1e3), ("dstar", 1e3))]
    )
    theta = theta[:, np.isfinite(theta).all(0)]
    if theta.shape[1] < 256:
        raise InputError(f"{options.prior}: found {theta.shape[1]} voxels with truth, expected at least 256")
    n = min(options.draws or EMPIRICAL, theta.shape[1])
    order = np.random.Generator(np.random.Philox(options.seed)).permutation(theta.shape[1])[:n]
    return np.ascontiguousarray(theta[:, order])


def _sample(voxels: VoxelSource) -> tuple[NDArray[np.float32], float]:
    """Good signals from up to SUBSET voxels, spread over the whole in runs of 16, and their median largest value."""
    n, run = len(voxels), 16
    if n <= SUBSET:
        signals = voxels.read(0, n)
    else:
        starts = np.linspace(0, n - run, SUBSET // run).astype(int)
        signals = np.concatenate([voxels.read(int(start), int(start) + run) for start in starts])
    scale = np.empty(len(signals), np.float32)
    scales(signals, scale)
    return np.ascontiguousarray(signals[scale > 0]), float(np.median(scale[scale > 0])) if scale.any() else 1.0


def _bounds(options: Options) -> NDArray[np.float64]:
    """Bounds (3, 2) of f, D, D* [µm²/ms]."""
    return np.array([options.f_bounds, np.multiply(options.d_bounds, 1e3), np.multiply(options.dstar_bounds, 1e3)])


def _box(options: Options) -> tuple[Prior, str]:
    """The uniform or reciprocal prior, and what it is, in words."""
    bounds = _bounds(options)
    reciprocal = options.prior != "uniform"
    if reciprocal:
        bounds[1, 0] = max(bounds[1, 0], LOWEST_D * 1e3)
    (f0, f1), (d0, d1), (p0, p1) = bounds
    shape = "uniform in f, 1/x in D and D*" if reciprocal else "uniform"
    return box_prior(
        bounds, (False, reciprocal, reciprocal)
    ), f"{shape}, f {f0:g}..{f1:g}, D {d0:g}..{d1:g}, D* {p0:g}..{p1:g} µm²/ms"


def _lognormal(options: Options) -> tuple[Prior, str]:
    (f, sf), (d, sd), (p, sp) = (
        options.f_normal,
        np.multiply(options.d_normal, (1e3, 1)),
        np.multiply(options.dstar_normal, (1e3, 1)),
    )
    mean = np.array([[np.log(f / (1 - f)), np.log(d), np.log(p)]])
    prior = gaussian_prior(np.ones(1), mean, np.diag(np.square([sf, sd, sp]))[None], _bounds(options))
    return (
        prior,
        f"log-normal, medians f {f:g}, D {d:g}, D* {p:g} µm²/ms, SD of logit f {sf:g}, ln D {sd:g}, ln D* {sp:g}",
    )


def _learn(sample: NDArray[np.float32], unit: float, theta: NDArray | None, bvalues: NDArray[np.float64], options: Options,
           launch: Launch) -> tuple[Prior, float, list[str]]:  # fmt: skip
    """The prior, the noise level (0: integrated out per voxel), and what the user is told of them."""
    fixed = not isinstance(options.sigma, str)
    sigma = options.sigma / unit if fixed else 0.0
    prior, words = _lognormal(options) if options.prior == "lognormal" else _box(options)
    if len(sample) == 0:
        return prior, sigma, ["no voxel can be fitted"]
    b = (bvalues * 1e-3).astype(np.float32)
    estimate = options.sigma == "estimate"
    population = Population(sample / np.float32(unit), b, (options.s0 or 0.0) / unit, sigma, estimate)
    if estimate:
        population = population._replace(
            sigma=_first_sigma(population, prior if theta is None else _box(options)[0], options, launch)
        )
        sigma = population.sigma
    if options.prior == "shrinkage":
        prior, sigma, steps = estimate_prior(
            population, prior, _bounds(options), options.components, options.seed, launch
        )
        words = f"{_describe(prior)}; from {len(sample)} voxels in {steps} EM steps"
    elif estimate:
        draws = parameters(prior, draw(prior, 4096, options.seed)) if theta is None else theta[:, :4096]
        sigma = estimate_noise(population, draws, launch)
    if theta is not None:
        words = f"the truth of {options.prior}, {theta.shape[1]} draws"
    noise = f"{sigma * unit:.4g} ({'estimated' if estimate else 'given'})" if sigma > 0 else "integrated out per voxel"
    return prior, sigma * unit, [f"prior: {words}", f"noise SD: {noise}; {options.likelihood} likelihood"]


def _describe(prior: Prior) -> str:
    """A mixture in words: per component the share, and median and relative spread of f, D, D*."""
    parts = []
    whiten = prior.whiten.astype(np.float64)
    for c, mean in enumerate(prior.means.astype(np.float64)):
        f, d, p = 1 / (1 + np.exp(-mean[0])), *np.exp(mean[1:])
        sf, sd, sp = np.sqrt(np.diag(np.linalg.inv(whiten[c].T @ whiten[c])))
        parts.append(
            f"f {f:.3g} (SD {sf * f * (1 - f):.2g}), D {d:.3g} (SD {sd * d:.2g}), D* {p:.3g} (SD {sp * p:.2g}) µm²/ms"
        )
    return "shrinkage, " + "; ".join(parts)


def _first_sigma(population: Population, prior: Prior, options: Options, launch: Launch) -> float:
    """Noise from the residuals at the best points found with σ integrated out: a start, and at high SNR the answer."""
    model = Model(population.b, np.float32(population.s0), np.float32(0), False)
    draws = prior_draws(model, prior, 4096, options.seed)
    settings = Settings(TARGET, LEAST, 3, TEMPERED, CLIMB, options.seed)
    made = Fitter(model, prior, draws, settings, options, launch)
    best = made._run(population.signals, np.empty((len(population.signals), 0), np.float32))[0]
    theta = best[9:12] * np.float32([[1], [1e3], [1e3]])
    unit = np.empty((len(population.b), theta.shape[1]), np.float32)
    unit_signals(population.b, theta, unit)
    y = population.signals.T
    S0 = population.s0 if population.s0 > 0 else (y * unit).sum(0) / (unit * unit).sum(0)
    freedom = max(population.freedom - 3, 1)
    middle = freedom * (1 - 2 / (9 * freedom)) ** 3  # median of chi-square (Wilson and Hilferty); the mean would follow
    return max(float(np.sqrt(np.median(((y - S0 * unit) ** 2).sum(0)) / middle)), 1e-5)  # the voxels whose fit is poor


def _check_reach(made: Fitter, sample: NDArray[np.float32], options: Options) -> None:
    """Refuse a prior that cannot come near the data: with a given σ its residuals are many σ."""
    estimates = made.fit(sample[:256])
    if len(sample) and (misfit := float(np.median(estimates.rmse)) / options.sigma) > MISFIT:
        raise InputError(f"option prior of bayes: found residuals of {misfit:.0f} noise SDs (median) under prior {options.prior} "
                         f"and sigma {options.sigma:g}, expected at most {MISFIT:g}: this prior excludes the data")  # fmt: skip
