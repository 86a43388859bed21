"""The covariance of a few parameters against numpy."""

import numpy as np

from ivimsc.numerics.information import covariance


def test_it_is_the_inverse_from_the_lower_triangle():
    slopes = np.random.default_rng(0).normal(size=(20, 5)) * [1, 1e3, 1e-3, 1e2, 10]
    matrix = slopes.T @ slopes
    found = np.zeros((6, 6))
    found[:5, :5] = np.tril(matrix)
    assert covariance(found, 5, np.empty(6))
    np.testing.assert_allclose(found[:5, :5], np.linalg.inv(matrix), rtol=1e-9, atol=1e-18)


def test_what_cannot_be_told_is_said():
    slopes = np.random.default_rng(0).normal(size=(20, 3))
    slopes[:, 2] = slopes[:, 0] + slopes[:, 1]
    assert not covariance(slopes.T @ slopes, 3, np.empty(3))
    assert not covariance(np.zeros((3, 3)), 3, np.empty(3))
