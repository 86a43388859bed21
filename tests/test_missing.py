"""Signals with missing values: what the other volumes tell is fitted, and how many voxels there are is told."""

import numpy as np
import pytest

from ivimsc import Outcome, fit_signals
from tests.conftest import equation1

BVALUES = np.r_[[0.0] * 3, np.repeat([20, 50, 100, 200, 400, 800.0], 2)]


@pytest.fixture
def signals():
    """Three voxels of one truth, without noise."""
    return np.repeat(equation1(1000.0, 0.2, 1e-3, 0.03, BVALUES)[None], 3, axis=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_missing_volume_costs_no_voxel(signals, bad):
    signals[1, 4] = bad
    with pytest.warns(UserWarning, match="1 voxel has volumes that are NaN or Inf"):
        found = fit_signals(signals, BVALUES)
    np.testing.assert_allclose(found.f, 0.2, rtol=2e-3)  # float32 signals
    assert found.outcome[1] == found.outcome[0] == Outcome.CONVERGED


def test_a_shell_without_a_volume_is_a_bad_signal(signals):
    signals[1, 3:5] = np.nan
    with pytest.warns(UserWarning, match="1 voxel has"):
        found = fit_signals(signals, BVALUES)
    assert found.outcome[1] == Outcome.BAD_SIGNAL and np.isnan(found.f[1])
    np.testing.assert_allclose(found.f[[0, 2]], 0.2, rtol=2e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16])
def test_masked_values_are_missing(signals, dtype):
    signals[0, 1] = 5000
    masked = np.ma.masked_greater(signals.astype(dtype), 2000)
    with pytest.warns(UserWarning, match="1 voxel has"):
        found = fit_signals(masked, BVALUES)
    np.testing.assert_allclose(found.S0, 1000, rtol=2e-3)
    np.testing.assert_allclose(found.f, 0.2, rtol=2e-2)  # int16 signals
    assert np.asarray(masked)[0, 1] == 5000  # the array of the user stays


def test_a_masked_array_without_masked_values_is_an_array(signals, recwarn):
    found = fit_signals(np.ma.masked_array(signals), BVALUES)
    np.testing.assert_array_equal(found.f, fit_signals(signals, BVALUES).f)
    assert not recwarn.list
