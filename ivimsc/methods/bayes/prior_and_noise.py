"""What a sample of the voxels tells: the noise level, and with the shrinkage prior the prior itself.

The noise level is first estimated from the residuals of each voxel's best point, the noise SD integrated out. With it,
expectation and maximisation over the sample (`shrinkage`) find the prior and a better noise level together; where the
prior is given they find the noise level alone.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.methods import VoxelSource
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.draws import make_proposal, prior_draws
from ivimsc.methods.bayes.likelihood import NoiseModel, unit_signals
from ivimsc.methods.bayes.posterior import posteriors
from ivimsc.methods.bayes.priors import Prior, box_prior, draw, gaussian_prior, parameters
from ivimsc.methods.bayes.problem import Problem, sampling
from ivimsc.methods.bayes.shrinkage import Sample, estimate_noise, estimate_prior
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.numerics.scaling import scales
from ivimsc.voxels import sample_signals

if TYPE_CHECKING:
    from ivimsc.methods.bayes.method import Options

__all__ = ["Learnt", "learn", "read_sample"]

DRAWS, ROUNDS = 4096, 3  # for the first estimate of the noise level: shared draws, and most local rounds
LOWEST_D = 1e-5  # mm²/s: where 1 / D begins, if the bounds begin at 0
LEAST_SIGMA = 1e-5  # of the largest signal: below it float32 tells no noise


class Learnt(NamedTuple):
    """The prior, the noise SD in units of the signal (0: integrated out for each voxel), and what the user is told."""

    prior: Prior
    sigma: float
    notes: list[str]


def read_sample(voxels: VoxelSource) -> tuple[NDArray[np.float32], float]:
    """Good signals (voxel, b) from a sample of the voxels, and their median largest value."""
    signals = sample_signals(voxels)
    scale = np.empty(len(signals), np.float32)
    scales(signals, scale)
    return np.ascontiguousarray(signals[scale > 0]), float(np.median(scale[scale > 0])) if scale.any() else 1.0


def learn(signals: NDArray[np.float32], unit: float, theta: NDArray | None, bvalues: NDArray[np.float64],
          options: "Options", launch: Launch) -> Learnt:  # fmt: skip
    """The prior and the noise level, from the data where the options ask for that.

    Parameters
    ----------
    signals, unit : (voxel, b) and its typical largest value, as `read_sample` gives them
    theta : (3, n) draws of an empirical prior: f, D, D* [µm²/ms]
    bvalues : (b,) in s/mm²
    options : of the method
    launch : where it runs
    """
    estimate = options.sigma == "estimate"
    sigma = 0.0 if isinstance(options.sigma, str) else options.sigma / unit
    prior, words = _lognormal(options) if options.prior == "lognormal" else _box(options)
    if len(signals) == 0:
        return Learnt(prior, sigma, ["no voxel can be fitted"])
    b = (bvalues * 1e-3).astype(np.float32)
    sample = Sample(signals / np.float32(unit), b, (options.s0 or 0.0) / unit, sigma, estimate)
    if estimate:
        sigma = _first_sigma(sample, prior if theta is None else _box(options)[0], options, launch)
        sample = sample._replace(sigma=sigma)
    if options.prior == "shrinkage":
        prior, sigma, steps = estimate_prior(sample, prior, _bounds(options), options.components, options.seed, launch)
        words = f"{_describe(prior)}; from {len(signals)} voxels in {steps} EM steps"
    elif estimate:
        draws = parameters(prior, draw(prior, DRAWS, options.seed)) if theta is None else theta[:, :DRAWS]
        sigma = estimate_noise(sample, draws, launch)
    if theta is not None:
        words = f"the truth of {options.prior}, {theta.shape[1]} draws"
    noise = f"{sigma * unit:.4g} ({'estimated' if estimate else 'given'})" if sigma > 0 else "integrated out per voxel"
    return Learnt(prior, sigma * unit, [f"prior: {words}", f"noise SD: {noise}; {options.likelihood} likelihood"])


def _first_sigma(sample: Sample, prior: Prior, options: "Options", launch: Launch) -> float:
    """Noise from the residuals at the best points found with σ integrated out: a start, and at high SNR the answer."""
    noise = NoiseModel(sample.b, np.float32(sample.s0), np.float32(0), False)
    draws, proposal = prior_draws(noise, prior, DRAWS, options.seed), make_proposal(options.points, options.seed + 1)
    problem = Problem(noise, prior, draws, proposal, sampling(ROUNDS, options.seed))
    best = posteriors(problem, sample.signals, launch).values
    theta = best[[rows.F_MAX, rows.D_MAX, rows.DSTAR_MAX]] * np.float32([[1], [1e3], [1e3]])
    unit = np.empty((len(sample.b), theta.shape[1]), np.float32)
    unit_signals(sample.b, theta, unit)
    y = sample.signals.T
    S0 = sample.s0 if sample.s0 > 0 else (y * unit).sum(0) / (unit * unit).sum(0)
    squares = ((y - S0 * unit) ** 2).sum(0)
    return max(sigma_of_squares(squares, max(sample.freedom - 3, 1)), LEAST_SIGMA)


def _bounds(options: "Options") -> NDArray[np.float64]:
    """Bounds (3, 2) of f, D, D* [µm²/ms]."""
    return np.array([options.f_bounds, np.multiply(options.d_bounds, 1e3), np.multiply(options.dstar_bounds, 1e3)])


def _box(options: "Options") -> tuple[Prior, str]:
    """The uniform or reciprocal prior, and what it is, in words."""
    bounds = _bounds(options)
    reciprocal = options.prior != "uniform"
    if reciprocal:
        bounds[1, 0] = max(bounds[1, 0], LOWEST_D * 1e3)
    (f0, f1), (d0, d1), (p0, p1) = bounds
    shape = "uniform in f, 1/x in D and D*" if reciprocal else "uniform"
    prior = box_prior(bounds, (False, reciprocal, reciprocal))
    return prior, f"{shape}, f {f0:g}..{f1:g}, D {d0:g}..{d1:g}, D* {p0:g}..{p1:g} µm²/ms"


def _lognormal(options: "Options") -> tuple[Prior, str]:
    """The log-normal prior of the options, and what it is, in words."""
    (f, sf), (d, sd), (p, sp) = options.f_normal, options.d_normal, options.dstar_normal
    d, p = d * 1e3, p * 1e3
    mean = np.array([[np.log(f / (1 - f)), np.log(d), np.log(p)]])
    prior = gaussian_prior(np.ones(1), mean, np.diag(np.square([sf, sd, sp]))[None], _bounds(options))
    medians, spreads = f"f {f:g}, D {d:g}, D* {p:g} µm²/ms", f"logit f {sf:g}, ln D {sd:g}, ln D* {sp:g}"
    return prior, f"log-normal, medians {medians}, SD of {spreads}"


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
