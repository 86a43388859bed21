"""scdnn on the simulated GPU, from signals to estimates, against the CPU's."""

import numpy as np
import pytest
from numba import cuda

import ivimsc
from ivimsc.device.launch import is_on_gpu
from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file
from ivimsc.methods.scdnn import codes
from ivimsc.methods.scdnn.on_gpu import fit as on_gpu
from ivimsc.models import write_model
from ivimsc.outcome import Outcome
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore
from tests.conftest import FIVE, TEN, phantom
from tests.methods.scdnn.test_method import untrained

SIX = np.concatenate([[0], FIVE])


def as_host(estimates):
    return {key: array.copy_to_host() if is_on_gpu(array) else array for key, array in estimates.items()}


def noisy(n, bvalues, s0=700.0):
    """Signals (voxel, b) at SNR 8 to 200, and some that are bad in every way there is."""
    signals = np.concatenate([phantom(2, bvalues, snr, seed=3).signals for snr in (8, 20, 60, 200)])
    signals = s0 * signals * np.linspace(0.2, 3, 8, dtype=np.float32)[:, None]
    signals[2] = signals[2, ::-1]  # rises
    signals[3, -1] = 1e-3 * signals[3, 0]  # below what a model for one protocol was trained for
    signals[4, 1], signals[5, 0], signals[6, 0], signals[7] = np.nan, 0, -1, 0
    return signals[:n]


def assert_close(gpu, cpu):
    np.testing.assert_array_equal(gpu["outcome"], cpu["outcome"])
    for key in ("s0", "f", "d", "dstar", "rmse"):
        np.testing.assert_allclose(gpu[key], cpu[key], rtol=1e-4, atol=1e-7, err_msg=key)


def everywhere(signals, bvalues, **options):
    """Fitted on the CPU, on the GPU from host arrays, and there from device arrays, which equals the second."""
    cpu, gpu = (ivimsc.fit_signals(signals, bvalues, "scdnn", device=d, **options) for d in ("cpu", "cuda"))
    there = ivimsc.fit_signals(cuda.to_device(signals), bvalues, "scdnn", **options)
    assert all(is_on_gpu(array) for _, array in there.items())
    for key, array in as_host(there).items():
        np.testing.assert_array_equal(array, getattr(gpu, {"s0": "S0", "d": "D", "dstar": "Dstar"}.get(key, key)))
    return as_host(cpu), as_host(gpu)


@pytest.mark.parametrize(
    ("n", "noise"),
    [(0, {"snr": 30.0}), (1, {"snr": 30.0}), (8, {"snr": 10.0}), (8, {"sigma": 20.0}), (8, {"snr": 2.0})],
)
def test_a_general_model_equals_the_cpu(n, noise, monkeypatch):
    monkeypatch.setattr(on_gpu, "CHUNK", 5)
    cpu, gpu = everywhere(noisy(n, TEN), TEN, **noise)
    assert_close(gpu, cpu)
    if n == 8:
        assert list(gpu["outcome"][4:]) == [Outcome.BAD_SIGNAL] * 4
        told = np.sum(np.isin(gpu["outcome"], (Outcome.CONVERGED, Outcome.DSTAR_UNIDENTIFIABLE)))
        assert (told == 0) if noise == {"snr": 2.0} else (told >= 1)


def test_a_general_model_finds_the_noise_level_of_signals_on_the_device():
    signals = noisy(8, TEN)
    cpu, gpu = everywhere(signals, TEN)
    assert_close(gpu, cpu)
    scaled = as_host(ivimsc.fit_signals(512 * signals, TEN, "scdnn", device="cuda"))
    np.testing.assert_allclose(scaled["s0"], 512 * gpu["s0"], rtol=1e-4)


@pytest.mark.parametrize("beyond", [np.array([0, 50, 200, 600, 1000, 3000.0])])
def test_protocols_beyond_the_training(beyond):
    cpu, gpu = everywhere(noisy(4, beyond), beyond, snr=30.0)
    assert_close(gpu, cpu)
    assert np.all(gpu["outcome"] == Outcome.OUTSIDE_TRAINING)


