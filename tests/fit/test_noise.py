"""What is asked of the data before a fit: the noise level, from voxels of the whole data set."""

import numpy as np
import pytest

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.fit.noise import noise_level
from tests.conftest import TEN, as_voxels, phantom

LAUNCH = Launch("cpu", 2)


def test_the_noise_level_is_that_of_the_simulation():
    found = noise_level(as_voxels(100 * phantom(3000, TEN, 25).signals, TEN), LAUNCH)
    assert found == pytest.approx(100 / 25, rel=0.03)  # 6 degrees of freedom in each of 3000 voxels


def test_the_sample_is_taken_from_the_whole_data_set():
    """The first third is almost free of noise: voxels from there alone would say 0.001, and those of the end 0.1."""
    n = 30_000
    signals = phantom(n, TEN).signals
    noise = np.random.default_rng(1).normal(0, 1, signals.shape)
    level = np.where(np.arange(n) < n // 3, 1e-3, np.where(np.arange(n) < 0.9 * n, 0.04, 0.1))
    found = noise_level(as_voxels(signals + level[:, None] * noise, TEN), LAUNCH)
    assert 0.02 < found < 0.04  # the median over the voxels lies among those of 0.04, in their lower half


def test_bad_voxels_do_not_move_it():
    signals = phantom(2000, TEN, 25).signals
    clean = noise_level(as_voxels(signals, TEN), LAUNCH)
    signals[:200], signals[200:220] = np.nan, 1e4
    assert noise_level(as_voxels(signals, TEN), LAUNCH) == pytest.approx(clean, rel=0.1)


def test_too_few_bvalues_and_no_voxel_at_all_are_refused():
    with pytest.raises(InputError, match="found 4 b-values"):
        noise_level(as_voxels(np.ones((9, 4)), TEN[:4]), LAUNCH)
    with pytest.raises(InputError, match="found no voxel"):
        noise_level(as_voxels(np.full((9, 10), np.nan), TEN), LAUNCH)
