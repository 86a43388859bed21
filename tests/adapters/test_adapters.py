"""The adapters give what `fit_signals` gives, in the shapes and under the names of dipy and OSIPI."""

import numpy as np
import pytest

from ivimsc.adapters import dipy, osipi
from ivimsc.adapters.dipy import IvimModel
from ivimsc.adapters.osipi import IvimscAlgorithm
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from tests.conftest import TEN, phantom


@pytest.fixture
def volume():
    p = phantom(60)
    return p, p.signals.reshape(5, 4, 3, 10)


def test_dipy_names_shapes_and_prediction(volume):
    p, data = volume
    gradients = pytest.importorskip("dipy.core.gradients")
    bvecs = np.tile([1.0, 0, 0], (10, 1)) * (TEN > 0)[:, None]
    gtab = gradients.gradient_table(TEN, bvecs=bvecs, b0_threshold=0)
    fit = IvimModel(gtab).fit(data)
    for values, truth in ((fit.perfusion_fraction, p.f), (fit.D, p.D), (fit.D_star, p.Dstar), (fit.S0_predicted, p.S0)):
        np.testing.assert_allclose(values.ravel(), truth, rtol=2e-3)
    assert fit.model_params.shape == (5, 4, 3, 4)
    np.testing.assert_allclose(fit.predict(), data, atol=1e-5)
    assert fit.predict(np.array([0, 400.0])).shape == (5, 4, 3, 2)


def test_a_mask_leaves_0_outside(volume):
    _, data = volume
    mask = np.zeros((5, 4, 3))
    mask[1:3] = 1
    fit = IvimModel(TEN, threads=1).fit(data, mask=mask)
    assert np.all((fit.outcome > 0) == (mask > 0)) and np.all(fit.D[mask == 0] == 0)
    with pytest.raises(InputError, match="mask: found shape"):
        IvimModel(TEN).fit(data, mask=mask[0])


def test_osipi_keys_bounds_and_thresholds(volume):
    p, data = volume
    one = IvimscAlgorithm(bvalues=TEN).ivim_fit(data[0, 0, 0])
    assert set(one) == {"f", "Dp", "D"} and one["f"] == pytest.approx(p.f[0], abs=1e-4)
    many = IvimscAlgorithm(bounds={"f": (0, 1), "D": (0, 3e-3), "Dp": (5e-3, 0.05), "S0": (0, 2)}).ivim_fit_full_volume(
        data, TEN
    )
    assert many["Dp"].shape == (5, 4, 3) and many["Dp"].max() <= 0.05 * (1 + 1e-6)
    assert IvimscAlgorithm(TEN, thresholds=[150], method="segmented").options["split"] == 150
    with pytest.raises(InputError, match="bvalues: found none"):
        IvimscAlgorithm().ivim_fit(data[0, 0, 0])


def test_a_method_without_f_and_dstar(monkeypatch):
    """As a mono-exponential method: what it has not is told in one line, the signals are those of S0 and D."""
    S0, D = np.array([2.0, 3.0]), np.array([1e-3, 2e-3])
    found = Estimates(S0=S0, f=None, D=D, Dstar=None, rmse=np.zeros(2), outcome=np.ones(2, np.uint8))
    for module in (dipy, osipi):
        monkeypatch.setattr(module, "fit_signals", lambda *_, **__: found)
    fit = IvimModel(TEN, method="mono").fit(np.ones((2, 10)))
    np.testing.assert_array_equal(fit.D, D)
    with pytest.raises(InputError, match="^f: found none, expected a method that fits it: mono does not"):
        fit.perfusion_fraction
    np.testing.assert_allclose(fit.predict([0, 100.0]), S0[:, None] * np.exp(-D[:, None] * [0, 100.0]), rtol=1e-12)
    volume = IvimscAlgorithm(TEN).ivim_fit_full_volume(np.ones((2, 10)))
    assert volume.keys() == {"D"}
    np.testing.assert_array_equal(volume["D"], D)
