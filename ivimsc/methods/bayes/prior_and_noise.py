"""What a sample of the voxels tells: the noise level, and with the shrinkage prior the prior itself.

The noise level is the one that all methods share (`Inputs.noise_level`). Where it is not to be had (fewer than five
b-values or 30 voxels), the noise SD is integrated out for each voxel. A caller without a noise level at hand gets one from
the residuals of each voxel's best point, made better by expectation and maximisation under the prior.

The default prior is the population itself (`population`). Where the data cannot tell a population, because the voxels are
few, or the protocol leaves f, D or D* open, the prior is fixed and broad, `BROAD_PRIOR`, and the notes say why.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.methods import Inputs, VoxelSource
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.draws import make_proposal, prior_draws
from ivimsc.methods.bayes.fixed_priors import BROAD_PRIOR, BROAD_WORDS, bounds_of, box, lognormal, why_broad
from ivimsc.methods.bayes.likelihood import NoiseModel, root_of, unit_signals
from ivimsc.methods.bayes.mixture import Mixture
from ivimsc.methods.bayes.population import learn_population, mixture_prior, variance_left
from ivimsc.methods.bayes.posterior import posteriors
from ivimsc.methods.bayes.priors import Prior, draw, parameters
from ivimsc.methods.bayes.problem import Problem, sampling
from ivimsc.methods.bayes.shrinkage import ITERATIONS, Sample, estimate_noise, estimate_prior
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.numerics.scaling import scales
from ivimsc.voxels import sample_signals

if TYPE_CHECKING:
    from ivimsc.methods.bayes.method import Options

__all__ = ["Learnt", "learn", "points_of", "read_sample"]

POINTS = 1024  # local draws per round
DRAWS, ROUNDS = 4096, 3  # for the first estimate of the noise level: shared draws, and most local rounds
FEWEST_VOXELS, FEWEST_B = 30, 5  # that tell a noise level
NEAR_NOISE = 3.0  # noise SDs: a signal below them is of the noise floor
UNTOLD = (
    0.6  # part of the broad prior's variance of ln D that the data leave, above which they do not tell a population
)
POPULATION = ("population", "spatial")  # priors that begin with the population
LEAST_SIGMA = 1e-5  # of the largest signal: below it float32 tells no noise


def points_of(options: "Options", rician: bool) -> int:
    """Local draws per round; Rician noise has S0 drawn too, and wants more of them."""
    return options.points or POINTS * (2 if rician else 1)


class Learnt(NamedTuple):
    """The prior; the noise SD in units of the signal (0: integrated out for each voxel); Rician noise; what the user is told."""

    prior: Prior
    sigma: float
    rician: bool
    notes: list[str]


def read_sample(voxels: VoxelSource) -> tuple[NDArray[np.float32], float]:
    """Good signals (voxel, b) from a sample of the voxels, and their median largest value."""
    signals = sample_signals(voxels)
    scale = np.empty(len(signals), np.float32)
    scales(signals, scale)
    return np.ascontiguousarray(signals[scale > 0]), float(np.median(scale[scale > 0])) if scale.any() else 1.0


def learn(signals: NDArray[np.float32], unit: float, theta: NDArray | None, bvalues: NDArray[np.float64],
          options: "Options", launch: Launch, inputs: Inputs | None = None,
          weights: NDArray[np.float64] | None = None) -> Learnt:  # fmt: skip
    """The prior and the noise level, from the data where the options ask for that.

    Parameters
    ----------
    signals, unit : (voxel, b) and its typical largest value, as `read_sample` gives them
    theta : (3, n) draws of an empirical prior: f, D, D* [µm²/ms]
    bvalues : (b,) in s/mm²
    options : of the method
    launch : where it runs
    inputs : tells the noise level
    weights : (b,) images that each signal is the mean of; None: 1 each
    """
    weights = np.ones(len(bvalues)) if weights is None else np.asarray(weights, np.float64)
    of_signals = float(np.sqrt(np.mean(1 / weights)))  # the noise of the signals over that of an image
    prior, words = lognormal(options) if options.prior == "lognormal" else box(options)
    if theta is not None:
        words = f"the truth of {options.prior}, {theta.shape[1]} draws"
    if options.prior in POPULATION:
        prior, words = mixture_prior(BROAD_PRIOR, bounds_of(options)), BROAD_WORDS
    given = 0.0 if isinstance(options.sigma, str) else float(options.sigma) * of_signals
    if len(signals) == 0:
        return Learnt(prior, given, options.likelihood == "rician" and given > 0, ["no voxel can be fitted"])
    sample = Sample(signals / np.float32(unit), (bvalues * 1e-3).astype(np.float32), root_of(weights), (options.s0 or 0.0) / unit,
                    given / unit, False)  # fmt: skip
    told = True
    if options.sigma == "estimate":
        sample, told = _with_noise(sample, unit, prior, theta, options, launch, inputs)
    rician, why = _rician(sample, options)
    if options.prior in POPULATION:
        prior, words = _population(sample, rician, bvalues, options, launch)
    elif options.prior == "shrinkage":
        prior, sigma, steps = estimate_prior(
            sample, prior, bounds_of(options), options.components, options.seed, launch
        )
        ended = "" if steps < ITERATIONS else ", which had not converged"
        words = f"{_describe(prior)}; from {len(signals)} voxels in {steps} EM steps{ended}"
        sample = sample._replace(sigma=sigma)
    sigma = sample.sigma * unit
    notes = [
        f"prior: {words}",
        f"noise SD: {_noise_words(sigma / of_signals, unit, options)}; {'rician' if rician else 'gaussian'} likelihood{why}",
    ]
    if words.startswith("fixed") and options.prior in POPULATION:
        notes[0] = f"warning: prior: {words}"
    if not told:
        notes.append(
            f"warning: noise SD: from {len(signals)} voxel(s) and {len(bvalues)} b-values it cannot be told (30 and 5 are enough); give sigma where it is known"
        )
    return Learnt(prior, sigma, rician, notes)


def _noise_words(sigma: float, unit: float, options: "Options") -> str:
    if sigma == 0:
        return "integrated out for each voxel"
    how = "estimated" if isinstance(options.sigma, str) else "given"
    return f"{sigma:.4g} ({how}), SNR {unit / sigma:.3g} (median of the largest signals over it)"


def _with_noise(sample: Sample, unit: float, prior: Prior, theta: NDArray | None, options: "Options", launch: Launch,
                inputs: Inputs | None) -> tuple[Sample, bool]:  # fmt: skip
    """The sample with its noise level, and whether the data tell one; where they do not it is integrated out."""
    few = len(sample.signals) < FEWEST_VOXELS or len(sample.b) < FEWEST_B
    if few and options.likelihood != "rician":
        return sample, False
    try:
        if inputs is None or few:
            raise InputError("noise level: found none, expected one")
        return sample._replace(sigma=max(inputs.noise_level() / unit, LEAST_SIGMA)), True
    except InputError:
        pass
    start = box(options)[0] if theta is not None else prior
    sample = sample._replace(sigma=_first_sigma(sample, start, options, launch), estimate_sigma=True)
    if options.prior != "shrinkage":
        draws = parameters(prior, draw(prior, DRAWS, options.seed)) if theta is None else theta[:, :DRAWS]
        sample = sample._replace(sigma=estimate_noise(sample, draws, launch), estimate_sigma=False)
    return sample, True


def _rician(sample: Sample, options: "Options") -> tuple[bool, str]:
    """Whether the likelihood of the fit is Rician, and why, in words, where the data chose it."""
    if options.likelihood != "auto":
        return options.likelihood == "rician", ""
    low = float(np.median(sample.signals[:, -1]))
    if sample.sigma == 0 or low >= NEAR_NOISE * sample.sigma or np.any(sample.signals < 0):
        return False, ""
    return (
        True,
        f" (the median signal at the largest b-value is {low / sample.sigma:.2g} noise SDs, below {NEAR_NOISE:g})",
    )


def _population(sample: Sample, rician: bool, bvalues: NDArray[np.float64], options: "Options",
                launch: Launch) -> tuple[Prior, str]:  # fmt: skip
    """The population of the voxels, or the broad prior where the data do not tell it; and what it is, in words.

    Magnitudes are never negative, and then even a few voxels near the noise, such as vessels, want the Rician likelihood
    here: hundreds of them together show its bias.
    """
    bounds = bounds_of(options)
    why = why_broad(len(sample.signals), bvalues, sample.s0 > 0)
    magnitude = rician or (options.likelihood == "auto" and sample.sigma > 0 and not np.any(sample.signals < 0))
    noise = NoiseModel(sample.b, sample.root, np.float32(sample.s0), np.float32(sample.sigma), magnitude)
    if why is None:
        left = variance_left(sample.signals[:256], noise, BROAD_PRIOR, bounds, launch)
        if left > UNTOLD:
            why = f"the data leave {100 * left:.0f} % of its variance of ln D, and so do not tell a population"
    if why is not None:
        return mixture_prior(BROAD_PRIOR, bounds), f"{BROAD_WORDS}, because {why}"
    found = learn_population(sample.signals, noise, BROAD_PRIOR, bounds, options.seed, launch)
    ended = "" if found.converged else ", which had not converged"
    prior = mixture_prior(found.mixture, bounds)
    main = _describe(mixture_prior(_largest(found.mixture), bounds)).removeprefix("shrinkage, ")
    return prior, (f"the population of {len(sample.signals)} voxels, {len(prior.constants)} Gaussians in {found.steps} steps"
                   f"{ended}; the largest: {main}")  # fmt: skip


def _largest(mixture: Mixture) -> Mixture:
    """The components of the three largest weights."""
    order = np.argsort(-mixture.weights)[:3]
    return Mixture(*(part[order] for part in mixture))


def _first_sigma(sample: Sample, prior: Prior, options: "Options", launch: Launch) -> float:
    """Noise from the residuals at the best points found with σ integrated out: a start, and at high SNR the answer."""
    noise = NoiseModel(sample.b, sample.root, np.float32(sample.s0), np.float32(0), False)
    draws, proposal = (
        prior_draws(noise, prior, DRAWS, options.seed),
        make_proposal(points_of(options, False), options.seed + 1),
    )
    problem = Problem(noise, prior, draws, proposal, sampling(ROUNDS, options.seed))
    best = posteriors(problem, sample.signals, launch).values
    theta = best[[rows.F_MAX, rows.D_MAX, rows.DSTAR_MAX]] * np.float32([[1], [1e3], [1e3]])
    unit = np.empty((len(sample.b), theta.shape[1]), np.float32)
    unit_signals(sample.b, theta, unit)
    unit, y = unit * sample.root[:, None], sample.signals.T * sample.root[:, None]
    S0 = sample.s0 if sample.s0 > 0 else (y * unit).sum(0) / (unit * unit).sum(0)
    squares = ((y - S0 * unit) ** 2).sum(0)
    return max(sigma_of_squares(squares, max(sample.freedom - 3, 1)), LEAST_SIGMA)


def _describe(prior: Prior) -> str:
    """A mixture in words: for each component the median of f, D and D*, and their SD about it."""
    parts = []
    whiten = prior.whiten.astype(np.float64)
    for c, mean in enumerate(prior.means.astype(np.float64)):
        f, d, p = 1 / (1 + np.exp(-mean[0])), *np.exp(mean[1:])
        sf, sd, sp = np.sqrt(np.diag(np.linalg.inv(whiten[c].T @ whiten[c])))
        parts.append(
            f"f {f:.3g} (SD {sf * f * (1 - f):.2g}), D {d:.3g} (SD {sd * d:.2g}), D* {p:.3g} (SD {sp * p:.2g}) µm²/ms"
        )
    return "shrinkage, " + "; ".join(parts)
