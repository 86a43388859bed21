"""Expectation and maximisation: a known population is found, and the steps go on until nothing moves."""

import numpy as np
import pytest

from ivimsc.device.launch import Launch
from ivimsc.methods.bayes import shrinkage
from ivimsc.methods.bayes.priors import box_prior, draw, parameters
from ivimsc.methods.bayes.shrinkage import Sample, estimate_noise, estimate_prior
from tests.conftest import TEN, equation1

LAUNCH = Launch("cpu", 2)
BOUNDS = np.array([[0, 1], [0.01, 5], [5, 200.0]])
BROAD = box_prior(BOUNDS, (False, True, True))
MEAN, SPREAD = np.array([np.log(0.3 / 0.7), np.log(1.5), np.log(40)]), np.array([0.4, 0.2, 0.3])


def sample(snr, n=2000, s0=1.0, sigma=None, estimate=False):
    random = np.random.default_rng(0)
    x = MEAN + SPREAD * random.normal(size=(n, 3))
    signals = equation1(np.ones(n), 1 / (1 + np.exp(-x[:, 0])), np.exp(x[:, 1]) * 1e-3, np.exp(x[:, 2]) * 1e-3, TEN)
    signals = (signals + random.normal(0, 1 / snr, signals.shape)).astype(np.float32)
    return Sample(
        signals, (TEN * 1e-3).astype(np.float32), np.ones(len(TEN), np.float32), s0, sigma or 1 / snr, estimate
    )


def spread_of(prior):
    whiten = prior.whiten[0].astype(float)
    return np.sqrt(np.diag(np.linalg.inv(whiten.T @ whiten)))


@pytest.mark.parametrize(("s0", "estimate"), [(1.0, False), (0.0, True)])
def test_population_and_noise_are_found(s0, estimate):
    """2,000 voxels at SNR 50, the first guess of the noise level 40 % off."""
    prior, sigma, steps = estimate_prior(
        sample(50, s0=s0, sigma=0.028 if estimate else None, estimate=estimate), BROAD, BOUNDS, 1, 0, LAUNCH
    )
    # standard errors of a mean and an SD from 2,000 voxels that noise makes count as some 700: 0.04 and 0.03 of an SD
    assert np.all(np.abs(prior.means[0] - MEAN) < 0.2 * SPREAD)
    np.testing.assert_allclose(spread_of(prior), SPREAD, rtol=0.15)
    assert sigma == pytest.approx(0.02, rel=0.03)
    assert steps < shrinkage.ITERATIONS


def test_steps_go_on_until_nothing_moves():
    """At SNR 15 EM is slow: the spread of D* shrinks to its value over some hundred steps."""
    voxels = sample(15)
    prior, _, steps = estimate_prior(voxels, BROAD, BOUNDS, 1, 0, LAUNCH)
    assert 20 < steps < shrinkage.ITERATIONS
    np.testing.assert_allclose(spread_of(prior), SPREAD, rtol=0.25)
    wide = shrinkage._spread(prior)  # one step more, from draws of its own
    x = draw(wide, 3072, 1)
    log_q = shrinkage._log_sum(shrinkage._log_density(wide, x))
    likelihoods = shrinkage._Likelihoods(voxels, parameters(wide, x), LAUNCH)
    again, _, _ = shrinkage._step(likelihoods, prior, x, log_q, voxels.sigma, 1, BOUNDS)
    np.testing.assert_allclose(again.means, prior.means, atol=0.005)
    np.testing.assert_allclose(spread_of(again), spread_of(prior), rtol=0.01)


def test_noise_under_a_given_prior():
    random = np.random.default_rng(3)
    x = MEAN + SPREAD * random.normal(size=(3000, 3))
    theta = np.stack([1 / (1 + np.exp(-x[:, 0])), np.exp(x[:, 1]), np.exp(x[:, 2])])
    for s0 in (1.0, 0.0):
        found = estimate_noise(sample(20, s0=s0, sigma=0.08, estimate=True), theta, LAUNCH)
        assert found == pytest.approx(0.05, rel=0.03)  # 20,000 residuals: 0.5 %, and draws that are not dense
    assert estimate_noise(sample(20, sigma=0.08), theta, LAUNCH) == 0.08  # given, not to be estimated
