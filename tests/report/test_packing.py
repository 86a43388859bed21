"""Packed numbers come back as finely as they are promised to."""

import base64
import gzip

import numpy as np
import pytest

from ivimsc.report.packing import Precision, pack_codes, pack_values


def unpacked(packed):
    """The way back in numpy: what static/codec.js does."""
    about, raw = packed.about, np.frombuffer(gzip.decompress(base64.b64decode(packed.text)), np.uint8).astype(np.int64)
    n = about["n"]
    codes = raw[:n] + (raw[n:] * 256 if about["planes"] == 2 else 0)
    if about["delta"]:
        codes = np.cumsum((codes >> 1) ^ -(codes & 1)) & 0xFFFF
    if "k" not in about:
        return codes
    values = np.sinh((codes + about["low"]) / about["k"]) * about["k"] * about["step"]
    return np.where(codes == 0, np.nan, values)


def promised(values, precision):
    # to 2 %: the codes are rounded in float32, whose last digit is 0.002 of a code at 20,000
    return 1.02 * np.maximum(precision.step / 2, np.abs(values) * np.expm1(1 / (2 * precision.k)))


@pytest.mark.parametrize("precision", [Precision(1e-4, 2000), Precision(0.01, 50), Precision(3.0, 5)])
@pytest.mark.parametrize("spread", [0.1, 10.0, 1e4])
def test_values_come_back_within_their_precision(precision, spread):
    values = (spread * np.random.default_rng(0).standard_normal(3000)).astype(np.float32)
    found = unpacked(pack_values(values, precision))
    near = np.hypot(promised(values, precision), 0.5 * precision.step)  # between the two rules lies a smooth way over
    assert np.all(np.abs(found - values) <= near)


def test_a_small_value_keeps_its_step_beside_a_huge_one():
    values = np.array([1e-3, 0.5, 1e9, -4.0], np.float32)
    precision = Precision(1e-3, 1000)
    found = unpacked(pack_values(values, precision))
    assert np.all(np.abs(found - values) <= promised(values, precision))


def test_values_that_are_not_finite_become_nan_and_spoil_no_neighbour():
    values = np.array([0.25, np.nan, np.inf, -np.inf, 0.5], np.float32)
    found = unpacked(pack_values(values, Precision(1e-3, 1000)))
    np.testing.assert_array_equal(np.isnan(found), [False, True, True, True, False])
    np.testing.assert_allclose(found[[0, 4]], [0.25, 0.5], atol=5e-4)
    assert np.isnan(unpacked(pack_values(np.full(3, np.nan), Precision(1, 10)))).all()


def test_a_range_beyond_16_bits_loses_digits_and_not_its_order():
    values = np.float32([-1e30, -1, 0, 1, 1e30])
    found = unpacked(pack_values(values, Precision(1e-6, 5000)))
    assert np.all(np.diff(found) > 0)
    np.testing.assert_allclose(found[[0, 4]], values[[0, 4]], rtol=0.01)


@pytest.mark.parametrize("codes", [np.arange(50000) % 65536, np.random.default_rng(1).integers(0, 65536, 999), np.zeros(7), np.array([]), np.array([65535, 0, 65535, 1])])  # fmt: skip
def test_whole_numbers_come_back_exactly(codes):
    np.testing.assert_array_equal(unpacked(pack_codes(codes)), codes)


def test_smooth_values_are_kept_as_differences_and_take_less_room():
    wave = np.sin(np.arange(60000) / 500)
    smooth = pack_values(wave, Precision(1e-4, 2000))
    noise = pack_values(np.sin(np.random.default_rng(2).permutation(60000) / 500), Precision(1e-4, 2000))
    np.testing.assert_allclose(unpacked(smooth), wave, atol=3e-4)  # of values up to 1, in 4000 parts
    assert smooth.about["delta"] and len(smooth.text) < 0.6 * len(noise.text)
