"""The adapter for OSIPI gives what `fit_signals` gives, under OSIPI's keys."""

import numpy as np
import pytest

from ivimsc.adapters.osipi import IvimscAlgorithm
from ivimsc.errors import InputError
from tests.conftest import TEN, phantom


@pytest.fixture
def volume():
    p = phantom(60)
    return p, p.signals.reshape(5, 4, 3, 10)


def assert_truth(found, p, where=slice(None)):
    assert set(found) == {"f", "Dp", "D"}
    for key, truth in (("f", p.f), ("Dp", p.Dstar), ("D", p.D)):
        np.testing.assert_allclose(np.ravel(found[key]), truth[where], rtol=2e-3, err_msg=key)  # float32 signals


def test_one_voxel_and_a_volume_hold_the_truth_under_their_keys(volume):
    p, data = volume
    one = IvimscAlgorithm(bvalues=TEN).ivim_fit(data[0, 0, 0])
    assert all(isinstance(value, float) for value in one.values())
    assert_truth(one, p, slice(1))
    many = IvimscAlgorithm().ivim_fit_full_volume(data, TEN)
    assert many["D"].shape == (5, 4, 3)
    assert_truth(many, p)


@pytest.mark.parametrize(
    ("key", "low", "high"), [("f", 0.1, 0.3), ("D", 1.0e-3, 1.5e-3), ("Dp", 0.02, 0.05)], ids=["f", "D", "Dp"]
)
def test_bounds_are_kept_and_reached(volume, key, low, high):
    _, data = volume
    free = IvimscAlgorithm(TEN).ivim_fit_full_volume(data)[key]
    found = IvimscAlgorithm(TEN, bounds={key: (low, high), "S0": (0, 2)}).ivim_fit_full_volume(data)[key]
    assert free.min() < low and free.max() > high
    np.testing.assert_allclose([found.min(), found.max()], [low, high], rtol=1e-6)  # float32


def test_a_threshold_is_the_split_of_segmented():
    assert IvimscAlgorithm(TEN, thresholds=[150], method="segmented").options["split"] == 150
    assert "split" not in IvimscAlgorithm(TEN, thresholds=[150]).options


def test_no_bvalues_are_refused():
    with pytest.raises(InputError, match="bvalues: found none"):
        IvimscAlgorithm().ivim_fit(np.ones(10))
