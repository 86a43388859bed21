"""On a real GPU: equal to the CPU at real sizes. Skipped where there is none."""

import numpy as np
import pytest

import ivimsc
from ivimsc.device.launch import choose_device
from ivimsc.simulate import simulate_phantom, write_phantom
from ivimsc.train import TrainJob, train_file
from tests.conftest import FIVE, TEN, phantom

pytestmark = pytest.mark.gpu
N = 3_000_000  # three chunks


@pytest.fixture(scope="module")
def signals():
    return phantom(N, TEN, 30).signals


def both(signals, bvalues, method, **options):
    return [ivimsc.fit_signals(signals, bvalues, method, device=d, **options) for d in ("cpu", "cuda")]


@pytest.mark.parametrize(("bvalues", "options"), [(TEN, {}), (FIVE, {}), (TEN, {"s0": 1.0}), (TEN, {"sigma": 0.03})])
def test_nlls_finds_the_same_outcome_and_cost(signals, bvalues, options):
    given = signals[:, np.isin(TEN, bvalues)]
    cpu, gpu = both(given, bvalues, "nlls", **options)
    same = gpu.outcome == cpu.outcome
    cost_cpu, cost_gpu = np.square(cpu.rmse.astype(np.float64)), np.square(gpu.rmse.astype(np.float64))
    scale = np.square(np.max(np.abs(given), axis=1))
    same &= np.abs(cost_gpu - cost_cpu) <= 1e-5 * cost_cpu + 1e-12 * scale  # float32 knows a residual to 1e-7
    assert np.mean(same) >= 0.9999


@pytest.mark.parametrize("options", [{}, {"extrapolation": "loglinear"}])
def test_segmented_finds_the_same(signals, options):
    cpu, gpu = both(signals, TEN, "segmented", **options)
    same = (gpu.outcome == cpu.outcome) & np.isclose(gpu.f, cpu.f, 1e-3, 1e-5) & np.isclose(gpu.D, cpu.D, 1e-3, 1e-8)
    assert np.mean(same) >= 0.9999


@pytest.mark.parametrize(
    "options", [{}, {"likelihood": "rician"}, {"prior": "uniform", "sigma": "marginal"}, {"s0": 1.0, "components": 2}]
)
def test_bayes_has_the_same_moments(signals, options):
    cpu, gpu = both(signals[:50_000], TEN, "bayes", **options)
    assert np.mean(gpu.outcome == cpu.outcome) >= 0.999  # an effective sample size or an SD at the limit may round over
    for name, sd in (("f", "fstd"), ("D", "dstd"), ("Dstar", "dstarstd")):
        apart = np.abs(getattr(gpu, name) - getattr(cpu, name)) / getattr(cpu, sd)
        noise = 1 / np.sqrt(cpu.ess)  # Monte-Carlo error of the mean, in SD: another round may have been taken
        assert np.mean((apart < 1e-3) | (apart < 5 * noise)) >= 0.9999
        assert np.median(apart) < 1e-4  # the same points


@pytest.mark.parametrize("options", [{}, {"beta": 0.01}, {"beta": 0.1, "beta_rule": "relative"}])
def test_ista_reaches_its_tolerance_and_finds_the_same(signals, options):
    cpu, gpu = both(signals[:200_000], TEN, "ista", **options)
    np.testing.assert_array_equal(gpu.outcome, cpu.outcome)
    assert np.all(gpu.gap <= 1e-6)
    for name, within in (("rmse", 1e-4), ("S0", 1e-4), ("D", 1e-3)):  # what that gap leaves open
        assert np.mean(np.isclose(getattr(gpu, name), getattr(cpu, name), within, 1e-9)) >= 0.9999


@pytest.mark.parametrize("options", [{"snr": 30.0}, {"sigma": 0.03}, {}])
def test_scdnn_finds_the_same(signals, options):
    given = signals.copy()
    given[::1000, 3], given[1::1000, 0] = np.nan, 0
    cpu, gpu = both(given, TEN, "scdnn", **options)
    assert np.mean(gpu.outcome == cpu.outcome) >= 0.9999
    for name in ("S0", "f", "D", "Dstar"):  # a voxel between two levels of noise may go to either
        assert np.mean(np.isclose(getattr(gpu, name), getattr(cpu, name), 1e-3, 1e-7, equal_nan=True)) >= 0.999


@pytest.mark.parametrize("noise", ["rician", "gaussian", "none"])
def test_simulated_draws_are_the_same(noise):
    cpu, gpu = (
        simulate_phantom("uniform", TEN, noise=noise, voxels=N, launch=choose_device(d, task="simulate")).signals
        for d in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu, cpu, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n", [0, 1, 7])
@pytest.mark.parametrize("method", ["nlls", "segmented", "bayes", "ista", "scdnn"])
def test_few_voxels(signals, method, n):
    cpu, gpu = both(signals[:n], TEN, method, **({"snr": 30.0} if method == "scdnn" else {}))
    np.testing.assert_array_equal(gpu.outcome, cpu.outcome)


def test_device_arrays_stay_on_the_device(signals):
    from numba import cuda

    host = ivimsc.fit_signals(signals[:1000], TEN, device="cuda")
    for given in (cuda.to_device(signals[:1000]), cuda.to_device(signals[:1000].astype(np.float64))):
        device = ivimsc.fit_signals(given, TEN)
        assert hasattr(device.f, "__cuda_array_interface__")
        np.testing.assert_array_equal(device.f.copy_to_host(), host.f)
    strided = cuda.to_device(np.repeat(signals[:1000], 2, axis=1))[:, ::2]
    np.testing.assert_array_equal(ivimsc.fit_signals(strided, TEN).f.copy_to_host(), host.f)


@pytest.mark.parametrize(("method", "options"), [("bayes", {"sigma": 0.03}), ("ista", {}), ("scdnn", {"snr": 30.0})])
def test_every_method_takes_device_arrays(signals, method, options):
    from numba import cuda

    host = ivimsc.fit_signals(signals[:1000], TEN, method, device="cuda", **options)
    device = ivimsc.fit_signals(cuda.to_device(signals[:1000]), TEN, method, **options)
    for key, array in device.items():
        expected = dict(host.items())[key]
        np.testing.assert_array_equal(array.copy_to_host(), expected, err_msg=key)


def test_full_memory_makes_chunks_smaller(signals):
    from numba import cuda

    free = cuda.current_context().get_memory_info().free
    taken = cuda.device_array(free - 48 * 2**20, np.uint8)
    with pytest.warns(UserWarning, match="short of memory"):
        gpu = ivimsc.fit_signals(signals, TEN, device="cuda")
    del taken
    assert np.all(gpu.outcome > 0)


@pytest.mark.parametrize("name", ["scdnn", "mlp", "ivimnet"])
def test_training_on_the_gpu_learns_what_it_learns_on_the_cpu(name, tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA: pip install torch from its CUDA index")
    store = tmp_path / "voxels.h5"
    write_phantom(store, "uniform", TEN, 30, voxels=4000)
    losses = []
    for device in ("cpu", "cuda"):
        done = train_file(TrainJob(name, [store], tmp_path / f"{device}.safetensors", epochs=3, seed=1, device=device))
        losses.append(done.history["validation"])
    # The same draws and order; rounding differs, and dropout of ivimnet draws from the GPU's own generator.
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.2 if name == "ivimnet" else 1e-2)
