"""Arrays that are on a GPU already, of every type and layout, on the simulated GPU."""

import numpy as np
import pytest
from numba import cuda

import ivimsc
from ivimsc.device import arrays
from ivimsc.device.launch import choose_device, is_on_gpu
from ivimsc.errors import InputError
from tests.conftest import TEN, phantom

SIGNALS = phantom(6, TEN, 30).signals


def expected(signals, bvalues=TEN):
    return ivimsc.fit_signals(signals, bvalues, device="cuda")


def assert_same(gpu, host):
    for key, array in host.items():
        np.testing.assert_array_equal(dict(gpu.items())[key].copy_to_host(), array, err_msg=key)


def test_device_arrays_stay_on_the_device():
    estimates = ivimsc.fit_signals(cuda.to_device(SIGNALS), TEN)
    assert all(is_on_gpu(array) for _, array in estimates.items())
    assert_same(estimates, expected(SIGNALS))


def test_device_rows_are_not_copied():
    device = cuda.to_device(SIGNALS)
    launch = choose_device("cuda", task="nlls")
    assert arrays.rows_of(launch, device, np.arange(10), 10) is device


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint8])
def test_device_arrays_of_other_types(dtype):
    signals = (100 * SIGNALS).astype(dtype)
    assert_same(ivimsc.fit_signals(cuda.to_device(signals), TEN), expected(signals))


def test_strided_device_arrays():
    doubled = np.repeat(np.repeat(SIGNALS, 2, axis=0), 2, axis=1)
    strided = cuda.to_device(doubled)[::2, ::2]
    assert not strided.is_c_contiguous()
    assert_same(ivimsc.fit_signals(strided, TEN), expected(SIGNALS))


def test_volumes_of_device_arrays_are_averaged_and_sorted():
    order = np.array([3, 0, 9, 1, 2, 4, 5, 6, 7, 8, 0, 3])
    signals = SIGNALS[:, order] * np.linspace(0.9, 1.1, 12, dtype=np.float32)
    assert_same(ivimsc.fit_signals(cuda.to_device(signals), TEN[order]), expected(signals, TEN[order]))


def test_device_volumes_of_four_dimensions():
    estimates = ivimsc.fit_signals(cuda.to_device(SIGNALS.reshape(1, 2, 3, 10)), TEN, "segmented")
    assert estimates.f.shape == (1, 2, 3)
    volume = cuda.to_device(np.zeros((2, 2, 2, 20), np.float32))[..., ::2]
    with pytest.raises(InputError, match="strided device array"):
        ivimsc.fit_signals(volume, TEN)


@pytest.mark.parametrize("n", [0, 1])
def test_few_voxels_on_the_device(n):
    assert ivimsc.fit_signals(cuda.to_device(SIGNALS[:n]), TEN).f.shape == (n,)


def test_device_arrays_that_cannot_be_fitted():
    device = cuda.to_device(SIGNALS)
    with pytest.raises(InputError, match="found on cuda:0, expected on cpu"):
        ivimsc.fit_signals(device, TEN, device="cpu")
    with pytest.raises(InputError, match="found on cuda:0, expected in host memory: mlp has no CUDA kernels"):
        ivimsc.fit_signals(device, TEN, "mlp")
    with pytest.raises(InputError, match="expected real numbers"):
        ivimsc.fit_signals(cuda.to_device(SIGNALS.astype(np.complex64)), TEN)
    with pytest.raises(InputError, match="expected .…, 9."):
        ivimsc.fit_signals(device, TEN[1:])


def test_rows_are_means_over_the_volumes_of_each_shell():
    volumes = np.random.default_rng(0).random((5, 6))
    shell = np.array([1, 0, 2, 1, 1, 0])
    launch = choose_device("cuda", task="nlls")
    rows = arrays.rows_of(launch, cuda.to_device(volumes), shell, 3).copy_to_host()
    means = np.stack([volumes[:, shell == b].mean(axis=1) for b in range(3)], axis=1)
    np.testing.assert_allclose(rows, means, rtol=1e-7)  # rounded once to float32
