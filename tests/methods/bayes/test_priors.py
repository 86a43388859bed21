"""Densities, maps and draws of the priors against scipy."""

import numpy as np
import pytest
from scipy.stats import logistic, multivariate_normal

from ivimsc.methods.bayes.priors import (
    EXCLUDED,
    box_prior,
    draw,
    gaussian_prior,
    log_prior,
    map_points,
    parameters,
    subtract_log_jacobian,
    to_coordinates,
)

BOUNDS = np.array([[0.0, 0.8], [0.1, 4.0], [5.0, 150.0]])
MEANS, COVARIANCE = np.array([[-1.0, 0.2, 3.5], [0.5, -0.3, 4.0]]), np.array([[0.5, 0.1, 0], [0.1, 0.2, 0.05], [0, 0.05, 0.3]])  # fmt: skip
MIXTURE = gaussian_prior(np.array([0.3, 0.7]), MEANS, np.stack([COVARIANCE, 2 * COVARIANCE]), BOUNDS)
T = np.random.default_rng(0).normal(size=(3, 200)) * [[1], [0.4], [0.5]] + [[-0.5], [0], [3.5]]


def evaluated(prior, t):
    out, scratch = np.empty(t.shape[1], np.float32), np.empty(t.shape[1], np.float32)
    log_prior(prior, t.astype(np.float32), scratch, out)
    return out


@pytest.mark.parametrize("reciprocal", [(False, False, False), (False, True, True)])
def test_box(reciprocal):
    prior = box_prior(BOUNDS, reciprocal)
    theta, t32 = np.empty((3, 200), np.float32), T.astype(np.float32)
    map_points(prior, t32, theta)
    np.testing.assert_allclose(theta, parameters(prior, T), rtol=1e-5)
    low, high = BOUNDS[:, :1], BOUNDS[:, 1:]
    share = logistic.cdf(T)
    expected = np.where(np.array(reciprocal)[:, None], np.maximum(low, 1e-9) * (high / np.maximum(low, 1e-9)) ** share, low + (high - low) * share)  # fmt: skip
    np.testing.assert_allclose(theta, expected, rtol=1e-5)
    log_density = evaluated(prior, T)
    np.testing.assert_allclose(log_density, logistic.logpdf(T).sum(0), rtol=1e-5)
    subtract_log_jacobian(prior, t32, log_density)  # of theta: level, or 1 / x
    level = log_density + np.log(theta[1:][np.array(reciprocal)[1:]]).sum(0)
    np.testing.assert_allclose(level, level[0], atol=1e-4)


def test_mixture():
    limits = MIXTURE.limits.astype(float)
    inside = ((T >= limits[:, :1]) & (T <= limits[:, 1:])).all(0)
    assert 0 < inside.sum() < 200
    density = sum(w * multivariate_normal.pdf(T.T, m, c) for w, m, c in zip((0.3, 0.7), MEANS, (COVARIANCE, 2 * COVARIANCE), strict=True))  # fmt: skip
    np.testing.assert_allclose(evaluated(MIXTURE, T), np.where(inside, np.log(density), EXCLUDED), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(limits[1:], np.log(BOUNDS[1:]), rtol=1e-6)
    log_density = evaluated(MIXTURE, T)
    before = log_density.copy()
    subtract_log_jacobian(MIXTURE, T.astype(np.float32), log_density)
    theta = parameters(MIXTURE, T)
    jacobian = np.log(theta[0] * (1 - theta[0]) * theta[1] * theta[2])
    np.testing.assert_allclose((before - log_density)[inside], jacobian[inside], atol=1e-4)


def test_draws_have_the_moments_of_the_mixture():
    free = MIXTURE._replace(limits=np.tile(np.float32([-1e30, 1e30]), (3, 1)))
    t = draw(free, 20_000, 3)
    mean = 0.3 * MEANS[0] + 0.7 * MEANS[1]
    offsets = MEANS - mean
    covariance = 1.7 * COVARIANCE + 0.3 * np.outer(offsets[0], offsets[0]) + 0.7 * np.outer(offsets[1], offsets[1])
    np.testing.assert_allclose(t.mean(1), mean, atol=0.01)  # points that fill space: errors far below 1 / sqrt(n)
    np.testing.assert_allclose(np.cov(t), covariance, atol=0.02)


def test_draws_keep_to_the_limits_and_number():
    t = draw(MIXTURE, 4000, 0)
    assert t.shape[1] == pytest.approx(4000, rel=0.05)
    theta = parameters(MIXTURE, t)
    assert np.all((theta >= BOUNDS[:, :1] * (1 - 1e-6)) & (theta <= BOUNDS[:, 1:] * (1 + 1e-6)))
    np.testing.assert_allclose(to_coordinates(theta), t, atol=1e-6)


def test_far_from_all_components_the_density_is_still_told():
    """20 to 60 SDs away, where a sum of exponentials in float32 is zero: the largest component is left."""
    means, covariances = np.array([[0.0, 0, 3], [1.0, 1, 3]]), np.stack([np.eye(3) * 0.01, np.eye(3) * 0.04])
    prior = gaussian_prior(np.array([0.3, 0.7]), means, covariances, np.array([[0, 1], [0, 1e9], [0, 1e9]]))
    t = np.array([[0.1, 6.0, -6.0], [0.1, 6.0, 9.0], [3.1, 3.0, 3.0]])
    found = np.empty(3, np.float32)
    log_prior(prior, t.astype(np.float32), np.empty(3, np.float32), found)
    expected = np.logaddexp(
        *(
            np.log(w) + multivariate_normal(m, c).logpdf(t.T)
            for w, m, c in zip((0.3, 0.7), means, covariances, strict=True)
        )
    )
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-5)
