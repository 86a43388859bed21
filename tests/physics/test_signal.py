"""Equation (1) in all its forms, and its slopes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivimsc.physics.signal import signal, signal_and_slopes, signals
from ivimsc.simulate import simulate_signals
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


@given(VALUES)
def test_slopes_are_those_of_the_formula_taken_by_hand(values):
    b, S0, f, D, Dstar = values
    _, *slopes = signal_and_slopes(b, S0, f, D, Dstar)
    e1, e2 = np.exp(-b * D), np.exp(-b * Dstar)
    expected = [(1 - f) * e1 + f * e2, S0 * (e2 - e1), -b * S0 * (1 - f) * e1, -b * S0 * f * e2]
    np.testing.assert_allclose(slopes, expected, rtol=1e-12, atol=1e-300)


class TestArrays:
    """`signals`, the numpy form."""

    truth = (np.array([1.0, 90.0]), np.array([0.0, 0.4]), np.array([1e-3, 2e-3]), np.array([2e-2, 9e-2]))

    def test_it_is_equation_1(self):
        found = signals(*(a[:, None] for a in self.truth), TEN)
        np.testing.assert_allclose(found, equation1(*self.truth, TEN), rtol=1e-15)

    def test_units_only_have_to_agree(self):
        S0, f, D, Dstar = (a[:, None] for a in self.truth)
        np.testing.assert_allclose(signals(S0, f, D * 1e3, Dstar * 1e3, TEN * 1e-3), signals(S0, f, D, Dstar, TEN))

    def test_numbers_do_not_change_the_precision_of_arrays(self):
        _, f, D, Dstar = (a.astype(np.float32)[:, None] for a in self.truth)
        assert signals(1.0, f, D, Dstar, TEN.astype(np.float32)).dtype == np.float32

    def test_known_values(self):
        assert signals(5.0, 0.25, np.log(2.0), np.log(4.0), 1.0) == pytest.approx(5 * (0.75 / 2 + 0.25 / 4), rel=1e-15)


def by_simulation(S0, f, D, Dstar, b):
    return simulate_signals(S0, f, D, Dstar, b)


def by_torch(S0, f, D, Dstar, b):
    torch = pytest.importorskip("torch")
    from ivimsc.methods.ivimnet.network import biexponential

    parameters = torch.tensor(np.stack([S0, f, D * 1e3, Dstar * 1e3], axis=1))
    return biexponential(parameters, torch.tensor(b * 1e-3)).numpy()


def by_lanes(S0, f, D, Dstar, b):
    from ivimsc.methods.bayes.likelihood import unit_signals

    out = np.empty((len(b), len(f)), np.float32)
    unit_signals((b * 1e-3).astype(np.float32), np.stack([f, D * 1e3, Dstar * 1e3]).astype(np.float32), out)
    return S0[:, None] * out.T


@pytest.mark.parametrize(("backend", "tolerance"), [(by_simulation, 1e-13), (by_torch, 1e-13), (by_lanes, 2e-6)])
def test_all_backends_give_the_same_signals(backend, tolerance):
    """float64 to its rounding; the float32 lanes to theirs: b D of up to 100 are rounded before the exponential."""
    random = np.random.default_rng(3)
    S0, f, D, Dstar = (random.uniform(*limits, 500) for limits in ((0.5, 2), (0, 1), (0, 5e-3), (5e-3, 0.2)))
    found = backend(S0, f, D, Dstar, TEN)
    np.testing.assert_allclose(
        found, signals(*(a[:, None] for a in (S0, f, D, Dstar)), TEN), rtol=tolerance, atol=tolerance
    )
