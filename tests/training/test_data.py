"""The voxels that networks learn from: signals and noise over S0, truth in µm²/ms."""

import h5py
import numpy as np
import pytest

pytest.importorskip("torch")

from ivimsc.simulate import write_phantom
from ivimsc.store import VoxelStore
from ivimsc.train import read_data
from tests.conftest import FIVE, TEN, equation1


def test_signals_and_noise_are_over_s0(tmp_path):
    """A store in other units, with an S0 of each voxel's own, teaches the same."""
    plain, scaled = tmp_path / "plain.h5", tmp_path / "scaled.h5"
    write_phantom(plain, "uniform", TEN, snr=25, seed=1, voxels=50)
    scaled.write_bytes(plain.read_bytes())
    factor = np.linspace(100, 900, 50, dtype=np.float32)
    with h5py.File(scaled, "r+") as file:
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
    with h5py.File(path, "r+") as file:
        del file["truth"]
        signals = file["signals"][:]
    data = read_data([path], FIVE, supervised=False)
    np.testing.assert_allclose(data.signals, signals[:, np.isin(TEN, FIVE)] / signals[:, :1], rtol=1e-6)
    assert data.truth is None and data.clean is None
