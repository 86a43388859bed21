"""Training voxels of a population: their noise against scipy's Rice distribution and against magnitudes averaged one by one."""

import numpy as np
import pytest
from scipy.stats import kstest, rice

from ivimsc.adapting.population import Population
from tests.conftest import TEN, equation1


def population(theta, snr=20.0, weights=None, rician=True):
    theta = np.atleast_2d(np.asarray(theta, float))
    weights = np.ones(len(TEN)) if weights is None else np.asarray(weights, float)
    return Population(TEN, weights, theta, np.ones(len(theta), bool), np.full(32, snr), rician, {})


def test_signals_are_those_of_equation_1_with_rician_noise():
    drawn = population([[0.3, 1.2, 40.0]], 4.0).draw(20_000, np.random.default_rng(0))
    clean = equation1(1.0, 0.3, 1.2e-3, 40e-3, TEN)
    for k in (0, 5, 9):
        u = rice.cdf(drawn.signals[:, k], clean[k] / drawn.sigma, scale=drawn.sigma)
        assert kstest(u, "uniform").pvalue > 1e-3, TEN[k]
    np.testing.assert_allclose(drawn.truth, np.broadcast_to([0.3, 1.2, 40.0], drawn.truth.shape), rtol=1e-6)


def test_the_mean_of_several_images_has_the_moments_of_averaged_magnitudes():
    weights, random = [1, 2, 4, 9, 1, 1, 1, 1, 16, 30], np.random.default_rng(1)
    drawn = population([[0.2, 2.5, 60.0]], 2.5, weights).draw(40_000, random)
    near = np.abs(drawn.sigma - 0.4) < 0.02
    clean = equation1(1.0, 0.2, 2.5e-3, 60e-3, TEN)
    for k in (3, 8, 9):
        sigma = drawn.sigma[near][:, None]
        noise = random.standard_normal((2, near.sum(), weights[k]))
        means = np.hypot(clean[k] + sigma * noise[0], sigma * noise[1]).mean(1)
        error = means.std() / np.sqrt(near.sum())
        assert drawn.signals[near, k].mean() == pytest.approx(means.mean(), abs=5 * error)
        assert drawn.signals[near, k].std() == pytest.approx(means.std(), rel=0.1)  # of some thousand voxels: 1.5 %


def test_gaussian_noise_and_the_noise_of_the_data():
    drawn = population([[0.1, 1.0, 30.0]], 25.0, rician=False).draw(30_000, np.random.default_rng(2))
    z = (drawn.signals - equation1(1.0, 0.1, 1e-3, 30e-3, TEN)) / drawn.sigma[:, None]
    assert kstest(z.ravel(), "norm").pvalue > 1e-3
    assert np.median(1 / drawn.sigma) == pytest.approx(25.0, rel=0.01)
    low, high = population([[0.1, 1.0, 30.0]], 25.0).reach
    assert low == pytest.approx(25 / 1.5) and high == pytest.approx(25 * 1.5)
    assert drawn.sigma.min() >= 1 / high * 0.999 and drawn.sigma.max() <= 1 / low * 1.001


def test_f_D_and_Dstar_are_drawn_together_and_apart_from_S0():
    theta = np.random.default_rng(3).uniform([0.1, 0.5, 10], [0.5, 2.5, 100], (50, 3))
    drawn = population(theta, 20.0).draw(20_000, np.random.default_rng(4))
    places = np.abs(drawn.truth[:, None] - theta[None]).sum(2).argmin(1)
    np.testing.assert_allclose(drawn.truth, theta[places], rtol=1e-6)
    counts = np.bincount(places, minlength=50)
    assert np.all(np.abs(counts - 400) < 5 * 20)
    assert abs(np.corrcoef(drawn.sigma, drawn.truth[:, 0])[0, 1]) < 0.03
