"""bayes against long-run Markov chains of an independent library (emcee), on 20 voxels."""

import numpy as np
import pytest

from ivimsc.device.launch import choose_device
from ivimsc.methods.bayes import method as bayes
from tests.conftest import TEN, as_voxels, equation1

emcee = pytest.importorskip("emcee", reason="emcee (extra [dev]) is not installed")

SIGMA, VOXELS, STEPS, BURN = 1 / 30, 20, 1500, 300
MEDIANS, SPREADS = np.array([0.3, 1.6e-3, 45e-3]), np.array([0.5, 0.2, 0.35])


def to_parameters(x):
    """(…, 3) logit f, ln D, ln D* -> f, D, D*."""
    return 1 / (1 + np.exp(-x[..., 0])), np.exp(x[..., 1]), np.exp(x[..., 2])


def test_mean_and_sd_are_those_of_the_chains():
    random = np.random.default_rng(6)
    centre = np.array([np.log(MEDIANS[0] / (1 - MEDIANS[0])), *np.log(MEDIANS[1:])])
    truth = centre + SPREADS * random.normal(size=(VOXELS, 3))
    signals = (equation1(np.ones(VOXELS), *to_parameters(truth), TEN) + random.normal(0, SIGMA, (VOXELS, 10))).astype(
        np.float32
    )
    pairs = {f"{name}_normal": (m, s) for name, m, s in zip(("f", "d", "dstar"), MEDIANS, SPREADS, strict=True)}
    options = bayes.Options(prior="lognormal", s0=1.0, sigma=SIGMA, **pairs)
    e = bayes.prepare(as_voxels(signals, TEN), options, choose_device()).fit(signals)
    for v, y in enumerate(signals.astype(np.float64)):

        def log_posterior(x, y=y):
            model = equation1(np.ones(len(x)), *to_parameters(x), TEN)
            return -0.5 * np.sum((y - model) ** 2, axis=1) / SIGMA**2 - 0.5 * np.sum(
                ((x - centre) / SPREADS) ** 2, axis=1
            )

        sampler = emcee.EnsembleSampler(32, 3, log_posterior, vectorize=True)
        sampler._random.seed(v)
        sampler.run_mcmc(centre + 0.1 * random.normal(size=(32, 3)), STEPS)
        chain = np.stack(to_parameters(sampler.get_chain(discard=BURN, flat=True)))
        # autocorrelation of about 40 steps leaves some 1,000 independent samples of 38,400: 3 % of an SD, 2 % in the SD
        mean, sd = chain.mean(axis=1), chain.std(axis=1)
        found = np.array([[e.f[v], e.D[v], e.Dstar[v]], [e.fstd[v], e.dstd[v], e.dstarstd[v]]])
        assert np.all(np.abs(found[0] - mean) < 0.15 * sd), (v, found, mean, sd)  # five standard errors
        assert np.all(np.abs(found[1] / sd - 1) < 0.15), (v, found, sd)
