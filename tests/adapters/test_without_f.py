"""Adapters of a method that does not fit f and D*."""

import numpy as np
import pytest

from ivimsc.adapters import dipy, osipi
from ivimsc.adapters.dipy import IvimModel
from ivimsc.adapters.osipi import IvimscAlgorithm
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from tests.conftest import TEN


def test_a_method_without_f_and_dstar(monkeypatch):
    """As a mono-exponential method: what it has not is told in one line, the signals are those of S0 and D."""
    S0, D = np.array([2.0, 3.0]), np.array([1e-3, 2e-3])
    found = Estimates(S0=S0, f=None, D=D, Dstar=None, rmse=np.zeros(2), outcome=np.ones(2, np.uint8))
    for module in (dipy, osipi):
        monkeypatch.setattr(module, "fit_signals", lambda *_, **__: found)
    monkeypatch.setattr(dipy, "option_names", lambda method: set())
    fit = IvimModel(TEN, method="mono").fit(np.ones((2, 10)))
    np.testing.assert_array_equal(fit.D, D)
    with pytest.raises(InputError, match="^f: found none, expected a method that fits it: mono does not"):
        fit.perfusion_fraction
    np.testing.assert_allclose(fit.predict([0, 100.0]), S0[:, None] * np.exp(-D[:, None] * [0, 100.0]), rtol=1e-12)
    volume = IvimscAlgorithm(TEN).ivim_fit_full_volume(np.ones((2, 10)))
    assert volume.keys() == {"D"}
    np.testing.assert_array_equal(volume["D"], D)