def test_misfits_and_values_outside_the_training_equal_the_cpu():
    """Outcomes 8 and 7, and values that are clipped to what can be shown."""
    spoilt = noisy(2, TEN)
    spoilt[:, 6] += 900.0
    found = []
    for signals, noise in ((spoilt, 8.0), (1e-3 + noisy(4, TEN)[:, ::-1], 3.0)):
        cpu, gpu = everywhere(np.ascontiguousarray(signals), TEN, sigma=noise)
        assert_close(gpu, cpu)
        found += gpu["outcome"].tolist()
    assert {Outcome.MISFIT, Outcome.OUTSIDE_TRAINING} <= set(found)
    short = np.array([0, 5, 10, 20, 60, 100.0])
    cpu, gpu = everywhere(noisy(4, short), short, snr=10.0)
    assert_close(gpu, cpu)
    assert np.all(gpu["outcome"] == Outcome.OUTSIDE_TRAINING) and np.isfinite(gpu["dstar"]).all()


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A model for five b-values, S0 beside them, whose training had signals over S0 in 0.05 .. 1.02."""
    reach = {"range": {"low": [0.05] * 5, "high": [1.02] * 5, "D": [0.01, 50.0]}}
    return str(
        write_model(tmp_path_factory.mktemp("models") / "five.safetensors", untrained(atoms=12, units=1, **reach))
    )


@pytest.mark.parametrize(("n", "options"), [(0, {}), (1, {}), (8, {}), (8, {"s0": 700.0})])
def test_a_model_for_one_protocol_equals_the_cpu(n, options, five, monkeypatch):
    monkeypatch.setattr(on_gpu, "CHUNK", 3)
    cpu, gpu = everywhere(noisy(n, SIX), SIX, model=five, **options)
    assert_close(gpu, cpu)
    if n == 8 and not options:
        outcomes = set(gpu["outcome"].tolist())
        assert {Outcome.BAD_SIGNAL, Outcome.OUTSIDE_TRAINING} <= outcomes
        assert outcomes & {Outcome.CONVERGED, Outcome.DSTAR_UNIDENTIFIABLE}


@pytest.mark.parametrize("general", [True, False])
def test_codes_are_the_cpus(general, five, monkeypatch):
    monkeypatch.setattr(codes, "PART", 3)
    signals, options = noisy(8, SIX), {"snr": 30.0} if general else {"model": five}
    cpu, gpu = (ivimsc.fit_signals(signals, SIX, "scdnn", device=d, spectrum=True, **options) for d in ("cpu", "cuda"))
    assert_close(as_host(gpu), as_host(cpu))
    dense = [np.zeros((8, 256 if general else 12)) for _ in "ab"]
    for full, e in zip(dense, (cpu, gpu), strict=True):
        counts = np.diff(e.spectrum.indptr)
        assert np.all(counts[e.outcome == Outcome.BAD_SIGNAL] == 0) and len(counts) == 8
        full[np.repeat(np.arange(8), counts), e.spectrum.indices] = e.spectrum.data
    np.testing.assert_allclose(dense[1], dense[0], rtol=1e-3, atol=1e-4 * np.nanmax(cpu.S0))
    with pytest.raises(InputError, match="option spectrum of scdnn: found signals on a GPU"):
        ivimsc.fit_signals(cuda.to_device(signals), SIX, "scdnn", spectrum=True, **options)


def test_s0_from_b_0_that_was_not_selected(tmp_path):
    """A model without b = 0 takes S0 from the file's b = 0, over which its signals are."""
    write_phantom(tmp_path / "v.h5", "uniform", TEN, 30, voxels=6)
    path = str(write_model(tmp_path / "m.safetensors", untrained(atoms=12, units=1)))
    found = []
    for device in ("cpu", "cuda"):
        job = FitJob(tmp_path / "v.h5", "scdnn", tmp_path / device, bvalues=FIVE, device=device, maps=False, settings={"model": path}, chunk=4)  # fmt: skip
        with EstimateStore(fit_file(job).store) as store:
            found.append(as_host(store.read(0, 6)))
    assert_close(found[1], found[0])


@pytest.mark.parametrize("options", [{"sigma": 20.0}, {"snr": 30.0}])
def test_b_values_that_are_means_of_many_images(options):
    """Σ n r² of the GPU is that of the CPU: chi2 and outcomes agree."""
    images = np.array([6, 1, 1, 2, 1, 1, 1, 3, 1, 1])
    signals = np.repeat(noisy(4, TEN), images, axis=1)
    cpu, gpu = everywhere(signals, np.repeat(TEN, images), **options)
    assert_close(gpu, cpu)
    np.testing.assert_allclose(gpu["chi2"], cpu["chi2"], rtol=1e-3)
