"""The polynomial exponentials to their stated accuracy, and the launcher."""

import numpy as np
import pytest
from numba import njit

from ivimsc.device.launch import choose_device, run_blocks, usable_cores
from ivimsc.errors import InputError
from ivimsc.numerics.lanes import exp32, exp64


@njit
def over(function, x, out):
    for i in range(len(x)):
        out[i] = function(x[i])
    return out


def test_exp32_is_within_3e_7():
    x = np.linspace(-87, 88, 1_000_001, dtype=np.float32)
    truth = np.exp(x.astype(np.float64))
    assert np.max(np.abs(over(exp32, x, np.empty_like(x)) / truth - 1)) < 3e-7


def test_exp64_is_within_1e_15():
    x = np.linspace(-700, 700, 1_000_001)
    assert np.max(np.abs(over(exp64, x, np.empty_like(x)) / np.exp(x.astype(np.longdouble)) - 1)) < 1e-15


def test_exponentials_saturate_instead_of_overflowing():
    ends = over(exp32, np.array([-1e30, -100, 0, 1e30], np.float32), np.empty(4, np.float32))
    assert np.all(np.isfinite(ends)) and ends[2] == 1
    assert over(exp64, np.array([-1e300]), np.empty(1))[0] < 1e-300


@pytest.mark.parametrize("threads", [0, -1, 10_000])
def test_an_impossible_number_of_threads_is_an_error(threads):
    with pytest.raises(InputError, match=f"^threads: found {threads}, expected 1 to {usable_cores()}"):
        choose_device("cpu", threads)


def test_every_block_is_run_once_and_errors_come_through():
    seen = []
    run_blocks(choose_device("cpu"), lambda start, stop: seen.append((start, stop)), 10_000, block=999)
    assert sorted(seen) == [(s, min(s + 999, 10_000)) for s in range(0, 10_000, 999)]
    with pytest.raises(ZeroDivisionError):
        run_blocks(choose_device("cpu"), lambda start, stop: 1 // 0, 10_000)
