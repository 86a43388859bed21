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
    assert found.dtype == np.float64 and low <= found.min() and found.max() <= high  # to the last bit
    np.testing.assert_allclose([found.min(), found.max()], [low, high], rtol=1e-6)  # float32


def test_bounds_reach_the_fit():
    """The results are clipped to the bounds in any case; the fit itself has to keep them too."""
    options = IvimscAlgorithm(TEN, bounds={"f": (0.1, 0.3), "D": (1e-3, 1.5e-3), "Dp": (0.02, 0.05)}).options
    assert options["f_bounds"] == (0.1, 0.3)
    assert options["d_bounds"] == (1e-3, 1.5e-3)
    assert options["dstar_bounds"] == (0.02, 0.05)


def test_a_threshold_is_the_split_of_segmented():
    assert IvimscAlgorithm(TEN, thresholds=[150], method="segmented").options["split"] == 150
    assert "split" not in IvimscAlgorithm(TEN, thresholds=[150]).options


def test_no_bvalues_are_refused():
    with pytest.raises(InputError, match="bvalues: found none"):
        IvimscAlgorithm().ivim_fit(np.ones(10))


@pytest.mark.parametrize(
    "bounds",
    [
        {"f": [0.1, 0.3]},
        ([0.7, 0.1, 0.005, 0.0], [1.3, 0.3, 0.2, 0.005]),  # S0, f, Dp, D
        ([0.0, 0.1, 0.005, 0.7], [0.005, 0.3, 0.2, 1.3]),  # D, f, Dp, S0
        np.array([[0.7, 0.1, 0.005, 0.0], [1.3, 0.3, 0.2, 0.005]]),
    ],
)
def test_bounds_in_every_form(volume, bounds):
    _, data = volume
    algorithm = IvimscAlgorithm(TEN, bounds=bounds)
    found = algorithm.osipi_fit(data)["f"]
    assert 0.1 <= found.min() and found.max() <= 0.3
    np.testing.assert_allclose([found.min(), found.max()], [0.1, 0.3], rtol=1e-6)  # float32
    assert algorithm.osipi_bounds["f"] == [0.1, 0.3] and algorithm.osipi_bounds["D"] == [0, 0.005]


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"Dstar": (0, 1)}, "found the keys Dstar, expected some of S0, f, Dp, D"),
        ([0, 1], "expected {'f'"),
        (([0, 0], [1, 1]), "expected {'f'"),
        ({"f": (0.3, 0.1)}, "bounds of f: found 0.3..0.1"),
        ({"f": 0.3}, "expected two numbers"),
        ({"D": (0.1, 0.2), "Dp": (0.01, 0.02)}, "expected the range of Dp above that of D"),
    ],
)
def test_bounds_of_another_form_are_refused(bounds, says):
    with pytest.raises(InputError) as error:
        IvimscAlgorithm(TEN, bounds=bounds)
    assert says in str(error.value)


@pytest.mark.parametrize("method", ["segmented", "nlls", "bayes", "ista", "scdnn"])
def test_every_method_keeps_bounds_and_the_shape_of_the_collection(volume, method):
    """The bounds that the collection tests with; a voxel and a volume, with njobs and without."""
    _, data = volume
    bounds = {"S0": [1.1, 1.3], "f": [0.2, 0.3], "Dp": [0.01, 0.02], "D": [0.0008, 0.0012]}
    algorithm = IvimscAlgorithm(
        TEN, bounds=bounds, initial_guess={"S0": 1, "f": 0.25, "Dp": 0.01, "D": 1e-3}, method=method
    )
    for found in (algorithm.osipi_fit(data, njobs=1), algorithm.osipi_fit_full_volume(data, TEN)):
        assert set(found) == set(algorithm.result_keys)
        for key, values in found.items():
            assert values.shape == data.shape[:-1]
            assert (np.isnan(values) | ((values >= bounds[key][0]) & (values <= bounds[key][1]))).all()
    assert algorithm.osipi_fit(data[0, 0, 0])["f"].shape == ()
    assert algorithm.deep_learning == (method == "scdnn") != algorithm.use_bounds["f"]


def test_attributes_are_those_of_the_base_class():
    algorithm = IvimscAlgorithm(list(TEN), initial_guess="liver")
    np.testing.assert_array_equal(algorithm.bvalues, TEN)
    np.testing.assert_array_equal(algorithm.thresholds, [200])
    assert algorithm.bounds == {"S0": [0.7, 1.3], "f": [0, 1], "Dp": [0.005, 0.2], "D": [0, 0.005]}
    assert algorithm.initial_guess == {"S0": 1, "f": 0.1, "Dp": 0.01, "D": 0.001} and algorithm.body_part == "liver"
    assert algorithm.use_bounds == {"f": True, "D": True, "Dp": True, "S0": False}
    assert not any(algorithm.use_initial_guess.values()) and not algorithm.stochastic


def test_a_contributor_names_the_method():
    class IVIMSC_segmented(IvimscAlgorithm):
        default_method = "segmented"

    algorithm = IVIMSC_segmented(bvalues=TEN, thresholds=[150])
    assert algorithm.method == "segmented" and algorithm.options["split"] == 150 and algorithm.supported_thresholds


def test_voxels_that_the_collection_masks(volume):
    """It sets their signals to NaN; its `osipi_fit` gives 0 for them, its other methods give what the fit gives."""
    _, data = volume
    data = data.copy()
    data[1] = np.nan
    algorithm = IvimscAlgorithm(TEN)
    for found, outside in ((algorithm.osipi_fit(data), 0), (algorithm.osipi_fit_full_volume(data), np.nan)):
        np.testing.assert_array_equal(found["D"][1], outside)
        assert (found["D"][[0, 2, 3, 4]] > 0).all()
    assert np.isnan(algorithm.ivim_fit(data[1, 0, 0])["f"])
