"""The adapter for dipy gives what `fit_signals` gives, under the names and in the order of dipy."""

import numpy as np
import pytest

from ivimsc.adapters.dipy import IvimModel
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
