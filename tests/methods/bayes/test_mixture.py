"""Coordinates of a mixture: zero is the mixture itself, and the gradient is that of numerical differences."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, wishart

from ivimsc.device.launch import Launch
from ivimsc.methods.bayes.fixed_priors import BROAD_PRIOR
from ivimsc.methods.bayes.mixture import BROAD, TISSUE, WORTH, Mixture, chart, fewer, log_penalty, shares
from ivimsc.methods.bayes.population import _search, _simpler, _sums
from ivimsc.methods.bayes.posterior import Kept

LAUNCH = Launch("cpu", 2)


def some_mixture(seed=3, components=3):
    random = np.random.default_rng(seed)
    means = BROAD_PRIOR.means[0] + random.normal(0, 0.5, (components, 3))
    covariances = wishart(8, TISSUE / 4, seed=random).rvs(components)
    return Mixture(shares(random.uniform(1, 4, components + 1)), np.append(means, BROAD_PRIOR.means, 0),
                   np.append(covariances, BROAD_PRIOR.covariances, 0))  # fmt: skip


def some_points(seed=4, voxels=150, points=20):
    random = np.random.default_rng(seed)
    centres = BROAD_PRIOR.means[0] + random.normal(0, 0.6, (voxels, 3))
    t = centres[:, :, None] + random.normal(0, 0.2, (voxels, 3, points))
    return Kept(t.astype(np.float32), random.normal(0, 1, (voxels, points)).astype(np.float32))


def density(mixture, t):
    """Of points t (n, 3), by scipy."""
    return sum(w * multivariate_normal(m, c).pdf(t) for w, m, c in zip(*mixture, strict=True))


def test_sums_are_those_of_scipy():
    mixture, kept = some_mixture(), some_points()
    sums, value = _sums(kept, mixture, LAUNCH)
    expected, own = np.zeros((4, 3)), 0.0
    for t, ratio in zip(kept.t.transpose(0, 2, 1).astype(float), np.exp(kept.log_ratio.astype(float)), strict=True):
        total = np.sum(ratio * density(mixture, t))
        own += np.log(total)
        for c in range(4):
            away = t - mixture.means[c]
            part = (
                mixture.weights[c]
                * multivariate_normal(mixture.means[c], mixture.covariances[c]).pdf(t)
                * ratio
                / total
            )
            expected[c] += part.sum(), part @ away[:, 1], part @ (away[:, 0] * away[:, 2])
    # float32 sums of 150 voxels by 20 points: 1e-4 of the largest
    np.testing.assert_allclose(sums[:, [0, 2, 7]], expected, rtol=2e-4, atol=2e-4)
    assert value == pytest.approx(own, abs=5e-3)


def test_zero_is_the_first_mixture():
    mixture = some_mixture()
    about = chart(mixture, BROAD_PRIOR, 1000)
    for found, expected in zip(about.mixture(np.zeros(len(about.limits))), mixture, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_anywhere_it_is_a_mixture_and_the_broad_prior_stays():
    about = chart(some_mixture(), BROAD_PRIOR, 1000)
    x = np.clip(np.random.default_rng(5).normal(0, 30, len(about.limits)), *np.clip(about.limits.T, -200, 200))
    there = about.mixture(x)
    assert there.weights.sum() == pytest.approx(1) and there.weights[-1] >= BROAD
    assert np.all(np.linalg.eigvalsh(there.covariances) > 0)
    np.testing.assert_array_equal(there.means[-1], BROAD_PRIOR.means[0])
    np.testing.assert_array_equal(there.covariances[-1], BROAD_PRIOR.covariances[0])


def test_the_gradient_is_that_of_differences():
    kept, about = some_points(), chart(some_mixture(), BROAD_PRIOR, 150)
    t, ratio = kept.t.transpose(0, 2, 1).astype(float), np.exp(kept.log_ratio.astype(float))

    def value(x):
        mixture = about.mixture(x)
        return np.log((ratio * density(mixture, t)).sum(1)).sum() + log_penalty(mixture, BROAD_PRIOR)

    x = np.random.default_rng(6).normal(0, 0.5, len(about.limits))
    found = about.gradient(x, _sums(kept, about.mixture(x), LAUNCH)[0])
    step = 1e-4 * np.eye(len(x))
    expected = [(value(x + s) - value(x - s)) / 2e-4 for s in step]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)  # float32 sums


def test_the_penalty_is_inverse_wishart_and_normal():
    first, second = some_mixture(3), some_mixture(9)

    def log_prior(mixture):
        """Inverse Wishart about TISSUE worth WORTH voxels, up to a constant: its density as a Wishart one of the inverse."""
        told = 0.0
        for mean, covariance in zip(mixture.means[:-1], mixture.covariances[:-1], strict=True):
            told += multivariate_normal(BROAD_PRIOR.means[0], BROAD_PRIOR.covariances[0]).logpdf(mean)
            told += WORTH * np.mean(multivariate_normal(np.zeros(3), covariance).logpdf(_with_covariance(TISSUE)))
        return told

    assert log_penalty(first, BROAD_PRIOR) - log_penalty(second, BROAD_PRIOR) == pytest.approx(
        log_prior(first) - log_prior(second)
    )


def _with_covariance(covariance):
    """Six points (6, 3) of mean zero that have this covariance."""
    root = np.sqrt(3) * np.linalg.cholesky(covariance).T
    return np.concatenate([root, -root])


def test_the_search_finds_the_mixture_that_drew_the_points():
    """Points that are the voxels' parameters themselves: maximum likelihood of a mixture, told by its own truth."""
    random = np.random.default_rng(7)
    means = np.array([[-1.1, -0.1, 3.8], [-2.2, 0.6, 3.0]])
    own = random.choice(2, 6000, p=[0.7, 0.3])
    t = means[own] + random.normal(0, 1, (6000, 3)) * [0.3, 0.1, 0.3]
    kept = Kept(t[:, :, None].astype(np.float32), np.zeros((6000, 1), np.float32))
    start = Mixture(shares(np.array([1.0, 1.0, 0.1])), np.array([[-1.5, 0.2, 3.5], [-1.8, 0.4, 3.3], BROAD_PRIOR.means[0]]),
                    np.stack([9 * TISSUE, 9 * TISSUE, BROAD_PRIOR.covariances[0]]))  # fmt: skip
    found = _search(kept, chart(start, BROAD_PRIOR, 6000), 1e-3, LAUNCH)
    order = np.argsort(-found.mixture.weights[:2])
    assert found.converged
    np.testing.assert_allclose(found.mixture.weights[order], [0.7 * 0.99, 0.3 * 0.99], atol=0.02)  # 3 standard errors
    np.testing.assert_allclose(found.mixture.means[order], means, atol=0.025)  # 3 standard errors of the second
    np.testing.assert_allclose(found.mixture.covariances[order], [TISSUE] * 2, atol=0.012)


