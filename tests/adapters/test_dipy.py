"""The adapter for dipy gives what `fit_signals` gives, under the names and in the order of dipy."""

import numpy as np
import pytest

from ivimsc.adapters.dipy import IvimModel, ivim_prediction
from ivimsc.errors import InputError
from tests.conftest import TEN, equation1, phantom


@pytest.fixture
def volume():
    p = phantom(60)
    return p, p.signals.reshape(5, 4, 3, 10)


def test_names_shapes_and_prediction(volume):
    p, data = volume
    fit = IvimModel(TEN).fit(data)
    for values, truth in ((fit.perfusion_fraction, p.f), (fit.D, p.D), (fit.D_star, p.Dstar), (fit.S0_predicted, p.S0)):
        assert values.shape == (5, 4, 3)
        np.testing.assert_allclose(values.ravel(), truth, rtol=2e-3)  # float32 signals
    np.testing.assert_allclose(fit.predict(), data, atol=1e-5)
    expected = equation1(p.S0, p.f, p.D, p.Dstar, np.array([0, 400.0])).reshape(5, 4, 3, 2)
    np.testing.assert_allclose(fit.predict(np.array([0, 400.0])), expected, atol=1e-5)


def test_dipys_own_prediction_reads_our_parameters(volume):
    """The order of `model_params` is dipy's, S0, f, D*, D: its own model turns them back into the signals."""
    gradients = pytest.importorskip("dipy.core.gradients")
    from dipy.reconst.ivim import ivim_prediction

    p, data = volume
    bvecs = np.tile([1.0, 0, 0], (10, 1)) * (TEN > 0)[:, None]
    gtab = gradients.gradient_table(TEN, bvecs=bvecs, b0_threshold=0)
    parameters = IvimModel(gtab).fit(data).model_params
    truth = np.stack([p.S0, p.f, p.Dstar, p.D], axis=-1).reshape(5, 4, 3, 4)
    np.testing.assert_allclose(parameters, truth, rtol=2e-3)
    predicted = np.stack([ivim_prediction(row, gtab) for row in parameters.reshape(-1, 4).astype(np.float64)])
    np.testing.assert_allclose(predicted.reshape(data.shape), data, atol=1e-5)


def test_options_reach_the_fit(volume):
    _, data = volume
    fit = IvimModel(TEN, d_bounds=(0, 1e-3)).fit(data)
    assert 0.9e-3 < fit.D.max() <= 1e-3 * (1 + 1e-6)


def test_a_mask_leaves_0_outside(volume):
    p, data = volume
    mask = np.zeros((5, 4, 3))
    mask[1:3] = 1
    fit = IvimModel(TEN, threads=1).fit(data, mask=mask)
    np.testing.assert_array_equal(fit.outcome > 0, mask > 0)
    np.testing.assert_array_equal(fit.D[mask == 0], 0)
    np.testing.assert_allclose(fit.D[mask > 0], p.D.reshape(5, 4, 3)[mask > 0], rtol=2e-3)
    np.testing.assert_array_equal(fit.predict()[mask == 0], 0)
    with pytest.raises(InputError, match="mask: found shape"):
        IvimModel(TEN).fit(data, mask=mask[0])


def test_a_script_that_changes_the_import_alone_runs(volume):
    """What scripts for dipy do with a model and a fit; b-values stand for the gradient table."""
    p, data = volume
    with pytest.warns(UserWarning, match=r"fit_method='trr', split_b_D, two_stage: left aside, nlls of ivimsc fits"):
        model = IvimModel(TEN, fit_method="trr", split_b_D=400.0, two_stage=False)
    fit = model.fit(data, engine="serial", verbose=False)
    assert fit.shape == (5, 4, 3)
    np.testing.assert_array_equal(fit.predict(TEN, S0=1.0), fit.predict())
    np.testing.assert_allclose(model.predict(fit.model_params, TEN), fit.predict(), rtol=1e-6)
    np.testing.assert_allclose(model.predict(fit.model_params[2, 1, 0], TEN, S0=7.0), data[2, 1, 0], atol=1e-5)
    np.testing.assert_allclose(ivim_prediction(fit.model_params, TEN), fit.predict(), rtol=1e-6)
    with pytest.raises(InputError, match="^fit: found weights"):
        model.fit(data, weights=1)


@pytest.mark.parametrize("index", [(1, 2, 0), (1, 2), (slice(1, 3), 0), ..., -1, (slice(None), slice(None), [0, 2])])
def test_indices_are_those_of_the_volume(volume, index):
    _, data = volume
    mask = np.ones((5, 4, 3), bool)
    mask[1, 2, 0] = mask[4] = False
    fit = IvimModel(TEN).fit(data, mask)
    part = fit[index]
    assert part.shape == fit.D[index].shape
    np.testing.assert_array_equal(part.model_params, fit.model_params[index])
    np.testing.assert_array_equal(part.outcome, fit.outcome[index])
    np.testing.assert_array_equal(part.predict(), fit.predict()[index])


def test_one_voxel(volume):
    _, data = volume
    fit = IvimModel(TEN).fit(data[0, 0, 0])
    assert fit.shape == () and isinstance(fit.D, np.floating) and fit.model_params.shape == (4,)
    with pytest.raises(IndexError):
        fit[0]


@pytest.mark.parametrize("rows", [([0.0, 0.1, 0.0, 0.0], [np.inf, 0.3, 1.0, 1.0]), ([0.1, 0.0, 0.0], [0.3, 1.0, 1.0])])
def test_bounds_are_dipys(volume, rows):
    """Its default ranges of D and D* are the same, 0 to 1 mm²/s; D stays below D*."""
    _, data = volume
    fit = IvimModel(TEN, bounds=rows).fit(data)
    assert fit.perfusion_fraction.min() >= 0.1 * (1 - 1e-6) and fit.perfusion_fraction.max() <= 0.3 * (1 + 1e-6)
    assert (fit.D < fit.D_star).all()


def test_masked_values_are_missing():
    bvalues = np.r_[0.0, 0, TEN]
    data = equation1(1.0, 0.2, 1e-3, 0.03, bvalues)[None].repeat(2, axis=0)
    data[0, 1] = 50
    with pytest.warns(UserWarning, match="1 voxel has volumes"):
        fit = IvimModel(bvalues).fit(np.ma.masked_greater(data, 10))
    np.testing.assert_allclose(fit.S0_predicted, 1, rtol=2e-3)
