"""The smallest possible error: against brute force, and free of the noise of its own draws."""

import numpy as np
import pytest
from scipy.special import ive

from ivimsc.compare.bound import Bound, smallest_error
from ivimsc.errors import InputError
from tests.compare.conftest import LAUNCH
from tests.conftest import TEN, equation1

KEYS = ("s0", "f", "d", "dstar")


def truth_of(n, random):
    values = np.ones(n), random.uniform(0.05, 0.5, n), random.uniform(0.5e-3, 2.5e-3, n), random.uniform(0.01, 0.1, n)
    return dict(zip(KEYS, values, strict=True))


def posterior_mean(signals, draws, sigma, rician):
    """Posterior means (voxel, 3) under draws (4, draw) of S0, f, D, D*, all alike probable: by the definition."""
    mean = equation1(*draws, TEN)
    means = np.empty((len(signals), 3))
    for v, y in enumerate(signals.astype(np.float64)):
        log = -((y - mean) ** 2) / (2 * sigma**2)
        if rician:  # the Gaussian form times I0(z) exp(-z), z = y S / sigma²; the factor y / sigma² is the same for all
            log += np.log(ive(0, y * mean / sigma**2))
        weights = np.exp(log.sum(axis=1) - log.sum(axis=1).max())
        means[v] = draws[1:] @ weights / weights.sum()
    return means


@pytest.mark.parametrize("rician", [True, False], ids=["rician", "gaussian"])
def test_products_of_two_halves_are_those_of_the_definition(rician):
    """S0 known: every voxel's product of errors, with the halves that the seed gives."""
    random, sigma, n, seed = np.random.default_rng(0), 0.1, 2400, 5
    truth = truth_of(n, random)
    signals = equation1(*truth.values(), TEN)
    noise = random.normal(0, sigma, (2, *signals.shape))
    signals = (np.hypot(signals + noise[0], noise[1]) if rician else signals + noise[0]).astype(np.float32)
    found = smallest_error(signals, truth, TEN, sigma, rician, True, LAUNCH, seed)
    order = np.random.Generator(np.random.Philox(seed)).permutation(n)
    np.testing.assert_array_equal(found.tested, np.sort(order[: n // 4]))
    half = (n - n // 4) // 2
    columns = np.stack(list(truth.values()))
    halves = [columns[:, order[n // 4 + k * half : n // 4 + (k + 1) * half]] for k in (0, 1)]
    first, second = (posterior_mean(signals[found.tested], draws, sigma, rician) for draws in halves)
    true = columns[1:, found.tested].T
    scale = true.std(axis=0) ** 2
    # float32 weights of logarithms up to some hundred: 1e-4 of the spread of the truth
    np.testing.assert_allclose(found.noisy / scale, (first - true) * (second - true) / scale, atol=1e-3)


def test_the_mean_is_over_the_voxels_that_are_asked_for():
    products = np.array([[1.0, 2, 3], [3, 4, 5], [5, 9, 1], [np.nan, 1, 1]])
    bound = Bound(np.array([0, 2, 5, 6]), products, 2 * products, 50.0)
    inside = np.array([True, False, False, True, True, True, True])
    mean, error = bound.mean("noisy", inside)
    np.testing.assert_allclose(mean, [3, 5.5, 2])
    np.testing.assert_allclose(error, np.std([[1, 2, 3], [5, 9, 1]], axis=0, ddof=1) / np.sqrt(2))
    np.testing.assert_allclose(bound.mean("noise_free")[0], [6, 10, 6])
    assert np.all(np.isnan(bound.mean("noisy", np.zeros(7, bool))[0]))
    assert not bound.thin and Bound(bound.tested, products, products, 9.9).thin


def test_bound_has_no_share_of_the_draws_noise():
    """Few draws must not raise the bound: products of two halves against one posterior from very many draws."""
    random = np.random.default_rng(0)

    def bound(n):
        truth = truth_of(n, random)
        signals = equation1(*truth.values(), TEN)
        signals = (signals + random.normal(0, 1 / 80, signals.shape)).astype(np.float32)
        return smallest_error(signals, truth, TEN, 1 / 80, False, True, LAUNCH)

    few, many = bound(6000), bound(60_000)
    (low, low_error), (high, high_error) = few.mean("noisy"), many.mean("noisy")
    assert np.all(np.abs(low - high) < 4 * np.hypot(low_error, high_error))
    assert few.ess < many.ess


def test_constant_tissues_have_no_error_left():
    """Where all voxels are alike, the prior knows the answer: the bound is 0."""
    n = 3000
    values = [np.full(n, v) for v in (1.0, 0.3, 1.5e-3, 40e-3)]
    signals = (equation1(*values, TEN) + np.random.default_rng(0).normal(0, 0.05, (n, 10))).astype(np.float32)
    bound = smallest_error(signals, dict(zip(KEYS, values, strict=True)), TEN, 0.05, False, False, LAUNCH)
    assert np.all(bound.mean("noisy")[0] < 1e-12 * np.square((0.3, 1.5e-3, 40e-3)) * 1e3)  # float32


def test_bound_refuses_no_noise():
    with pytest.raises(InputError, match="sigma"):
        smallest_error(np.ones((9, 10), np.float32), {}, TEN, 0.0, False, True, LAUNCH)


def test_bound_refuses_few_voxels():
    truth = truth_of(1999, np.random.default_rng(0))
    with pytest.raises(InputError, match="found 1999 voxels with truth, expected at least 2000"):
        smallest_error(np.ones((1999, 10), np.float32), truth, TEN, 0.1, False, True, LAUNCH)
