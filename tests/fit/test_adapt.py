"""``--model adapt`` end to end: the model beside the estimates, what is taken again, and data that cannot teach."""

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.device.launch import Launch, choose_device
from ivimsc.errors import DeviceError, InputError
from ivimsc.files import alone
from ivimsc.fit import FitJob, fit_file, fit_signals
from ivimsc.fit.adapt import Adapting, adapted_model
from ivimsc.fit.population import Told, population_of
from ivimsc.methods import METHODS
from ivimsc.models import read_model
from ivimsc.outcome import Outcome
from ivimsc.simulate import simulate_signals, write_phantom
from ivimsc.store import EstimateStore
from ivimsc.train import TrainJob, train_file
from tests.conftest import FIVE, TEN, as_voxels

SHORT = {"model": "adapt", "sights": "20000"}


def scan(n=400, snr=30.0, bvalues=TEN, seed=0):
    random = np.random.default_rng(seed)
    f, D, Dstar = (
        random.normal(0.3, 0.05, n),
        random.normal(1.6e-3, 0.2e-3, n),
        45e-3 * np.exp(random.normal(0, 0.2, n)),
    )
    clean = simulate_signals(np.full(n, 200.0), f, D, Dstar, bvalues)
    noise = 200 / snr * random.standard_normal((2, *clean.shape))
    return np.hypot(clean + noise[0], noise[1]).astype(np.float32), np.stack([f, D * 1e3, Dstar * 1e3], axis=1)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt")
    write_phantom(folder / "scan.h5", "uniform", snr=30, seed=1, voxels=400)
    return folder, fit_file(FitJob(folder / "scan.h5", "scdnn", folder, maps=False, settings=SHORT))


def test_the_model_is_kept_beside_the_estimates_and_fits_the_next_scan(fitted, tmp_path):
    folder, done = fitted
    path = folder / "scan_scdnn.safetensors"
    model = read_model(path)
    assert any(str(path) in note for note in done.notes) and any(note.startswith("population: ") for note in done.notes)
    assert model.finds_s0 and not model.general and model.about["training"]["sights"] == 20_000
    card = "\n".join(model.card())
    assert "population" in card and "SNR" in card and "trust:" in card
    again = fit_file(FitJob(folder / "scan.h5", "scdnn", tmp_path, maps=False, settings={"model": str(path)}))
    with EstimateStore(done.store) as one, EstimateStore(again.store) as two:
        for key in ("s0", "f", "d", "dstar", "fstd", "dstd", "dstarstd", "outcome"):
            np.testing.assert_array_equal(one[key][:], two[key][:])
    with pytest.raises(InputError, match="which the model was trained for"):
        fit_signals(scan(50, bvalues=FIVE)[0], FIVE, method="scdnn", model=str(path), sigma=1.0)
    with pytest.raises(InputError, match="finds S0"):
        fit_signals(scan(50)[0], TEN, method="scdnn", model=str(path), sigma=1.0, s0=1.0)


def test_what_is_there_is_refused_taken_again_or_replaced(fitted, tmp_path, monkeypatch):
    folder, _ = fitted
    job = {"input": folder / "scan.h5", "method": "scdnn", "out": tmp_path, "maps": False, "settings": SHORT}
    made = []
    monkeypatch.setattr("ivimsc.fit.adapt._made", _counted("ivimsc.fit.adapt._made", made))
    (tmp_path / "scan_scdnn.safetensors").write_bytes((folder / "scan_scdnn.safetensors").read_bytes())
    with pytest.raises(InputError, match="the model of an earlier fit"):
        fit_file(FitJob(**job))
    resumed = fit_file(FitJob(**job, resume=True))
    assert not made and any("of this data set" in note for note in resumed.notes)
    other = SHORT | {"seed": "1"}
    fit_file(FitJob(**job | {"settings": other}, force=True))
    assert len(made) == 1
    assert read_model(tmp_path / "scan_scdnn.safetensors").about["training"]["seed"] == 1


def _counted(name, calls):
    import importlib

    module, _, attribute = name.rpartition(".")
    original = getattr(importlib.import_module(module), attribute)

    def counted(*arguments):
        calls.append(arguments)
        return original(*arguments)

    return counted


def test_a_killed_adaptation_leaves_no_model_and_a_second_one_is_refused(fitted, tmp_path, monkeypatch):
    folder, _ = fitted
    job = FitJob(folder / "scan.h5", "scdnn", tmp_path, maps=False, settings=SHORT)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ivimsc.methods.scdnn.adapted.learner.learn_beside", killed)
        with pytest.raises(KeyboardInterrupt):
            fit_file(job)
    assert not list(tmp_path.glob("*")) and not list(tmp_path.glob(".*"))
    target = tmp_path / "scan_scdnn.safetensors"
    with alone(tmp_path / f".{target.name}.lock", target), pytest.raises(InputError, match="another process"):
        fit_file(job)


def test_in_memory_with_noise_given_and_nothing_kept():
    signals, truth = scan(600)
    signals[0] = np.nan
    e = fit_signals(signals, TEN, method="scdnn", model="adapt", sights=40_000, sigma=200 / 30)
    assert e.outcome[0] == Outcome.BAD_SIGNAL and np.isnan(e.fstd[0])
    found = np.stack([e.f, e.D * 1e3, e.Dstar * 1e3], axis=1)[1:]
    general = fit_signals(signals, TEN, method="scdnn", sigma=200 / 30)
    wide = np.stack([general.f, general.D * 1e3, general.Dstar * 1e3], axis=1)[1:]
    ours, theirs = (((x - truth[1:]) ** 2).mean(0) for x in (found, wide))
    assert np.all(ours < 0.7 * theirs), ours / theirs  # a narrow population: the wide prior of the general model costs


