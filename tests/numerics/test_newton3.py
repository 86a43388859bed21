"""Newton steps in three unknowns against numpy."""

import numpy as np
import pytest

from ivimsc.numerics.newton3 import Slopes3, newton3


def slopes_of(g, h):
    scale = np.abs(np.diag(h))
    return Slopes3(*np.float32([*g, *h[np.triu_indices(3)], *scale]))


def test_a_definite_matrix_gives_newtons_step_and_what_it_promises():
    random = np.random.default_rng(0)
    for _ in range(20):
        a, g = random.normal(size=(6, 3)), random.normal(size=3)
        h = a.T @ a
        *step, promised = newton3(slopes_of(g, h), False, False, False, np.float32(0))
        expected = -np.linalg.solve(h, g)
        np.testing.assert_allclose(step, expected, rtol=2e-3, atol=1e-4)  # float32, condition numbers up to 100
        assert promised == pytest.approx(0.5 * g @ np.linalg.solve(h, g), rel=2e-3)


def test_an_indefinite_matrix_gives_a_step_downhill():
    random = np.random.default_rng(1)
    for _ in range(50):
        a, g = random.normal(size=(3, 3)), random.normal(size=3)
        h = a + a.T
        *step, _ = newton3(slopes_of(g, h), False, False, False, np.float32(0))
        assert np.dot(step, g) < 0


def test_what_is_held_does_not_move():
    h = np.array([[2, 0.5, 0.3], [0.5, 1, 0.2], [0.3, 0.2, 3.0]])
    g = np.array([1.0, -2.0, 0.5])
    *step, _ = newton3(slopes_of(g, h), False, True, False, np.float32(0))
    assert step[1] == 0
    np.testing.assert_allclose([step[0], step[2]], -np.linalg.solve(h[np.ix_([0, 2], [0, 2])], g[[0, 2]]), rtol=1e-5)
