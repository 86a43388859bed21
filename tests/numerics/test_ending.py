"""The rule that tells the outcomes apart, case by case, and the numbers that kernels write."""

import numpy as np
import pytest

from ivimsc.numerics import ending as module
from ivimsc.numerics.ending import Box, boxes_of, ending
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import Bounds

BOX = Box(0.0, 1.0, 0.0, 5.0, 5.0, 200.0)
NAN = np.nan
CONVERGED, BOUND, UNKNOWN = Outcome.CONVERGED, Outcome.AT_BOUND, Outcome.DSTAR_UNIDENTIFIABLE
CASES = [  # f, D, D*, errors of f and D*, outcome
    (0.2, 1.0, 20.0, 0.05, 5.0, CONVERGED),
    (0.195, 1.0, 20.0, 0.1, 5.0, UNKNOWN),  # 1.95 standard errors from f = 0
    (0.197, 1.0, 20.0, 0.1, 5.0, CONVERGED),  # 1.97
    (0.2, 4.0, 8.0, 0.05, 8 * np.log(2) / 1.95, UNKNOWN),  # ln D* is 1.95 standard errors from ln D
    (0.2, 4.0, 8.0, 0.05, 8 * np.log(2) / 1.97, CONVERGED),
    (0.0, 1.0, 20.0, NAN, NAN, UNKNOWN),  # no noise is known, but no blood is no blood
    (0.2, 1.0, 20.0, NAN, NAN, UNKNOWN),  # nothing shows that it is more than noise
    (0.2, 1.0, 20.0, 0.05, NAN, CONVERGED),  # D* held fixed has no error
    (1.0, 1.0, 20.0, 0.05, 5.0, BOUND),
    (0.2, 0.0, 20.0, 0.05, 500.0, BOUND),  # D = 0 is no D*
    (0.2, 5.0, 50.0, 0.05, 5.0, BOUND),
    (0.2, 1.0, 5.0, 0.05, 1.0, BOUND),
    (0.2, 1.0, 200.0, 0.05, 5.0, BOUND),
    (0.2, 1.0, 200.0, 0.05, 1e9, UNKNOWN),  # both hold: not identifiable wins
    (0.1, 5.0, 50.0, 0.1, 5.0, UNKNOWN),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("unit", [1.0, 1e-3], ids=["µm²/ms", "mm²/s"])
def test_the_first_rule_that_holds_gives_the_outcome(case, unit):
    f, d, p, f_error, p_error, expected = case
    box = Box(BOX.f_low, BOX.f_high, *(value * unit for value in BOX[2:]))
    assert ending.py_func(f, d * unit, p * unit, f_error, p_error * unit, box) == expected


def test_the_lower_bound_of_f_is_a_bound_where_it_is_not_zero():
    assert ending.py_func(0.1, 1.0, 20.0, 0.01, 1.0, BOX._replace(f_low=0.1)) == BOUND


def test_the_numbers_of_the_kernels_are_those_of_the_outcomes():
    names = ("CONVERGED", "AT_BOUND", "ITERATION_LIMIT", "UNIDENTIFIABLE", "BAD_SIGNAL")
    numbers = [getattr(module, name) for name in names]
    assert numbers == [1, 2, 3, 4, 5] and all(type(number) is int for number in numbers)
    assert [Outcome(number).name.removeprefix("DSTAR_") for number in numbers] == list(names)


@pytest.mark.parametrize("dstar", [(5e-3, 0.02), (0.005, 0.2), (0.013, 0.1), (7e-3, 0.3)])
def test_the_box_of_the_results_lies_within_the_bounds_in_float64_and_by_less_than_a_float32(dstar):
    bounds = Bounds((0.1, 0.3), (1e-4, 3e-3), dstar)
    limits = boxes_of(bounds)[1]
    for (low, high), (low32, high32) in zip((bounds.f, bounds.D, bounds.Dstar), (limits[:2], limits[2:4], limits[4:]), strict=True):  # fmt: skip
        assert low <= float(low32) < low * (1 + 1.2e-7) and high * (1 - 1.2e-7) < float(high32) <= high
        assert low32.dtype == high32.dtype == np.float32