def test_one_component_less_keeps_the_moments_of_the_two():
    mixture = some_mixture(components=4)
    trials = fewer(mixture, 2)
    assert len(trials) == 4 + 2
    for gone, trial in enumerate(trials[:4]):
        np.testing.assert_array_equal(trial.means, np.delete(mixture.means, gone, 0))
        assert trial.weights.sum() == pytest.approx(1)
    for trial in trials[4:]:
        for name in ("means", "covariances"):  # the broad prior stays the last
            np.testing.assert_array_equal(getattr(trial, name)[-1], getattr(mixture, name)[-1])
        for moment in (lambda m, c: m, lambda m, c: c + np.outer(m, m)):  # first and second, about zero
            new, old = (sum(w * moment(m, c) for w, m, c in zip(*x, strict=True)) for x in (trial, mixture))
            np.testing.assert_allclose(new, old, rtol=1e-12)


def test_the_two_nearest_are_made_one_first():
    mixture = some_mixture(components=4)
    mixture.means[1], mixture.covariances[1] = mixture.means[3] + 1e-3, mixture.covariances[3]
    nearest = fewer(mixture, 1)[-1]
    assert np.abs(nearest.means[0] - mixture.means[3]).max() < 1e-3
    assert nearest.weights[0] == pytest.approx(mixture.weights[1] + mixture.weights[3])


def test_the_penalty_is_zero_at_its_best():
    best = Mixture(
        np.array([0.5, 0.5]), np.repeat(BROAD_PRIOR.means, 2, 0), np.stack([TISSUE, BROAD_PRIOR.covariances[0]])
    )
    assert log_penalty(best, BROAD_PRIOR) == pytest.approx(0, abs=1e-9)
    assert log_penalty(best._replace(covariances=best.covariances * 1.1), BROAD_PRIOR) < 0


def test_needless_components_go_and_needed_ones_stay():
    """Points of 600 voxels from two tissues far apart; a mixture that has each of them twice, and one of no voxel."""
    random = np.random.default_rng(8)
    centres = BROAD_PRIOR.means[0] + np.array([[-0.8, -0.4, 0.0], [0.8, 0.4, 0.0]])
    own = random.integers(0, 2, 600)
    middle = centres[own] + random.multivariate_normal(np.zeros(3), TISSUE, 600)
    t = middle[:, :, None] + random.normal(0, 0.02, (600, 3, 16))
    kept = Kept(t.astype(np.float32), np.zeros((600, 16), np.float32))
    means = np.append(
        np.concatenate([centres, centres + 0.02, centres[:1] + np.array([0, 3, 0])]), BROAD_PRIOR.means, 0
    )
    covariances = np.append(np.repeat(TISSUE[None], 5, 0), BROAD_PRIOR.covariances, 0)
    mixture = Mixture(shares(np.array([1, 1, 1, 1, 0.01, 0.1])), means, covariances)
    found = _simpler(kept, mixture, LAUNCH)
    assert len(found.weights) == 3
    # the mean of 300 voxels is told to SD / 17 of the tissue, and the components were put 0.02 beside it
    np.testing.assert_allclose(np.sort(found.means[:2, 0]), centres[:, 0], atol=0.03)
