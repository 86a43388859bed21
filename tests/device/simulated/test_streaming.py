"""Chunks on a GPU: memory that runs out, buffers that are kept, and the commands, on the simulated GPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import cuda
from typer.testing import CliRunner

import ivimsc
from ivimsc.cli import app
from ivimsc.device import streaming
from ivimsc.device.launch import choose_device, leave_gpu
from ivimsc.errors import DeviceError
from ivimsc.methods import METHODS, load_method
from ivimsc.models import Model, write_model
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore
from tests.conftest import TEN, as_voxels, phantom, prepare_method

SIGNALS = phantom(6, TEN, 30).signals
OUT_OF_MEMORY = 2


class CudaError(Exception):
    """As numba's CudaAPIError: an exception with the driver's code."""

    def __init__(self, code):
        super().__init__(f"[{code}] a call failed")
        self.code = code


def short_of_memory(monkeypatch, most, code=OUT_OF_MEMORY):
    """Let allocations fail that are longer than `most` in any dimension."""
    allocate = cuda.device_array

    def device_array(shape, *rest, **more):
        if np.max(shape) > most:
            raise CudaError(code)
        return allocate(shape, *rest, **more)

    monkeypatch.setattr(streaming.cuda, "device_array", device_array)


def expected(signals, bvalues=TEN, **options):
    return ivimsc.fit_signals(signals, bvalues, device="cuda", **options)


def test_memory_that_runs_out_halves_the_chunk_and_says_so(monkeypatch):
    monkeypatch.setattr(streaming, "LEAST", 1)
    whole = expected(SIGNALS)
    short_of_memory(monkeypatch, 60)  # signals of six voxels; the tables of nlls are uploaded, not allocated here
    monkeypatch.setattr(streaming, "CHUNK", 24)
    signals = np.concatenate([SIGNALS] * 4)
    with pytest.warns(UserWarning, match="short of memory") as told:
        parts = expected(signals)
    words = [f"device: cuda:0 is short of memory: chunks of {n} voxels" for n in (12, 6)]
    assert [str(one.message) for one in told] == words
    np.testing.assert_array_equal(parts.f.reshape(4, 6), np.stack([whole.f] * 4))


def test_memory_for_less_than_the_smallest_chunk_is_one_clear_line(monkeypatch):
    short_of_memory(monkeypatch, 0)
    with pytest.raises(DeviceError, match="without memory for 6 voxels"):
        expected(SIGNALS)


def test_other_failures_are_not_taken_for_full_memory(monkeypatch):
    short_of_memory(monkeypatch, 0, code=719)
    with pytest.raises(CudaError, match="719"):
        expected(SIGNALS)


def test_too_many_bvalues_for_shared_memory():
    """Straight from the method: so many b-values of a scan would be taken for fewer."""
    voxels = as_voxels(np.ones((2, 400), np.float32), np.linspace(0, 80_000, 400))
    with pytest.raises(DeviceError, match="nlls with 400 b-values, more than"):
        prepare_method("nlls", voxels, choose_device("cuda", task="nlls")).fit(voxels.signals)


def test_commands_say_what_ran_where(tmp_path):
    store, out = tmp_path / "v.h5", tmp_path / "out"
    run = CliRunner().invoke
    done = run(app, ["simulate", "--phantom", "uniform", "--voxels", "9", "--device", "cuda", "--out", str(store)])
    assert done.exit_code == 0 and "device: cuda:0" in done.output
    same = tmp_path / "same.h5"
    write_phantom(same, "uniform", voxels=9)
    done = run(app, ["fit", str(store), "--method", "nlls", "--out", str(out), "--no-maps"])  # auto takes the GPU
    assert done.exit_code == 0, done.output
    assert "because it answers" in done.output and "nlls on cuda:0" in done.output
    with EstimateStore(out / "v_nlls.h5") as estimates:
        assert estimates.device == "cuda:0" and any("cuda:0" in note for note in estimates.notes)


@pytest.mark.parametrize("method", sorted(name for name, method in METHODS.items() if method.on_cuda))
def test_every_method_on_cuda_has_kernels(method, monkeypatch, tmp_path):
    model = str(write_model(tmp_path / "m.safetensors", network()))
    quick = {"draws": 256, "points": 256, "sigma": 0.03, "prior": "lognormal"}
    options = {"scdnn": {"model": model}, "ista": {"n_d": 30, "n_dstar": 30}, "bayes": quick}.get(method, {})
    launches, attempt = [], streaming._attempt
    monkeypatch.setattr(streaming, "_attempt", lambda *given: launches.append(1) or attempt(*given))
    cpu, gpu = (ivimsc.fit_signals(SIGNALS[:2], TEN, method, device=d, **options) for d in ("cpu", "cuda"))
    assert launches
    np.testing.assert_allclose(gpu.D, cpu.D, 1e-4)


def network():
    """An untrained scdnn of two units for the ten b-values."""
    random = np.random.default_rng(0)
    grid = np.concatenate([np.linspace(0.5, 2.5, 4), np.linspace(10, 100, 4)]).astype(np.float32)
    phi = np.exp(-np.outer(TEN * 1e-3, grid)).astype(np.float32)
    w = (0.05 * phi + 0.01 * random.random((10, 8))).astype(np.float32)
    arrays = {
        "w": np.stack([w, w]),
        "phi": np.stack([phi, phi]),
        "thresholds": np.full((2, 8), 1e-3, np.float32),
        "grid": grid,
    }
    return Model("scdnn", arrays, {"bvalues": TEN.tolist(), "options": {"threshold": "soft", "residual": "encoded"}, "s0": "known"})  # fmt: skip


def test_solvers_without_kernels_are_refused_or_left_to_the_cpu():
    with pytest.raises(DeviceError, match="solver=fista of ista has no CUDA kernels"):
        ivimsc.fit_signals(SIGNALS, TEN, "ista", device="cuda", solver="fista")
    automatic = choose_device("auto", task="ista")
    assert not leave_gpu(automatic, "so it is").on_gpu and "so it is" in leave_gpu(automatic, "so it is").notes[0]


def test_models_with_free_layers_are_refused(tmp_path):
    model = network()
    free = Model("scdnn", {**model.arrays, "b": np.zeros((1, 8, 8), np.float32)}, model.about)
    path = write_model(tmp_path / "free.safetensors", free)
    with pytest.raises(DeviceError, match="found cuda:0, expected cpu or auto: .* free layers"):
        ivimsc.fit_signals(SIGNALS, TEN, "scdnn", device="cuda", model=str(path))
    automatic = ivimsc.fit_signals(SIGNALS, TEN, "scdnn", device="auto", model=str(path))
    np.testing.assert_array_equal(automatic.D, ivimsc.fit_signals(SIGNALS, TEN, "scdnn", model=str(path)).D)


def test_buffers_are_kept_from_call_to_call(monkeypatch):
    module = load_method("nlls")
    fitter = module.prepare(as_voxels(SIGNALS, TEN), module.Options(), choose_device("cuda", task="nlls"))
    whole, pinned = fitter.fit(SIGNALS), cuda.pinned_array
    monkeypatch.setattr(streaming.cuda, "pinned_array", lambda *kind: pytest.fail("new pinned memory"))
    few = fitter.fit(SIGNALS[:3])
    np.testing.assert_array_equal(few.f, whole.f[:3])
    monkeypatch.setattr(streaming.cuda, "pinned_array", pinned)
    more = fitter.fit(np.concatenate([SIGNALS, SIGNALS]))  # larger than what is kept
    np.testing.assert_array_equal(more.f.reshape(2, -1), [whole.f] * 2)


def test_memory_of_kept_buffers_is_given_back_before_chunks_get_smaller(monkeypatch):
    launch = choose_device("cuda", task="nlls")
    launch.kept["of an earlier call"] = []
    allocate, calls = cuda.device_array, []

    def device_array(*given, **more):
        calls.append(bool(launch.kept))
        if launch.kept:
            raise CudaError(OUT_OF_MEMORY)
        return allocate(*given, **more)

    monkeypatch.setattr(streaming.cuda, "device_array", device_array)
    module = load_method("nlls")
    module.prepare(as_voxels(SIGNALS, TEN), module.Options(), launch).fit(SIGNALS)
    assert calls[0] and not calls[-1] and not any("short of memory" in note for note in launch.notes)


@pytest.mark.parametrize("rows", [False, True])
def test_several_threads_copy_everything(rows, monkeypatch):
    monkeypatch.setattr(streaming, "SHARE", 64)
    source = np.arange(7 * 23, dtype=np.float32).reshape((23, 7) if rows else (7, 23))
    target = np.zeros_like(source)
    with ThreadPoolExecutor(3) as pool:
        streaming._copy(pool, target, source, rows)
    np.testing.assert_array_equal(target, source)
