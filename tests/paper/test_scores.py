"""Errors, and their ratio to the smallest possible error on the same voxels."""

import numpy as np
import pytest

from ivimsc.paper.scores import Bounds, constant_score, paired, score


@pytest.fixture
def voxels():
    """Estimates and truth of 200 voxels; the bound was tried on 50 of them, one twice, where all errors are larger."""
    random = np.random.default_rng(0)
    true = random.normal(size=(200, 3)) * (0.1, 0.3, 15)
    error = random.normal(size=(200, 3)) * (0.05, 0.2, 10)
    error[:50] *= 3
    tested = np.r_[np.arange(49), 7]
    products = (error[tested] * random.uniform(0.8, 1.0, (50, 3))) ** 2
    return true + error, true, Bounds(tested, products, products * 1.2, 100.0)


def test_errors_are_over_all_voxels_and_the_ratio_over_those_of_the_bound(voxels):
    found, true, bounds = voxels
    result = score(found, true, bounds)
    square = (found - true) ** 2
    np.testing.assert_allclose(result.mse, square.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.r2, 1 - square.mean(axis=0) / true.var(axis=0), rtol=1e-12)
    ratio = square[bounds.tested].mean(axis=0) / bounds.products.mean(axis=0)
    np.testing.assert_allclose(result.ratio, ratio, rtol=1e-12)
    assert np.all(ratio < 1.7)  # the errors of all voxels over the bound would be about a quarter of it
    spread = (square[bounds.tested] - ratio * bounds.products).std(axis=0, ddof=1)
    np.testing.assert_allclose(result.ratio_error, spread / bounds.products.mean(axis=0) / np.sqrt(50), rtol=1e-12)
    assert (result.voxels, result.missing) == (200, 0)


def test_the_ratio_is_paired():
    """Both errors share what is hard in a voxel: the paired standard error is far below that of either mean."""
    random = np.random.default_rng(0)
    hard = random.exponential(size=(4000, 3))
    square = 1.1 * hard * (1 + 0.05 * random.standard_normal(hard.shape))
    ratio, error = paired(square, hard)
    np.testing.assert_allclose(ratio, 1.1, atol=0.01)
    assert (error < 0.2 / np.sqrt(4000)).all()
    assert (np.abs(ratio - 1.1) < 5 * error).all()


def test_voxels_without_a_number_are_counted_and_left_out(voxels):
    found, true, bounds = voxels
    found[3, 2] = np.nan  # one of the tested voxels
    result = score(found, true, bounds)
    assert result.missing == 1 and result.voxels == 200
    rest = np.arange(200) != 3
    np.testing.assert_allclose(result.mse, ((found - true) ** 2)[rest].mean(axis=0))
    kept = bounds.tested != 3
    expected = ((found - true) ** 2)[bounds.tested[kept]].mean(axis=0) / bounds.products[kept].mean(axis=0)
    np.testing.assert_allclose(result.ratio, expected)


def test_a_constant_guess_is_scored_as_an_estimate(voxels):
    _, true, bounds = voxels
    guess = np.array([0.05, 0.1, -3])
    expected = score(np.tile(guess, (200, 1)), true, bounds)
    np.testing.assert_array_equal(constant_score(guess, true, bounds).mse, expected.mse)
    np.testing.assert_array_equal(constant_score(guess, true, bounds).ratio, expected.ratio)


def test_a_parameter_that_a_method_does_not_have_has_no_score_and_spoils_no_other():
    true, noise = np.random.default_rng(0).normal(size=(2, 50, 3))
    found = true + noise
    bounds = Bounds(np.arange(50), noise**2, noise**2, 100.0)
    whole, found[:, 0] = score(found, true, bounds), np.nan
    part = score(found, true, bounds)
    assert np.isnan(part.mse[0]) and np.isnan(part.ratio[0]) and part.missing == 0
    np.testing.assert_array_equal(part.mse[1:], whole.mse[1:])
    np.testing.assert_allclose(part.ratio[1:], 1, rtol=1e-12)
    found[7] = np.nan  # this voxel could not be fitted at all
    assert score(found, true, bounds).missing == 1
