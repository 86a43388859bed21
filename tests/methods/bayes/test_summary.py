"""What is told of a voxel: the outcome by its rule, units, and residuals, against numpy."""

import numpy as np
import pytest

from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.problem import sampling
from ivimsc.methods.bayes.summary import finish, put_maximum, put_moments
from ivimsc.outcome import Outcome
from tests.conftest import TEN, equation1

BOUNDS = np.array([[0, 1], [0, 5], [5, 200.0]])


@pytest.mark.parametrize(("changed", "outcome"), [
    ({}, Outcome.CONVERGED),
    ({rows.ESS: 49.0}, Outcome.ITERATION_LIMIT),
    ({rows.ESS: np.nan}, Outcome.ITERATION_LIMIT),
    ({rows.DSTAR_MAX: 5.1}, Outcome.AT_BOUND),  # a thousandth of the range is 0.195
    ({rows.DSTAR_MAX: 5.3}, Outcome.CONVERGED),
    ({rows.DSTAR_MAX: 199.9}, Outcome.AT_BOUND),
    ({rows.F_MAX: 0.0005}, Outcome.AT_BOUND),
    ({rows.D_MAX: 4.999}, Outcome.AT_BOUND),
    ({rows.F_MAX: 0.0005, rows.ESS: 49.0}, Outcome.ITERATION_LIMIT),
])  # fmt: skip
def test_outcome(changed, outcome):
    found = np.ones(rows.ROWS, np.float32)
    found[[rows.ESS, rows.F_MAX, rows.D_MAX, rows.DSTAR_MAX]] = 400, 0.2, 1.0, 40.0
    for row, value in changed.items():
        found[row] = value
    values, ended = np.zeros((rows.ROWS, 1), np.float32), np.zeros(1, np.uint8)
    signals, b = np.ones((1, 10), np.float32), (TEN * 1e-3).astype(np.float32)
    finish(signals, 0, np.float32(1), b, sampling(6, 0, BOUNDS), found, values, ended)
    assert ended[0] == outcome


def test_units_and_residuals():
    scale, found = np.float32(50), np.arange(1, 13, dtype=np.float32)
    found[rows.S0], found[rows.F], found[rows.D], found[rows.DSTAR], found[rows.ESS] = 1.1, 0.2, 1.0, 40.0, 400
    signals = np.stack([np.zeros(10), 50 * np.linspace(1, 0.5, 10)]).astype(np.float32)
    values, outcome = np.zeros((rows.ROWS, 2), np.float32), np.zeros(2, np.uint8)
    before = found.copy()
    finish(signals, 1, scale, (TEN * 1e-3).astype(np.float32), sampling(6, 0), found, values, outcome)
    residuals = signals[1] - equation1(55.0, 0.2, 1e-3, 40e-3, TEN)
    units = {rows.S0: 50, **dict.fromkeys((2, 3, 6, 7, 10, 11), 1e-3)}
    expected = [before[k] * units.get(k, 1) for k in range(rows.ROWS)]
    expected[rows.RMSE] = np.sqrt(np.mean(residuals**2))
    np.testing.assert_allclose(values[:, 1], expected, rtol=1e-5)  # float32
    assert np.all(values[:, 0] == 0)
    assert outcome.tolist() == [0, Outcome.CONVERGED]


def test_moments_and_maximum_have_their_rows():
    found, mean = np.zeros(rows.ROWS, np.float32), np.array([0.2, 1.0, 40.0], np.float32)
    covariance = np.diag([0.01, -1e-9, 100.0]).astype(np.float32)  # a variance below 0 is one of rounding
    put_moments(np.float32(1.5), np.float32(300), mean, covariance, found)
    put_maximum(np.arange(6, dtype=np.float32).reshape(3, 2), 1, found)
    np.testing.assert_allclose(found, [1.5, 0.2, 1, 40, 0, 0.1, 0, 10, 300, 1, 3, 5], rtol=1e-6)
