"""The pieces of the one-exponential fit against numpy."""

import numpy as np
import pytest

from ivimsc.methods.segmented.exponential import (
    Decay,
    Weighted,
    intercept_weights,
    into_cone,
    line_at_zero,
    newton_rate,
)


@pytest.mark.parametrize("weights", [np.ones(4), np.array([1, 4, 9, 2.0])], ids=["equal", "weighted"])
def test_the_line_through_the_logarithms_is_that_of_polyfit(weights):
    random = np.random.default_rng(0)
    b, y, root = np.array([0, 0.01, 0.05, 0.2]), random.uniform(0.5, 1, 4), np.sqrt(weights)
    expected = np.exp(np.polyfit(b, np.log(y), 1, w=root)[1])
    line = intercept_weights(b, weights)
    assert line_at_zero.py_func(y * root, root, line) == pytest.approx(expected, rel=1e-6)  # the result is float32
    assert np.isnan(line_at_zero.py_func(np.array([1, 0.5, 0, 0.2]), root, line))


@pytest.mark.parametrize(("blood", "expected"), [(0.0, 0.1 / 0.9), (0.05, 0.1 / 0.9), (0.3, 0.3), (5.0, 0.4 / 0.6)])
def test_the_amplitude_of_blood_comes_to_the_nearest_allowed_fraction(blood, expected):
    """Of a tissue of 1: f = 0.1 to 0.4."""
    assert into_cone.py_func(1.0, blood, 0.1, 0.4) == pytest.approx(expected, rel=1e-6)


def test_a_step_is_newtons_on_the_cost_with_the_amplitude_projected_out():
    b = np.array([0.3, 0.5, 0.8, 1.2])
    y = 0.8 * np.exp(-1.2 * b) + np.random.default_rng(1).normal(0, 0.02, 4)

    def cost(rate):
        e = np.exp(-b * rate)
        return 0.5 * np.sum((y - (y @ e) / (e @ e) * e) ** 2)

    rate, h = 1.1, 1e-4
    e = np.exp(-b * rate)
    a = (y @ e) / (e @ e)
    r = y - a * e
    slope = (cost(rate + h) - cost(rate - h)) / (2 * h)
    bend = (cost(rate + h) - 2 * cost(rate) + cost(rate - h)) / h**2
    sums = Weighted(e @ e, (b * e) @ e, (b * b * e) @ e), (b * e) @ r, (b * b * e) @ r
    new = newton_rate.py_func(Decay(rate, a), *sums, 0.5, 2.0)
    assert new == pytest.approx(rate - slope / bend, rel=1e-5)  # differences leave h² of the value
    assert newton_rate.py_func(Decay(rate, a), *sums, 1.0999, 1.1001) in (1.0999, 1.1001)
