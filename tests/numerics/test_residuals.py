"""The noise of a voxel from its residuals, against numpy."""

import numpy as np
import pytest

from ivimsc.numerics.finish import Found
from ivimsc.numerics.residuals import noise_from_residuals, plain_squares
from tests.conftest import TEN, equation1, phantom


def test_it_is_the_unbiased_estimate_of_linear_regression():
    random = np.random.default_rng(0)
    columns, y = random.normal(size=(12, 4)), random.normal(size=12)
    squares = np.linalg.lstsq(columns, y, rcond=None)[1][0]
    _, covariance = np.polyfit(np.arange(12), y, 3, cov=True)  # numpy's own degrees of freedom
    shape = np.linalg.inv(np.vander(np.arange(12), 4).T @ np.vander(np.arange(12), 4))
    line = np.polyval(np.polyfit(np.arange(12), y, 3), np.arange(12))
    assert noise_from_residuals(np.sum((y - line) ** 2), 12, 4) ** 2 == pytest.approx(covariance[0, 0] / shape[0, 0])
    assert noise_from_residuals(squares, 12, 4) == pytest.approx(np.sqrt(squares / 8))


@pytest.mark.parametrize("n", [3, 4])
def test_without_a_degree_of_freedom_it_is_not_known(n):
    assert np.isnan(noise_from_residuals(0.1, n, 4))


def test_plain_squares_are_those_of_the_scaled_signals():
    p = phantom(37, TEN, 30)
    values = [np.float32(a) for a in (1 - p.f, p.f, 1e3 * p.D, 1e3 * p.Dstar)]
    found = Found(*values, *np.zeros((2, 37), np.float32), np.ones(37, bool))
    plain_squares(p.signals * np.float32(3), np.full(37, 3, np.float32), found, np.float32(TEN * 1e-3))
    expected = np.sum((p.signals - equation1(1, p.f, p.D, p.Dstar, TEN)) ** 2, axis=1)
    np.testing.assert_allclose(found.plain, expected, rtol=1e-4)  # signals and residuals are float32
