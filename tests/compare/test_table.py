"""Rows of a comparison: every number in display units, against numpy."""

import csv

import numpy as np
import pytest

from ivimsc.compare.table import agreement_row, bound_row, error_row, write_csv
from ivimsc.physics.parameters import BY_KEY

D = BY_KEY["d"]
TRUE = np.array([1e-3, 2e-3, 3e-3, 2e-3])
FOUND = np.array([1.1e-3, np.nan, 2.8e-3, 2.4e-3])


def test_an_error_row_leaves_missing_voxels_out_and_counts_them():
    row = error_row("liver", "nlls", D, FOUND, TRUE, 1e-9)
    error, true = np.array([0.1, -0.2, 0.4]), np.array([1.0, 3, 2])  # µm²/ms
    assert (row.tissue, row.method, row.parameter, row.unit) == ("liver", "nlls", "D", "µm²/ms")
    assert (row.voxels, row.missing) == (4, 1)
    mse = np.mean(error**2)
    expected = (error.mean(), error.std(), np.sqrt(mse), mse, 1 - mse / true.var(), mse / 1e-3)
    np.testing.assert_allclose((row.bias, row.sd, row.rmse, row.mse, row.r2, row.ratio), expected, rtol=1e-12)


def test_a_bound_row_is_in_squares_of_the_display_unit():
    row = bound_row("liver", "smallest possible", D, 4e-8, TRUE, 2e-8, 1e-9)
    expected = (0.2, 0.04, 1e-3, 1 - 0.04 / 0.5, 2)  # µm²/ms, its square, variance of the truth 0.5
    np.testing.assert_allclose((row.rmse, row.mse, row.mse_error, row.r2, row.ratio), expected, rtol=1e-12)
    assert np.isnan([row.bias, row.sd]).all() and row.voxels == 4 and row.missing == 0
    assert np.isnan(bound_row("liver", "x", D, np.inf, TRUE, 1e-8).r2)


def test_an_agreement_row_is_that_of_bland_and_altman():
    random = np.random.default_rng(0)
    first = random.uniform(1e-3, 2e-3, 50)
    second = first + random.normal(1e-4, 1e-4, 50)
    second[7] = np.nan
    row = agreement_row("liver", ("a", "b"), D, first, second)
    a, b = np.delete(first, 7) * 1e3, np.delete(second, 7) * 1e3
    mean, sd = (b - a).mean(), (b - a).std(ddof=1)
    assert (row.first, row.second, row.voxels, row.missing) == ("a", "b", 50, 1)
    expected = (mean, sd, mean - 1.96 * sd, mean + 1.96 * sd, np.corrcoef(a, b)[0, 1])
    np.testing.assert_allclose((row.difference, row.sd, row.lower, row.upper, row.r), expected, rtol=1e-12)
    assert np.isnan(agreement_row("liver", ("a", "b"), D, np.ones(50), second).r)


def test_rows_without_a_number_stay_without_one():
    row = error_row("liver", "nlls", D, np.full(4, np.nan), TRUE, 1e-9)
    assert row.missing == 4 and np.isnan([row.bias, row.rmse, row.mse, row.r2, row.ratio]).all()
    flat = error_row("liver", "nlls", D, FOUND, np.full(4, 2e-3), float("nan"))
    assert np.isnan(flat.r2) and np.isnan(flat.ratio) and flat.mse > 0


def test_the_table_is_read_back(tmp_path):
    row = bound_row("liver", "smallest possible", D, 4e-8, TRUE, 2e-8)
    write_csv([row], tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        (found,) = csv.DictReader(file)
    assert float(found["mse"]) == pytest.approx(0.04) and found["unit"] == "µm²/ms"
    assert found["mse_error"] == found["bias"] == ""
