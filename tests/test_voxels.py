"""Voxels in memory: their length, their parts, and the checksum that ties estimates to them."""

import hashlib

import numpy as np

from ivimsc.voxels import SelectedVoxels
from tests.conftest import FIVE, TEN, as_voxels


def test_a_part_is_that_of_the_array():
    signals = np.random.default_rng(0).random((20, 10), np.float32)
    voxels = as_voxels(signals, TEN)
    assert len(voxels) == 20
    np.testing.assert_array_equal(voxels.read(3, 9), signals[3:9])


def test_the_checksum_is_of_the_little_endian_signals_alone():
    signals = np.random.default_rng(0).random((20, 10), np.float32)
    found = as_voxels(signals, TEN).signals_sha256
    assert found == hashlib.sha256(signals.astype("<f4").tobytes()).hexdigest()
    assert as_voxels(signals, TEN + 1).signals_sha256 == found  # b-values are compared by themselves
    changed = signals.copy()
    changed[7, 3] = np.nextafter(changed[7, 3], 2)
    assert as_voxels(changed, TEN).signals_sha256 != found


def test_chosen_bvalues_and_the_signal_at_b_0_that_they_leave_out():
    signals = np.random.default_rng(0).random((20, 10), np.float32)
    chosen = SelectedVoxels(as_voxels(signals, TEN), FIVE)
    np.testing.assert_array_equal(chosen.read(3, 9), signals[3:9][:, np.isin(TEN, FIVE)])
    np.testing.assert_array_equal(chosen.read_s0(3, 9), signals[3:9, 0])
