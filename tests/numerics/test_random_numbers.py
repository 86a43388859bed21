"""Philox4x32-10 against its published answers; the draws against their distributions."""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from ivimsc.numerics import random_numbers
from ivimsc.numerics.random_numbers import NOISE, TRUTH, normals, philox, uniforms

# Known answers of Random123 (tests/kat_vectors, "philox4x32 10"), the library of Salmon et al., SC '11,
# doi:10.1145/2063384.2063405: counter, key, result.
ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
N = 200_000


@njit
def _pairs(function, seed, stream, first, n, index):
    pairs = np.empty((n, 2))
    for i in range(n):
        pairs[i] = function(seed, stream, first + i, index)
    return pairs


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_published_known_answers(counter, key, answer):
    assert philox(*map(np.uint64, counter + key)) == answer


def test_seed_voxel_index_and_stream_are_counter_and_key():
    # The third published vector again, put in as a 64-bit voxel, an index, a stream and a 64-bit seed.
    first, second = uniforms(np.uint64(0x299F31D0A4093822), 0x03707344, np.uint64(0x85A308D3243F6A88), 0x13198A2E)
    assert first == ((0xD16CFE0994FDCCEB >> 12) + 0.5) * 2.0**-52
    assert second == ((0x5001E42024126EA1 >> 12) + 0.5) * 2.0**-52


def test_compiled_equals_python():
    for voxel in (0, 1, 2**40 + 3):
        assert normals(7, NOISE, voxel, 4) == pytest.approx(normals.py_func(7, NOISE, voxel, 4), rel=1e-15)


def test_uniforms_stay_inside_the_open_interval():
    values = _pairs(uniforms, 1, NOISE, 0, N, 0)
    assert values.min() > 0 and values.max() < 1


@pytest.mark.parametrize(("word", "extreme"), [(0, 2.0**-53), (ONES, 1 - 2.0**-53)], ids=["smallest", "largest"])
def test_the_extremes_that_can_be_drawn_are_no_0_and_no_1(monkeypatch, word, extreme):
    """Philox that answers all zeros or all ones, which no test will ever meet by chance."""
    monkeypatch.setattr(random_numbers, "philox", lambda *_: (np.uint64(word),) * 4)
    assert uniforms.py_func(0, NOISE, 0, 0) == (extreme, extreme)
    assert np.all(np.isfinite(normals.py_func(0, NOISE, 0, 0)))


def test_uniforms_are_uniform():
    values = _pairs(uniforms, 2, TRUTH, 0, N, 0)
    for column in values.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4  # one seed, fixed: fails only if the code changes


def test_normals_are_normal_with_the_right_moments():
    values = _pairs(normals, 3, NOISE, 0, N, 0)
    for column in values.T:
        assert stats.kstest(column, "norm").pvalue > 1e-4
    flat = values.ravel()
    # four standard errors of the sample's mean, variance, skewness and kurtosis
    assert abs(flat.mean()) < 4 / np.sqrt(flat.size)
    assert abs(flat.var() - 1) < 4 * np.sqrt(2 / flat.size)
    assert abs(stats.skew(flat)) < 4 * np.sqrt(6 / flat.size)
    assert abs(stats.kurtosis(flat)) < 4 * np.sqrt(24 / flat.size)


@pytest.mark.parametrize(
    "other",
    [
        (3, NOISE, 1, 0),
        (3, NOISE, 0, 1),
        (3, TRUTH, 0, 0),
        (4, NOISE, 0, 0),
        (3 + 2**32, NOISE, 0, 0),
        (3, NOISE, 2**32, 0),
    ],
    ids=["next voxel", "next index", "next stream", "next seed", "high seed word", "high voxel word"],
)
def test_neighbouring_draws_are_independent(other):
    values = _pairs(normals, 3, NOISE, 0, N, 0)
    seed, stream, first, index = other
    others = _pairs(normals, seed, stream, first, N, index)
    limit = 4 / np.sqrt(N)  # four standard errors of a correlation of 0
    for a in values.T:
        for b in others.T:
            assert abs(np.corrcoef(a, b)[0, 1]) < limit
            assert abs(np.corrcoef(a**2, b**2)[0, 1]) < limit
    assert abs(np.corrcoef(*values.T)[0, 1]) < limit


def test_a_draw_depends_on_its_place_alone():
    whole = _pairs(normals, 5, NOISE, 0, 1000, 2)
    part = _pairs(normals, 5, NOISE, 990, 10, 2)
    np.testing.assert_array_equal(whole[990:], part)
