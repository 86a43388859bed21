"""Rows of a comparison: every number in display units, against numpy."""

import csv

import numpy as np
import pytest

from ivimsc.compare.moments import Moments, Pair
from ivimsc.compare.table import agreement_row, bound_row, error_row, guess_row, write_csv
from ivimsc.physics.parameters import BY_KEY

D = BY_KEY["d"]
TRUE = np.array([1e-3, 2e-3, 3e-3, 2e-3])
FOUND = np.array([1.1e-3, np.nan, 2.8e-3, 2.4e-3])


def pair(first, second, size=3):
    """The sums of two fields in µm²/ms, added in blocks."""
    found = Pair()
    for start in range(0, len(first), size):
        found.add(first[start : start + size], second[start : start + size], 1e3)
    return found


def test_an_error_row_leaves_missing_voxels_out_and_counts_them():
    row = error_row("liver", "nlls", D, pair(TRUE, FOUND), 1e-9)
    error, true = np.array([0.1, -0.2, 0.4]), np.array([1.0, 3, 2])  # µm²/ms
    assert (row.tissue, row.method, row.parameter, row.unit) == ("liver", "nlls", "D", "µm²/ms")
    assert (row.voxels, row.missing) == (4, 1)
    mse = np.mean(error**2)
    expected = (error.mean(), error.std(), np.sqrt(mse), mse, 1 - mse / true.var(), mse / 1e-3)
    np.testing.assert_allclose((row.bias, row.sd, row.rmse, row.mse, row.r2, row.ratio), expected, rtol=1e-12)


def test_a_bound_row_is_in_squares_of_the_display_unit():
    row = bound_row("liver", "smallest possible", D, 4e-8, pair(TRUE, TRUE), 2e-8, 1e-9)
    expected = (0.2, 0.04, 1e-3, 1 - 0.04 / 0.5, 2)  # µm²/ms, its square, variance of the truth 0.5
    np.testing.assert_allclose((row.rmse, row.mse, row.mse_error, row.r2, row.ratio), expected, rtol=1e-12)
    assert np.isnan([row.bias, row.sd]).all() and row.voxels == 4 and row.missing == 0
    assert np.isnan(bound_row("liver", "x", D, np.inf, pair(TRUE, TRUE), 1e-8).r2)


def test_an_agreement_row_is_that_of_bland_and_altman():
    random = np.random.default_rng(0)
    first = random.uniform(1e-3, 2e-3, 50)
    second = first + random.normal(1e-4, 1e-4, 50)
    second[7] = np.nan
    row = agreement_row("liver", ("a", "b"), D, pair(first, second))
    a, b = np.delete(first, 7) * 1e3, np.delete(second, 7) * 1e3
    mean, sd = (b - a).mean(), (b - a).std(ddof=1)
    assert (row.first, row.second, row.voxels, row.missing) == ("a", "b", 50, 1)
    expected = (mean, sd, mean - 1.96 * sd, mean + 1.96 * sd, np.corrcoef(a, b)[0, 1])
    np.testing.assert_allclose((row.difference, row.sd, row.lower, row.upper, row.r), expected, rtol=1e-12)
    assert np.isnan(agreement_row("liver", ("a", "b"), D, pair(np.ones(50), second)).r)


def test_rows_without_a_number_stay_without_one():
    row = error_row("liver", "nlls", D, pair(TRUE, np.full(4, np.nan)), 1e-9)
    assert row.missing == 4 and np.isnan([row.bias, row.rmse, row.mse, row.r2, row.ratio]).all()
    flat = error_row("liver", "nlls", D, pair(np.full(4, 2e-3), FOUND), float("nan"))
    assert np.isnan(flat.r2) and np.isnan(flat.ratio) and flat.mse > 0


def test_the_table_is_read_back(tmp_path):
    row = bound_row("liver", "smallest possible", D, 4e-8, pair(TRUE, TRUE), 2e-8)
    write_csv([row], tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        (found,) = csv.DictReader(file)
    assert float(found["mse"]) == pytest.approx(0.04) and found["unit"] == "µm²/ms"
    assert found["mse_error"] == found["bias"] == ""


def test_a_constant_guess_has_the_spread_of_the_truth():
    row = guess_row("liver", D, pair(TRUE, TRUE), 1e-9)
    expected = (0, TRUE.std() * 1e3, TRUE.std() * 1e3, TRUE.var() * 1e6, 0, TRUE.var() / 1e-9)
    np.testing.assert_allclose((row.bias, row.sd, row.rmse, row.mse, row.r2, row.ratio), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_moments_of_blocks_are_those_of_the_whole(size):
    """The mean is 1e6 times the spread: sums of squares would lose all digits of the variance."""
    values = 1e6 + np.random.default_rng(1).normal(0, 1, 1000)
    found = Moments()
    for start in range(0, 1000, size):
        found.add(values[start : start + size])
    np.testing.assert_allclose((found.mean, found.variance(), found.variance(1)), (values.mean(), values.var(), values.var(ddof=1)), rtol=1e-9)  # fmt: skip
    assert (found.n, found.low, found.high) == (1000, values.min(), values.max())
    constant = Moments()
    constant.add(np.full(10, 0.1))
    constant.add(np.full(3, 0.1))
    assert constant.variance() == 0