@pytest.mark.parametrize(("change", "says"), [
    (lambda y, b: (y[:, :4], b[:4]), "noise level: found 4 b-values"),
    (lambda y, b: (y[:, :3], b[:3]), "at least 4"),
    (lambda y, b: (0 * y, b), "no voxel with signal"),
    (lambda y, b: (np.full_like(y, np.nan), b), "no voxel with signal"),
])  # fmt: skip
def test_data_that_cannot_teach(change, says):
    signals, b = change(scan(50)[0], TEN)
    with pytest.raises(InputError, match=says):
        fit_signals(signals, b, method="scdnn", model="adapt")


def test_too_few_voxels_say_how_many_are_needed_and_what_is_used_instead():
    population, notes = population_of(as_voxels(scan(60)[0], TEN), Launch("cpu", 1))
    assert notes[0].startswith("warning: population: fixed and broad") and "60 voxels are too few" in notes[0]
    assert "(100 are enough)" in notes[0] and not population.about["learned"]
    # the medians of the broad prior, as docs/bayes.md has them
    np.testing.assert_allclose(np.median(population.theta, axis=0), (0.15, 1.2, 30.0), rtol=0.03)


def test_the_population_is_that_of_the_truth():
    signals, truth = scan(3000, snr=60.0)
    population, notes = population_of(as_voxels(signals, TEN), choose_device())
    assert notes[0].startswith("population: the population of 3000 voxels")
    usual = population.theta[population.usual]
    np.testing.assert_allclose(usual.mean(0), truth.mean(0), rtol=0.03)
    np.testing.assert_allclose(
        usual.std(0)[:2], truth.std(0)[:2], rtol=0.2
    )  # the prior of a spread counts as 20 voxels
    assert np.median(population.ratios) == pytest.approx(60, rel=0.05)
    given, _ = population_of(as_voxels(signals[:500], TEN), Launch("cpu", 1), Told(snr=60.0))
    assert np.all(given.ratios == 60)


class TestTrain:
    def test_a_store_whose_truth_is_not_looked_at(self, fitted, tmp_path, monkeypatch):
        folder, _ = fitted
        monkeypatch.setitem(__import__("sys").modules, "ivimsc.methods.mlp.network", None)  # torch is not needed
        words = ["train", "mlp", folder / "scan.h5", "--set", "population=data", "--set", "sights=20000", "--out", tmp_path / "m.safetensors"]  # fmt: skip
        assert main([str(w) for w in words]) == 0
        model = read_model(tmp_path / "m.safetensors")
        assert model.about["training"]["stores"] == ["scan.h5"] and model.finds_s0
        signals, truth = scan(300)
        e = fit_signals(signals, TEN, method="mlp", model=str(tmp_path / "m.safetensors"), sigma=200 / 30)
        assert np.mean((e.f - truth[:, 0]) ** 2) < 0.05**2 and np.all(e.fstd > 0)
        order = np.random.default_rng(0).permutation(300)
        np.testing.assert_allclose(fit_signals(signals[order], TEN, method="mlp", model=str(tmp_path / "m.safetensors"), sigma=200 / 30).f, e.f[order], rtol=1e-4)  # fmt: skip

    @pytest.mark.parametrize(("name", "more", "says"), [
        ("ivimnet", {}, "population of train ivimnet"),
        ("scdnn", {"epochs": 3}, "epochs: found 3"),
        ("scdnn", {"resume": True}, "resume: found True"),
        ("scdnn", {"settings": {"population": "truths"}}, "expected truth or data"),
        ("scdnn", {"settings": {"population": "data", "atoms": "100"}}, "found 'atoms'"),
        ("scdnn", {"stores": []}, "at least one"),
    ])  # fmt: skip
    def test_refused(self, fitted, tmp_path, name, more, says):
        job = {"name": name, "stores": [fitted[0] / "scan.h5"], "out": tmp_path / "m.safetensors", "settings": {"population": "data"}}  # fmt: skip
        with pytest.raises(InputError, match=says):
            train_file(TrainJob(**job | more))
        assert not list(tmp_path.iterdir())

    def test_no_gpu(self, fitted, tmp_path):
        with pytest.raises(DeviceError, match="learns on the CPU"):
            train_file(TrainJob("scdnn", [fitted[0] / "scan.h5"], tmp_path / "m.safetensors", device="cuda", settings={"population": "data"}))  # fmt: skip


def test_repeats_of_images_are_known_to_the_model():
    signals, _ = scan(300)
    voxels = as_voxels(signals, TEN)
    voxels.attrs["repeats"] = [1, 1, 1, 4, 4, 4, 8, 8, 8, 8]
    wanted = Adapting(Told(sigma=200 / 30), METHODS["scdnn"].load_adapting().Sights(sights=5000), 0)
    model, _ = adapted_model(METHODS["scdnn"], voxels, Launch("cpu", 1), wanted)
    assert model.about["weights"] == [1, 1, 1, 4, 4, 4, 8, 8, 8, 8]
