"""Model files: what is refused, and how learned methods take their signals. No torch needed."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file, fit_signals
from ivimsc.models import Model, read_model, write_model
from ivimsc.outcome import Outcome
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore, VoxelStore
from tests.conftest import FIVE, TEN, phantom

SIX = np.array([0, *FIVE])


def mlp(bvalues=FIVE, **about):
    """A network of one layer that returns constants and a slope: f = 0.1 + 0.1 y_0, D = 1, D* = 30 µm²/ms."""
    n = len(bvalues)
    weight = np.zeros((3, n), np.float32)
    weight[0, 0] = 0.1
    arrays = {"weight0": weight, "bias0": np.array([0.1, 1, 30], np.float32)}
    return Model("mlp", arrays, {"bvalues": list(map(float, bvalues)), "options": {}, "s0": "known"} | about)


class TestFiles:
    def test_round_trip(self, tmp_path):
        path = write_model(tmp_path / "m.safetensors", mlp(history={"validation": [1.0, 0.5]}))
        model = read_model(path)
        assert model.method == "mlp" and np.array_equal(model.arrays["bias0"], mlp().arrays["bias0"])
        assert model.about["history"] == {"validation": [1.0, 0.5]} and len(model.sha256) == 64
        with pytest.raises(InputError, match="force"):
            write_model(path, mlp())

    @pytest.mark.parametrize("keep", [0, 5, 60, 200])
    def test_truncated(self, tmp_path, keep):
        path = write_model(tmp_path / "m.safetensors", mlp())
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(InputError, match=r"m.safetensors: found no safetensors"):
            read_model(path)

    def test_foreign(self, tmp_path):
        (tmp_path / "text.safetensors").write_text("a model, surely")
        save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
        save_file({"a": np.zeros(3, np.float32)}, tmp_path / "odd.safetensors", {"ivimsc": '{"format": "x"}'})
        save_file({"a": np.zeros(3, np.float32)}, tmp_path / "list.safetensors", {"ivimsc": "[1, 2]"})
        for name, says in (("text", "no safetensors"), ("other", "another program"), ("odd", "another program"), ("list", "another program"), ("none", "No such file")):  # fmt: skip
            with pytest.raises(InputError, match=says):
                read_model(tmp_path / f"{name}.safetensors")

    def test_nan_and_newer(self, tmp_path):
        bad = mlp()
        bad.arrays["bias0"][1] = np.nan
        with pytest.raises(InputError, match="NaN"):
            read_model(write_model(tmp_path / "nan.safetensors", bad))
        path = write_model(tmp_path / "new.safetensors", mlp())
        path.write_bytes(path.read_bytes().replace(b'format_version\\": 1', b'format_version\\": 9'))
        with pytest.raises(InputError, match="newer"):
            read_model(path)


class TestSignals:
    def test_b0_supplies_s0(self):
        p = phantom(50, SIX)
        found = fit(7 * p.signals, SIX)
        np.testing.assert_allclose(found.S0, 7, rtol=1e-6)
        np.testing.assert_allclose(found.f, 0.1 + 0.1 * p.signals[:, 1] / p.signals[:, 0], rtol=1e-5)
        np.testing.assert_allclose([found.D[0], found.Dstar[0]], [1e-3, 30e-3], rtol=1e-6)

    def test_s0_given(self):
        p = phantom(50, FIVE)
        found = fit(7 * p.signals, FIVE, s0=7.0)
        np.testing.assert_allclose(found.f, 0.1 + 0.1 * p.signals[:, 0], rtol=1e-5)
        with pytest.raises(InputError, match="no b = 0"):
            fit(p.signals, FIVE)
        with pytest.raises(InputError, match="s0"):
            fit(p.signals, FIVE, s0=-1.0)

    def test_other_bvalues_are_refused(self):
        with pytest.raises(InputError, match=r"expected b = 20, 50, 150, 300, 500 s/mm²"):
            fit(phantom(5, TEN).signals, TEN)
        with pytest.raises(InputError, match="trained for"):
            fit(phantom(5, FIVE + 10).signals, FIVE + 10, s0=1.0)

    def test_bad_voxels_and_strange_ones(self):
        signals = phantom(6, SIX).signals
        signals[0, 2], signals[1, 3], signals[2, 0], signals[3, 0], signals[4] = np.nan, np.inf, 0, -1, 0
        found = fit(signals, SIX, about={"range": {"low": [0.0] * 5, "high": [1.0] * 5}})
        # the residuals of this made-up network are large, so that noise like them leaves f = 0 in doubt
        assert found.outcome.tolist() == [Outcome.BAD_SIGNAL] * 5 + [Outcome.DSTAR_UNIDENTIFIABLE]
        for name in ("S0", "f", "D", "Dstar", "rmse"):
            assert np.isnan(getattr(found, name)[:5]).all() and np.isfinite(getattr(found, name)[5])
        found = fit(phantom(6, SIX).signals, SIX, about={"range": {"low": [0.0] * 5, "high": [0.2] * 5}})
        assert set(found.outcome) == {Outcome.OUTSIDE_TRAINING} and np.isfinite(found.f).all()

    def test_no_voxel(self):
        assert fit(np.empty((0, 6), np.float32), SIX).f.shape == (0,)

    def test_picked_out_of_a_richer_protocol(self, tmp_path):
        write_phantom(tmp_path / "v.h5", "uniform", snr=30, seed=1, voxels=500)
        path = write_model(tmp_path / "m.safetensors", mlp())
        done = fit_file(
            FitJob(tmp_path / "v.h5", "mlp", tmp_path, bvalues=FIVE, maps=False, settings={"model": str(path)})
        )
        assert any("b = 0" in note for note in done.notes) and any("m.safetensors" in note for note in done.notes)
        with VoxelStore(tmp_path / "v.h5") as voxels, EstimateStore(done.store) as estimates:
            signals = voxels.read(0, 500)
            np.testing.assert_allclose(estimates["s0"][:], signals[:, 0], rtol=1e-6)
            np.testing.assert_allclose(estimates["f"][:], 0.1 + 0.1 * signals[:, 2] / signals[:, 0], rtol=1e-5)

    def test_no_model_and_the_wrong_one(self, tmp_path):
        path = write_model(tmp_path / "m.safetensors", mlp())
        with pytest.raises(InputError, match="expected MODEL.safetensors"):
            fit_signals(phantom(5, SIX).signals, SIX, method="mlp")
        with pytest.raises(InputError, match="found a model of mlp, expected one of ivimnet"):
            fit_signals(phantom(5, SIX).signals, SIX, method="ivimnet", model=str(path))


def fit(signals, bvalues, about=None, **options):
    from ivimsc.device.launch import choose_device
    from ivimsc.methods import Inputs, load_method, make_options
    from tests.conftest import as_voxels

    module, voxels = load_method("mlp"), as_voxels(signals, bvalues)
    given = Inputs({"model": mlp(**(about or {}))})
    return module.prepare(voxels, make_options(module, options), choose_device("cpu", 1), given).fit(voxels.signals)


def test_another_model_of_the_same_name_is_not_resumed(tmp_path):
    write_phantom(tmp_path / "v.h5", "uniform", snr=30, seed=1, voxels=50, bvalues=SIX)
    path = write_model(tmp_path / "m.safetensors", mlp())
    job = {"maps": False, "settings": {"model": str(path)}}
    fit_file(FitJob(tmp_path / "v.h5", "mlp", tmp_path, **job))
    fit_file(FitJob(tmp_path / "v.h5", "mlp", tmp_path, resume=True, **job))  # the same: nothing to do
    other = mlp()
    other.arrays["bias0"][1] = 2
    write_model(path, other, force=True)
    with pytest.raises(InputError, match="another fit"):
        fit_file(FitJob(tmp_path / "v.h5", "mlp", tmp_path, resume=True, **job))


@pytest.mark.parametrize(("change", "says"), [
    (lambda m: m.arrays.pop("bias0"), "found no bias0"),
    (lambda m: m.about.update(bvalues=[0.0, 100.0, 500.0]), "weights for 5 b-values, expected 3"),
])  # fmt: skip
def test_damaged_weights_are_told_in_one_line(tmp_path, change, says):
    model = mlp()
    change(model)
    with pytest.raises(InputError, match=says):
        fit_signals(
            phantom(5, SIX).signals, SIX, method="mlp", model=str(write_model(tmp_path / "m.safetensors", model))
        )
