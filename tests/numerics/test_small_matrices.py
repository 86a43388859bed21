"""Closed forms of 2 × 2 systems against numpy."""

import numpy as np
import pytest

from ivimsc.numerics.small_matrices import bilinear2, inverse2


@pytest.mark.parametrize("seed", range(5))
def test_inverse_and_bilinear_form(seed):
    random = np.random.default_rng(seed)
    columns, x, y = random.normal(size=(5, 2)), random.normal(size=2), random.normal(size=2)
    m = columns.T @ columns
    i11, i12, i22 = inverse2.py_func(m[0, 0], m[0, 1], m[1, 1], 1e-12)
    np.testing.assert_allclose([[i11, i12], [i12, i22]], np.linalg.inv(m), rtol=1e-10)
    assert bilinear2.py_func(*x, m[0, 0], m[0, 1], m[1, 1], *y) == pytest.approx(x @ m @ y, rel=1e-12)


def test_dependent_columns_are_taken_to_be_just_apart():
    """Determinant 0 becomes floor · a11 · a22."""
    assert inverse2.py_func(2.0, 4.0, 8.0, 1e-3) == pytest.approx((8 / 16e-3, -4 / 16e-3, 2 / 16e-3))
