"""The CUDA kernels, thread by thread, against the CPU's compiled lanes."""

import numpy as np
import pytest

import ivimsc
from ivimsc.device import streaming
from ivimsc.device.launch import choose_device
from ivimsc.physics.noise import NOISES
from ivimsc.simulate import simulate_phantom
from tests.conftest import FIVE, TEN, phantom

# Lanes contract products and sums where the simulator rounds twice; along the valley of D* this shows in the 5th digit.
RTOL = {"S0": 1e-4, "rmse": 1e-4, "f": 1e-3, "D": 1e-4, "Dstar": 1e-3, "fstd": 3e-3, "dstd": 3e-3, "dstarstd": 3e-3}
ATOL = {"f": 1e-5, "fstd": 1e-5, "rmse": 1e-6}  # where there is no blood or no noise, these are rounding
CASES = [
    ("nlls", TEN, {}),
    ("nlls", FIVE, {}),
    ("nlls", TEN, {"s0": 1.0}),
    ("nlls", TEN, {"f_bounds": (0.1, 0.4), "sigma": 0.03}),
    ("nlls", TEN, {"max_iterations": 2}),
    ("segmented", TEN, {}),
    ("segmented", TEN, {"extrapolation": "loglinear"}),
    ("segmented", TEN, {"f_bounds": (0.1, 0.4), "sigma": 0.03}),
]


def assert_equal(cpu, gpu, f_bounds=(0.0, 1.0)):
    differ = gpu.outcome != cpu.outcome
    edge = np.min(np.abs(np.subtract.outer(cpu.f, f_bounds)), axis=-1) < 1e-6  # "at a bound" or not is a last bit there
    assert np.all(edge[differ]) and np.all(np.maximum(cpu.outcome, gpu.outcome)[differ] == 2)
    for name, rtol in RTOL.items():
        np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), rtol, ATOL.get(name, 0), err_msg=name)


def both(signals, bvalues, method, **options):
    return [ivimsc.fit_signals(signals, bvalues, method, device=d, **options) for d in ("cpu", "cuda")]


@pytest.mark.parametrize(("method", "bvalues", "options"), CASES)
def test_equal_to_the_cpu(method, bvalues, options):
    signals = phantom(23, bvalues, 30, seed=1).signals
    signals[3, 2], signals[7], signals[11, 0], signals[12, 4] = np.nan, 0, -1, np.inf
    signals[20] = np.exp(-bvalues * 1e-3) * (1 + 0.02 * (-1) ** np.arange(len(bvalues)))  # no blood
    cpu, gpu = both(signals, bvalues, method, **options)
    assert_equal(cpu, gpu, options.get("f_bounds", (0.0, 1.0)))
    assert np.sum(gpu.outcome == 5) == 4


@pytest.mark.parametrize("method", ["nlls", "segmented"])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_few_voxels_of_any_layout_and_type(method, n):
    signals = phantom(7, TEN, 30).signals.astype(np.float64)[:n]
    strided = np.repeat(np.repeat(signals, 2, axis=0), 2, axis=1)[::2, ::2]
    assert n == 0 or not strided.flags.c_contiguous
    for given in (signals, strided, (signals * 1000).astype(np.int16)):
        cpu, gpu = both(given, TEN, method)
        assert gpu.f.shape == (n,)
        assert_equal(cpu, gpu)


@pytest.mark.parametrize("method", ["nlls", "segmented"])
def test_chunks_change_nothing(method, monkeypatch):
    signals = phantom(19, TEN, 30).signals
    whole = ivimsc.fit_signals(signals, TEN, method, device="cuda")
    monkeypatch.setattr(streaming, "CHUNK", 4)
    parts = ivimsc.fit_signals(signals, TEN, method, device="cuda")
    for (key, a), (_, b) in zip(whole.items(), parts.items(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=key)


@pytest.mark.parametrize("noise", NOISES)
def test_simulated_signals_have_the_draws_of_the_cpu(noise):
    cpu, gpu = (
        simulate_phantom("uniform", TEN, 20, 2**40 + 5, noise, voxels=13, launch=choose_device(d, task="simulate"))
        for d in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu.signals, cpu.signals, rtol=2e-7)  # one unit in the last place of float32


def test_simulated_voxels_keep_their_numbers_across_chunks(monkeypatch):
    whole = simulate_phantom("uniform", TEN, voxels=13, launch=choose_device("cuda", task="simulate"))
    monkeypatch.setattr(streaming, "CHUNK", 5)
    parts = simulate_phantom("uniform", TEN, voxels=13, launch=choose_device("cuda", task="simulate"))
    np.testing.assert_array_equal(whole.signals, parts.signals)
