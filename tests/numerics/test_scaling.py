"""Scales of signals against numpy, and which signals are bad."""

import numpy as np
import pytest

from ivimsc.numerics.scaling import load_scaled, scales


def scales_of(signals):
    scale = np.empty(len(signals), np.float32)
    scales(signals, scale)
    return scale


def test_the_scale_is_the_largest_magnitude():
    signals = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    signals[:, 0] = np.abs(signals[:, 0])
    np.testing.assert_array_equal(scales_of(signals), np.abs(signals).max(axis=1))


@pytest.mark.parametrize("bad", [[np.nan, 1], [1, np.nan], [1, np.inf], [1, -np.inf], [0, 0], [0, 1], [-1, 2], [1e-40, 1e-41]])  # fmt: skip
def test_a_bad_signal_has_scale_0_and_its_neighbours_have_theirs(bad):
    signals = np.array([[2, 1], bad, [3, -4]], np.float32)
    np.testing.assert_array_equal(scales_of(signals), np.float32([2, 0, 4]))


def test_a_signal_is_loaded_into_its_lane_alone():
    signals = np.array([[2, 1, 0.5], [8, 4, -2]], np.float32)
    w = np.full((3, 4), 9, np.float32)
    root = np.float32([1, 2, 4])
    load_scaled.py_func(w, 2, signals, 1, np.float32(8), root)
    np.testing.assert_array_equal(w[:, 2], [1, 1, -1])
    load_scaled.py_func(w, 1, signals, 0, np.float32(0), root)
    np.testing.assert_array_equal(w[:, 1], 0)
    assert np.all(w[:, [0, 3]] == 9)
