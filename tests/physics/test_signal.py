"""Equation (1) and its slopes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivimsc.physics.signal import signal, signal_and_slopes
from tests.conftest import equation1

VALUES = st.tuples(st.floats(0, 1500), st.floats(0.1, 1e4), st.floats(0, 1), st.floats(0, 5e-3), st.floats(5e-3, 0.2))


@given(VALUES)
def test_the_compiled_signal_is_equation_1(values):
    b, *parameters = values
    assert signal(b, *parameters) == pytest.approx(
        float(equation1(*parameters, np.array([b]))[0]), rel=1e-12, abs=1e-300
    )
    assert signal.py_func(b, *parameters) == signal(b, *parameters)


@given(VALUES)
def test_slopes_are_finite_differences(values):
    b, *parameters = values
    value, *slopes = signal_and_slopes(b, *parameters)
    assert value == pytest.approx(signal(b, *parameters), rel=1e-12)
    for i, (slope, step) in enumerate(zip(slopes, (1e-3, 1e-5, 1e-8, 1e-7), strict=True)):
        above, below = list(parameters), list(parameters)
        above[i] += step
        below[i] -= step
        difference = (signal(b, *above) - signal(b, *below)) / (2 * step)
        # central differences: error of order step² · third derivative, plus 1e-16 · value / step of rounding
        assert slope == pytest.approx(difference, rel=1e-4, abs=1e-7 * (1 + b**2) * parameters[0])
