"""docs/extending.md: the method that it adds works, everywhere that methods work."""

import importlib
import sys

import numpy as np
import pytest

import ivimsc
from ivimsc import methods
from ivimsc.cli import app
from ivimsc.fit import FitJob, fit_file
from ivimsc.store import write_voxels
from tests.conftest import TEN, as_voxels, equation1, phantom
from tests.docs.test_examples import DOCS, examples


@pytest.fixture
def logline(tmp_path, monkeypatch):
    """The folder of the page, and its line in the registry."""
    folder = tmp_path / "methods" / "logline"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A straight line through the logarithm."""\n')
    (folder / "method.py").write_text(examples(DOCS / "extending.md")[0], encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder.parent)])
    monkeypatch.setitem(methods.METHODS, "logline", methods.Method("logline"))
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.startswith("ivimsc.methods.logline")]:
        del sys.modules[name]


def test_it_is_the_line_of_numpy(logline):
    p = phantom(200, snr=50, seed=4)
    fit = ivimsc.fit_signals(p.signals, TEN, "logline", from_b=100)
    slope, intercept = np.polyfit(TEN[TEN >= 100], np.log(p.signals[:, TEN >= 100].astype(float)).T, 1)
    np.testing.assert_allclose(fit.D, np.clip(-slope, 0, 5e-3), rtol=1e-5, atol=1e-9)  # results are float32
    np.testing.assert_allclose(fit.S0, np.exp(intercept), rtol=1e-5)
    assert fit.f is None and fit.Dstar is None


def test_endings_options_and_protocols_are_told(logline):
    signals = equation1(np.full(4, 800.0), 0.0, np.array([1e-3, 1e-3, 0.0, 9e-3]), 0.05, TEN)
    signals[1, 3] = np.nan
    fit = ivimsc.fit_signals(signals, TEN, "logline")
    assert fit.outcome.tolist() == [1, 5, 2, 2] and np.isnan(fit.D[1])
    with pytest.raises(ivimsc.InputError, match="option of logline: found 'from', expected one of from_b"):
        ivimsc.fit_signals(signals, TEN, "logline", **{"from": 1})
    with pytest.raises(ivimsc.InputError, match="from_b of logline: found -1, expected a b-value >= 0"):
        ivimsc.fit_signals(signals, TEN, "logline", from_b=-1.0)
    with pytest.raises(ivimsc.InputError, match="logline: found 1 distinct b-value"):
        ivimsc.fit_signals(signals, TEN, "logline", from_b=400.0)


def test_the_commands_know_it(logline, tmp_path, capsys):
    write_voxels(tmp_path / "v.h5", as_voxels(phantom(300, snr=50).signals, TEN))
    done = fit_file(FitJob(tmp_path / "v.h5", "logline", tmp_path / "out", device="cpu", chunk=77))
    whole = ivimsc.fit_signals(phantom(300, snr=50).signals, TEN, "logline")
    with ivimsc.EstimateStore(done.store) as store:
        np.testing.assert_array_equal(store["d"], whole.D)
    assert {path.name.split("_param-")[1].split("_")[0] for path in done.maps} >= {"s0", "d", "rmse", "outcome"}
    app(["info", "logline"], standalone_mode=False)
    assert "from_b" in capsys.readouterr().out
