"""Equation (1), its slopes, and the Cramér-Rao bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivimsc.errors import InputError
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.physics.parameters import Bounds
from ivimsc.physics.signal import signal, signal_and_slopes
from tests.conftest import TEN, equation1

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


def test_the_bound_is_the_inverse_of_numerical_fisher_information():
    truth = np.array([1.0, 0.3, 1.6e-3, 45e-3])
    steps = np.array([1e-6, 1e-6, 1e-9, 1e-8])
    jacobian = np.stack(
        [(equation1(*(truth + s), TEN) - equation1(*(truth - s), TEN)) / (2 * s.sum()) for s in np.diag(steps)]
    )
    expected = 0.02 * np.sqrt(np.diag(np.linalg.inv(jacobian @ jacobian.T)))
    np.testing.assert_allclose(cramer_rao(*truth, TEN, 0.02)[0], expected, rtol=1e-5)
    known = 0.02 * np.sqrt(np.diag(np.linalg.inv(jacobian[1:] @ jacobian[1:].T)))
    np.testing.assert_allclose(cramer_rao(*truth, TEN, 0.02, s0_known=True)[0], [0, *known], rtol=1e-5)


def test_the_bound_is_infinite_where_nothing_tells_the_parameters_apart():
    assert np.all(np.isinf(cramer_rao(1, 0.0, 1e-3, 50e-3, TEN, 0.01)))
    assert np.all(np.isinf(cramer_rao(1, 0.3, 1e-3, 50e-3, [0, 100, 200], 0.01)))


def test_noise_without_size_is_an_error():
    with pytest.raises(InputError, match="sigma: found 0, expected"):
        cramer_rao(1, 0.3, 1e-3, 50e-3, TEN, 0.0)


@pytest.mark.parametrize(
    "bounds", [{"f": (0.5, 0.5)}, {"f": (-1, 1)}, {"D": (0, np.inf)}, {"Dstar": (0.0, 0.1)}, {"D": (0, 0.3)}]
)
def test_bounds_that_make_no_sense_are_an_error(bounds):
    with pytest.raises(InputError, match="bounds"):
        Bounds(**bounds)
