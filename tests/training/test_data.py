"""The voxels that networks learn from: signals and noise over S0, truth in µm²/ms."""

import numpy as np
import pytest

pytest.importorskip("torch")

from ivimsc.errors import InputError
from ivimsc.simulate import write_phantom
from ivimsc.store import VoxelStore
from ivimsc.train import read_data
from tests.conftest import FIVE, TEN, equation1
from tests.store.makers import changed_store


def test_signals_and_noise_are_over_s0(tmp_path):
    """A store in other units, with an S0 of each voxel's own, teaches the same."""
    plain, scaled = tmp_path / "plain.h5", tmp_path / "scaled.h5"
    write_phantom(plain, "uniform", TEN, snr=25, seed=1, voxels=50)
    scaled.write_bytes(plain.read_bytes())
    factor = np.linspace(100, 900, 50, dtype=np.float32)
    with changed_store(scaled) as file:
        file["signals"][...] = file["signals"][:] * factor[:, None]
        file["truth/s0"][...] = file["truth/s0"][:] * factor
    one, other = (read_data([path], FIVE, supervised=True) for path in (plain, scaled))
    np.testing.assert_allclose(other.signals, one.signals, rtol=1e-6)
    np.testing.assert_allclose(one.sigma, 1 / 25, rtol=1e-6)
    np.testing.assert_allclose(other.sigma * factor, 1 / 25, rtol=1e-6)  # the store's σ is in units of its signals
    with VoxelStore(plain) as store:
        truth = store.truth
    np.testing.assert_allclose(one.truth, np.stack([truth["f"], 1e3 * truth["d"], 1e3 * truth["dstar"]], 1), rtol=1e-6)
    expected = equation1(np.ones(50), truth["f"], truth["d"], truth["dstar"], FIVE)
    for data in (one, other):
        np.testing.assert_allclose(data.clean, expected, rtol=1e-5)


def test_without_truth_s0_is_the_signal_at_b_0(tmp_path):
    path = tmp_path / "v.h5"
    write_phantom(path, "uniform", TEN, snr=25, seed=1, voxels=20)
    with changed_store(path) as file:
        del file["truth"]
        signals = file["signals"][:]
    data = read_data([path], FIVE, supervised=False)
    np.testing.assert_allclose(data.signals, signals[:, np.isin(TEN, FIVE)] / signals[:, :1], rtol=1e-6)
    assert data.truth is None and data.clean is None


@pytest.fixture
def measured(tmp_path):
    """A store without truth: 40 voxels of S0 about 1000 as a scanner gives them, and its signals (voxel, b)."""
    path = tmp_path / "measured.h5"
    write_phantom(path, "uniform", TEN, snr=25, seed=1, voxels=40)
    with changed_store(path) as file:
        del file["truth"]
        file["signals"][...] = file["signals"][:] * np.float32(1000)
        signals = file["signals"][:]
    return path, signals


def with_voxels(path, signals):
    with changed_store(path) as file:
        file["signals"][...] = signals


def test_voxels_that_cannot_teach_are_left_out_and_counted(measured):
    path, signals = measured
    spoilt = signals.copy()
    spoilt[:4, 0] = -2, 0.5, 1e-3, 0  # b = 0 about 0
    spoilt[4, 3], spoilt[5, 2], spoilt[6] = np.nan, np.inf, 0
    spoilt[7] *= 0.05  # background
    spoilt[8, 5] = 2.5 * spoilt[8, 0]
    with_voxels(path, spoilt)
    data = read_data([path], None, supervised=False)
    np.testing.assert_array_equal(data.signals, signals[9:] / signals[9:, :1])  # the others, as if these were not there
    assert data.left_out == {
        "with NaN, Inf, S0 <= 0 or no signal": 5,  # -2, 0, NaN, Inf and all zero
        "as dark as background": 3,  # 0.5, 1e-3 and the background
        "with a signal above twice that at b = 0": 1,
    }


def test_a_dim_voxel_teaches_and_a_volume_with_background_keeps_its_tissue(measured):
    path, signals = measured
    dim = signals.copy()
    dim[0] *= 0.15 * np.quantile(signals[:, 0], 0.9) / signals[0, 0]
    with_voxels(path, dim)
    assert len(read_data([path], None, supervised=False)) == 40
    background = signals.copy()
    background[10:] *= 0.01  # three quarters of an unmasked volume
    with_voxels(path, background)
    data = read_data([path], None, supervised=False)
    assert len(data) == 10 and data.left_out == {"as dark as background": 30}


def test_no_voxel_that_can_teach(measured):
    path, signals = measured
    with_voxels(path, 0 * signals)
    with pytest.raises(
        InputError, match=r"found no voxel to learn from \(40 with NaN, Inf, S0 <= 0 or no signal\), expected"
    ):
        read_data([path], None, supervised=False)


def test_a_voxel_with_bad_truth_does_not_teach(tmp_path):
    path = tmp_path / "v.h5"
    write_phantom(path, "uniform", TEN, snr=25, seed=1, voxels=20)
    with changed_store(path) as file:
        file["truth/f"][3], file["truth/s0"][4] = np.nan, 0
    data = read_data([path], None, supervised=True)
    assert len(data) == 18 and len(data.truth) == len(data.clean) == len(data.sigma) == 18
    assert data.left_out == {"with NaN, Inf, S0 <= 0 or no signal": 2}


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_the_kind_of_noise_is_that_of_the_stores(tmp_path, noise):
    path = tmp_path / "v.h5"
    write_phantom(path, "uniform", TEN, snr=25, seed=1, voxels=20, noise=noise)
    assert read_data([path], FIVE, supervised=True).rician == (noise == "rician")
