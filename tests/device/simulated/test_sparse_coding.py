"""ista (exact) on the simulated GPU, against the CPU's."""

import numpy as np
import pytest
from numba import cuda

import ivimsc
from ivimsc.device.launch import is_on_gpu
from ivimsc.methods.ista import on_gpu
from tests.conftest import TEN, phantom

TOLERANCE = 1e-6
SIX = TEN[[0, 2, 4, 6, 8, 9]]
SMALL = {"n_d": 34, "n_dstar": 34}


def fitted(signals, bvalues, device=None, **options):
    return ivimsc.fit_signals(signals, bvalues, "ista", device=device, **SMALL, **options)


def as_host(estimates):
    """Estimates in host memory, wherever they are."""
    arrays = {key: array.copy_to_host() if is_on_gpu(array) else array for key, array in estimates.items()}
    return arrays | {
        name: array.copy_to_host() if is_on_gpu(array) else array
        for name, array in estimates.spectrum._asdict().items()
    }


def assert_two_optima(a, b):
    """The same up to what the duality gap allows."""
    np.testing.assert_array_equal(a["outcome"], b["outcome"])
    good = b["outcome"] != 5
    assert np.all(a["gap"][good] <= TOLERANCE) and np.all(np.isnan(a["gap"][~good])) and np.all(np.isnan(a["f"][~good]))
    np.testing.assert_allclose(a["rmse"], b["rmse"], rtol=1e-4)
    np.testing.assert_allclose(a["s0"], b["s0"], rtol=1e-4)
    np.testing.assert_allclose(a["d"], b["d"], rtol=1e-3)
    np.testing.assert_array_equal(np.diff(a["indptr"]), a["atoms"])
    assert np.all(a["atoms"][~good] == 0) and len(a["data"]) == len(a["indices"]) == a["indptr"][-1] == a["atoms"].sum()
    sums = np.add.reduceat(np.append(a["data"], 0), a["indptr"][:-1])[good] if len(good) else 0
    np.testing.assert_allclose(sums, a["s0"][good], rtol=1e-5)  # (8) in units of the signal


@pytest.mark.parametrize("bvalues", [TEN, SIX])
@pytest.mark.parametrize(
    ("n", "options"), [(0, {}), (1, {}), (4, {"beta": 0.01}), (2, {"beta": 0.1, "beta_rule": "relative"})]
)
def test_equal_to_the_cpu(n, options, bvalues, monkeypatch):
    monkeypatch.setattr(on_gpu, "CHUNK", 3)
    signals = 700 * phantom(4, bvalues, 30, seed=5).signals[:n]
    if n == 4:
        signals[2, 1] = np.nan
    cpu, gpu = (as_host(fitted(signals, bvalues, d, **options)) for d in ("cpu", "cuda"))
    assert_two_optima(gpu, cpu)
    there = fitted(cuda.to_device(signals), bvalues, **options)
    assert all(is_on_gpu(array) for _, array in there.items()) and all(map(is_on_gpu, there.spectrum))
    for key, array in as_host(there).items():
        np.testing.assert_array_equal(array, gpu[key], err_msg=key)


def test_a_tolerance_that_is_missed_is_outcome_6(monkeypatch):
    signals = phantom(2, SIX, 30, seed=5).signals
    run = on_gpu.Coder.run
    monkeypatch.setattr(
        on_gpu.Coder, "run", lambda coder, *given: (setattr(coder, "tolerance", -1.0), run(coder, *given))[1]
    )
    assert np.all(fitted(signals, SIX, "cuda").outcome == 6)


def test_beta_from_the_noise_of_signals_on_the_device():
    signals = phantom(4, SIX, 30, seed=5).signals
    options = {"beta_rule": "noise", "sigma": 1 / 30}
    host, there = fitted(signals, SIX, "cpu", **options), fitted(cuda.to_device(signals), SIX, **options)
    assert_two_optima(as_host(there), as_host(host))


def test_b_values_that_are_means_of_many_images():
    images = np.array([5, 1, 2, 1, 1, 3])
    signals = np.repeat(700 * phantom(3, SIX, 30, seed=5).signals, images, axis=1)
    b = np.repeat(SIX, images)
    cpu, gpu = (as_host(fitted(signals, b, d, sigma=20.0)) for d in ("cpu", "cuda"))
    assert_two_optima(gpu, cpu)
    np.testing.assert_allclose(gpu["chi2"], cpu["chi2"], rtol=1e-3)
    there = fitted(cuda.to_device(signals), b, sigma=20.0)
    assert all(is_on_gpu(array) for _, array in there.items())
    np.testing.assert_array_equal(as_host(there)["rmse"], gpu["rmse"])
