"""Training from stores to a model file, and what is refused."""

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.errors import DeviceError, InputError, IvimscError
from ivimsc.fit import FitJob, fit_file, fit_signals
from ivimsc.models import read_model
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore, VoxelStore, write_voxels
from ivimsc.train import TrainJob, train_file
from ivimsc.training.loop import Schedule
from ivimsc.voxels import Geometry, Voxels
from tests.conftest import FIVE, equation1
from tests.store.makers import changed_store

SIX = [0, 20, 50, 150, 300, 500]
SMALL = {"scdnn": {"atoms": 40, "units": 2}, "mlp": {"width": 16}, "ivimnet": {"width": 8}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "voxels.h5"
    write_phantom(path, "uniform", bvalues=SIX, snr=40, seed=1, voxels=6000)
    return path


def job(store, out, name="scdnn", **changes):
    settings = SMALL[name] | {"epoch_voxels": 3000, "warm_up": 1} | changes.pop("settings", {})
    return TrainJob(name, [store], out, **({"bvalues": FIVE, "epochs": 3} | changes), settings=settings)


@pytest.mark.parametrize("name", list(SMALL))
class TestEveryNetwork:
    def test_the_file_says_all_that_is_needed(self, store, tmp_path, name):
        done = train_file(job(store, tmp_path / "m.safetensors", name, seed=3))
        model = read_model(done.path)
        assert model.method == name and model.bvalues.tolist() == FIVE.tolist()
        assert model.about["training"]["seed"] == 3 and model.about["training"]["voxels"] == 5400
        assert model.about["training"]["stores"] == ["voxels.h5"]
        assert len(done.history["train"]) == len(model.about["history"]["validation"]) == 3
        assert any("20, 50, 150, 300, 500" in line for line in model.card())

    def test_a_seed_gives_the_same_weights_and_another_does_not(self, store, tmp_path, name):
        models = [
            train_file(job(store, tmp_path / f"{i}.safetensors", name, seed=s)).model for i, s in enumerate((1, 1, 2))
        ]
        same, other = ([np.array_equal(models[0].arrays[k], m.arrays[k]) for k in models[0].arrays] for m in models[1:])
        assert all(same) and not all(other)

    def test_killed_and_resumed_it_ends_in_the_same_weights(self, store, tmp_path, name):
        whole = train_file(job(store, tmp_path / "whole.safetensors", name)).model

        class Killed(Exception):
            pass

        def stop(done, _):
            if done == 2:
                raise Killed

        with pytest.raises(Killed):
            train_file(job(store, tmp_path / "part.safetensors", name), progress=stop)
        assert not (tmp_path / "part.safetensors").exists()
        resumed = train_file(job(store, tmp_path / "part.safetensors", name, resume=True)).model
        for key, array in whole.arrays.items():
            assert np.array_equal(array, resumed.arrays[key])
        assert sorted(p.name for p in tmp_path.iterdir()) == ["part.safetensors", "whole.safetensors"]

    def test_fit_without_torch_is_what_torch_computes(self, store, tmp_path, name):
        from ivimsc.training import loop as training

        kept = {}
        original = training.train
        try:
            training.train = lambda network, *rest, **more: kept.setdefault("h", (original(network, *rest, **more), kept.setdefault("n", network)))[0]  # fmt: skip
            done = train_file(job(store, tmp_path / "m.safetensors", name))
        finally:
            training.train = original
        with VoxelStore(store) as voxels:
            signals = voxels.read(0, 500)[:, 1:]
        estimates = fit_signals(signals, FIVE, method=name, model=str(done.path), s0=1.0)
        with torch.no_grad():
            expected = kept["n"].eval()(torch.tensor(np.ascontiguousarray(signals))).numpy()
        columns = expected[:, 1:] if name == "ivimnet" else expected
        for found, column, unit in zip(
            (estimates.f, estimates.D, estimates.Dstar), columns.T, (1, 1e3, 1e3), strict=True
        ):
            np.testing.assert_allclose(found * unit, column, rtol=1e-5, atol=1e-5 * np.abs(column).max())

    def test_permuted_voxels_permute_the_estimates(self, store, tmp_path, name):
        done = train_file(job(store, tmp_path / "m.safetensors", name, epochs=1))
        with VoxelStore(store) as voxels:
            signals = voxels.read(0, 300)
        order = np.random.default_rng(0).permutation(300)
        one = fit_signals(signals, SIX, method=name, model=str(done.path))
        two = fit_signals(signals[order], SIX, method=name, model=str(done.path))
        # matrix products of BLAS may round differently in another place of a batch
        np.testing.assert_allclose(two.f, one.f[order], rtol=1e-5, atol=1e-6)


class TestRefused:
    @pytest.mark.parametrize(("changes", "says"), [
        ({"settings": {"atoms": 7}}, "even number"),
        ({"settings": {"units": 0}}, "at least 1"),
        ({"settings": {"magic": 1}}, "magic"),
        ({"settings": {"fraction": 0.00001}}, "some to train on and some to validate"),
        ({"settings": {"validation": 1.0}}, "validation"),
        ({"settings": {"rate": "fast"}}, "float"),
        ({"epochs": 0}, "epochs"),
        ({"bvalues": np.array([20, 70.0])}, "70"),
        ({"bvalues": np.array([20, 500.0])}, "at least 3"),
        ({"settings": {"variant": "general"}, "bvalues": None}, "general"),
    ])  # fmt: skip
    def test_settings(self, store, tmp_path, changes, says):
        with pytest.raises(InputError, match=says):
            train_file(job(store, tmp_path / "m.safetensors", **changes))
        assert not list(tmp_path.iterdir())

    def test_names(self, store, tmp_path):
        with pytest.raises(InputError, match="magic"):
            train_file(TrainJob("magic", [store], tmp_path / "m.safetensors"))
        with pytest.raises(InputError, match="safetensors"):
            train_file(TrainJob("mlp", [store], tmp_path / "m.pt"))
        with pytest.raises(InputError, match="no voxel store"):
            train_file(TrainJob("mlp", [], tmp_path / "m.safetensors"))

    def test_all_voxels_bad(self, store, tmp_path):
        (tmp_path / "nan.h5").write_bytes(store.read_bytes())
        with changed_store(tmp_path / "nan.h5") as file:
            file["signals"][:, 2] = np.nan
        with pytest.raises(InputError, match="nan.h5: found no voxel to learn from"):
            train_file(job(tmp_path / "nan.h5", tmp_path / "m.safetensors"))

    def test_no_truth(self, store, tmp_path):
        (tmp_path / "blind.h5").write_bytes(store.read_bytes())
        with changed_store(tmp_path / "blind.h5") as file:
            del file["truth"]
        with pytest.raises(InputError, match="blind.h5: found a store without truth"):
            train_file(job(tmp_path / "blind.h5", tmp_path / "m.safetensors"))
        done = train_file(job(tmp_path / "blind.h5", tmp_path / "u.safetensors", "ivimnet", epochs=1))  # needs none
        assert done.path.exists()

    def test_an_earlier_model_stays_without_force(self, store, tmp_path):
        out = tmp_path / "m.safetensors"
        train_file(job(store, out, "mlp", epochs=1))
        before = out.read_bytes()
        with pytest.raises(InputError, match="force"):
            train_file(job(store, out, "mlp", epochs=1))
        assert out.read_bytes() == before

    def test_the_checkpoint_of_another_training(self, store, tmp_path):
        def stop(done, _):
            raise KeyboardInterrupt

        out = tmp_path / "m.safetensors"
        with pytest.raises(KeyboardInterrupt):
            train_file(job(store, out, "mlp"), progress=stop)
        with pytest.raises(InputError, match="another training"):
            train_file(job(store, out, "mlp", seed=9, resume=True))
        checkpoint = next(tmp_path.glob(".*.checkpoint"))
        whole = checkpoint.read_bytes()
        head, _, content = whole.partition(b"\n")
        state = torch.load(io.BytesIO(content), weights_only=True)
        damaged = [whole[:100], b"", whole[:-2000], b"\0" * len(whole), head, content]
        for place in (20, 90, 300, len(whole) // 2, len(whole) - 30):  # single bits, which torch would not see
            damaged.append(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        for content in (3, {}, state | {"network": {}}, state | {"kept": None}, state | {"history": {"train": []}}, state | {"optimiser": {}}):  # fmt: skip
            buffer = io.BytesIO()
            torch.save(content, buffer)
            sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
            damaged.append(f"ivimsc-checkpoint {sha256}\n".encode() + buffer.getvalue())
        for content in damaged:
            checkpoint.write_bytes(content)
            with pytest.raises(InputError, match="no readable checkpoint") as told:
                train_file(job(store, out, "mlp", resume=True))
            assert "\n" not in str(told.value)
        checkpoint.write_bytes(whole)
        assert len(train_file(job(store, out, "mlp", resume=True)).history["train"]) == 3

    def test_a_full_disk_leaves_nothing_half_written(self, store, tmp_path, monkeypatch):
        def full(path, data):
            with open(path, "wb") as file:
                file.write(bytes(data)[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(IvimscError, match="checkpoint: No space left on device$"):
            train_file(job(store, tmp_path / "m.safetensors", "mlp"))
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("put", ["link", "dangling", "pipe"])
    def test_nothing_is_written_through_what_lies_under_the_names_of_a_training(self, store, tmp_path, put):
        other = tmp_path / "other"
        for name in (
            ".m.safetensors.lock",
            ".m.safetensors.tmp",
            "..m.safetensors.checkpoint.tmp",
            ".m.safetensors.checkpoint",
        ):
            other.write_text("mine")
            if put == "pipe":
                os.mkfifo(tmp_path / name)
            else:
                (tmp_path / name).symlink_to(other if put == "link" else tmp_path / "none")
            wanted = job(store, tmp_path / "m.safetensors", "mlp", epochs=1, resume=put == "pipe")
            if name.endswith(".checkpoint"):  # a finished file takes its place
                train_file(wanted)
            else:
                with pytest.raises(InputError, match="found a symbolic link|found something else than a plain file"):
                    train_file(wanted)
            assert other.read_text() == "mine" and not (tmp_path / "none").exists()
            for path in tmp_path.iterdir():
                path.unlink()

    def test_a_model_that_another_training_finished_meanwhile_is_told_before_the_work(
        self, store, tmp_path, monkeypatch
    ):
        from ivimsc import train as stage

        wanted = job(store, tmp_path / "m.safetensors", "mlp", epochs=1)
        monkeypatch.setattr(stage, "_check_out", lambda job: job.out.write_bytes(b"theirs"))
        with pytest.raises(InputError, match="m.safetensors: found an existing file"):
            train_file(wanted, say=lambda line: pytest.fail(line))
        assert wanted.out.read_bytes() == b"theirs"

    def test_a_second_training_of_the_same_model(self, store, tmp_path):
        from ivimsc.files import alone

        wanted = job(store, tmp_path / "m.safetensors", "mlp", epochs=1)
        with alone(wanted.lock, wanted.out), pytest.raises(InputError, match="another process that writes it"):
            train_file(wanted)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("device", ["tpu", "cpu:1", "meta"])
    def test_an_unknown_device(self, store, tmp_path, device):
        with pytest.raises(DeviceError, match="expected auto, cpu or cuda"):
            train_file(job(store, tmp_path / "m.safetensors", device=device))

    def test_a_gpu_by_a_number_that_is_not_there(self, store, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        with pytest.raises(DeviceError, match="'cuda:2', expected cuda:0 to cuda:1"):
            train_file(job(store, tmp_path / "m.safetensors", device="cuda:2"))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_missing_gpu_is_an_error(self, store, tmp_path):
        with pytest.raises(DeviceError, match="cuda"):
            train_file(job(store, tmp_path / "m.safetensors", device="cuda"))


def test_the_rate_rises_and_falls():
    schedule = Schedule(epochs=10, rate=1.0, warm_up=3)
    rates = [schedule.rate_at(e) for e in np.linspace(0, 10, 101)]
    assert rates[0] == 0 and rates[30] == pytest.approx(1) and rates[-1] == pytest.approx(0, abs=1e-12)
    assert np.all(np.diff(rates[:31]) > 0) and np.all(np.diff(rates[30:]) < 0)


@pytest.mark.parametrize(("bad", "warned"), [(600, False), (3500, True)])
def test_bad_voxels_are_counted_in_a_line_and_over_half_of_them_in_a_warning(store, tmp_path, bad, warned):
    (tmp_path / "v.h5").write_bytes(store.read_bytes())
    with changed_store(tmp_path / "v.h5") as file:
        file["signals"][:bad, 2] = np.nan
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        done = train_file(job(tmp_path / "v.h5", tmp_path / "m.safetensors", "mlp", epochs=1), say=lines.append)
    assert lines[0] == f"left out: {bad:,} of 6,000 voxels: {bad:,} with NaN, Inf, S0 <= 0 or no signal"
    assert done.model.about["training"]["left_out"] == bad
    texts = [str(w.message) for w in told if "cannot teach" in str(w.message)]
    assert texts == ([f"{bad:,} of 6,000 voxels cannot teach and are left out: is a mask missing?"] if warned else [])


def test_the_defaults_of_ivimnet_train_to_the_end_on_one_scan(tmp_path):
    """Some hundred voxels without truth: D is much better than a constant, and the loss no longer falls."""
    random = np.random.default_rng(3)
    n, b = 800, np.array([0, 20, 50, 100, 200, 400, 600, 800.0])
    truth = np.ones(n), random.uniform(0.1, 0.4, n), random.uniform(0.8e-3, 2e-3, n), random.uniform(0.02, 0.08, n)
    signals = (1000 * equation1(*truth, b) + random.normal(0, 20, (n, 8))).astype(np.float32)
    geometry = Geometry((n, 1, 1), np.eye(4))
    index = np.stack([np.arange(n), 0 * np.arange(n), 0 * np.arange(n)], 1).astype(np.int32)
    write_voxels(tmp_path / "v.h5", Voxels(signals, b, index, geometry))
    done = train_file(TrainJob("ivimnet", [tmp_path / "v.h5"], tmp_path / "m.safetensors"))
    losses = done.history["validation"]
    assert len(losses) == 50 or losses.index(min(losses)) == len(losses) - 11
    e = fit_signals(signals, b, method="ivimnet", model=str(done.path))
    error = np.sqrt(np.mean((e.D - truth[2]) ** 2))
    assert error < 0.35 * truth[2].std(), (
        error
    )  # 0.26 where training is at its end, 2.7 after 10 epochs at a rate of 1e-4


def test_early_stop_waits_for_its_patience(store, tmp_path):
    done = train_file(job(store, tmp_path / "m.safetensors", "mlp", epochs=40, settings={"patience": 2, "rate": 0.3}))
    losses = done.history["validation"]
    assert len(losses) < 40 and losses.index(min(losses)) == len(losses) - 3


def test_a_minute_of_training_beats_ista(tmp_path):
    for name, seed, n in (("train", 1, 60_000), ("test", 2, 20_000)):
        write_phantom(tmp_path / f"{name}.h5", "uniform", bvalues=SIX, snr=30, seed=seed, voxels=n)
    settings = {"atoms": 200, "units": 4, "rate": 1e-3, "warm_up": 1}
    done = train_file(
        TrainJob("scdnn", [tmp_path / "train.h5"], tmp_path / "m.safetensors", FIVE, 6, settings=settings)
    )
    assert done.seconds < 60
    errors = {}
    for method, options in (("scdnn", {"model": str(done.path), "s0": "1"}), ("ista", {})):
        fitted = fit_file(FitJob(tmp_path / "test.h5", method, tmp_path, bvalues=FIVE, maps=False, settings=options))
        with EstimateStore(fitted.store) as estimates, VoxelStore(tmp_path / "test.h5") as voxels:
            errors[method] = [float(np.nanmean((estimates[k][:] - voxels.truth[k]) ** 2)) for k in ("f", "d", "dstar")]
    assert all(learned < 0.9 * fixed for learned, fixed in zip(errors["scdnn"], errors["ista"], strict=True)), errors


WITHOUT_TORCH = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "tensorboard"):
            raise ImportError("no torch here")
sys.meta_path.insert(0, Finder())
from ivimsc.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("method", ["segmented", "nlls", "ista", "bayes", "mlp", "scdnn"])
def test_fitting_needs_no_torch(store, tmp_path, method):
    more = []
    if method in ("mlp", "scdnn"):
        train_file(job(store, tmp_path / "m.safetensors", method, epochs=1))
        more = ["--model", tmp_path / "m.safetensors", "--bvalues", "20,50,150,300,500"]
    words = ["fit", store, "--method", method, "--out", tmp_path / "out", "--no-maps", *more]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_training_says_that_torch_is_missing(store, tmp_path):
    words = ["train", "mlp", store, "--out", tmp_path / "m.safetensors"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 2 and "ivimsc[learn]" in done.stderr and "Traceback" not in done.stderr


def test_tensorboard_on_request(store, tmp_path):
    pytest.importorskip("tensorboard")
    train_file(job(store, tmp_path / "m.safetensors", "mlp", epochs=1, tensorboard=tmp_path / "log"))
    assert list((tmp_path / "log").glob("events*"))


def test_metadata_are_one_json_text(store, tmp_path):
    from safetensors import safe_open

    done = train_file(job(store, tmp_path / "m.safetensors", "mlp", epochs=1))
    with safe_open(done.path, "numpy") as file:
        about = json.loads(file.metadata()["ivimsc"])
    assert about["format"] == "ivimsc-model" and about["method"] == "mlp" and about["options"]["width"] == 16


def test_fitted_maps_are_a_truth_to_learn_from(store, tmp_path):
    from ivimsc.simulate import write_from_estimates

    fitted = fit_file(FitJob(store, "nlls", tmp_path, maps=False))
    write_from_estimates(tmp_path / "gold.h5", fitted.store, snr=30, seed=1)
    done = train_file(job(tmp_path / "gold.h5", tmp_path / "m.safetensors", "mlp", epochs=1))
    assert done.model.about["training"]["noise"] == "fresh"
