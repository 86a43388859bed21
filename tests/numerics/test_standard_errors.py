"""The closed form of the standard errors against the inverse of the Fisher information by numpy."""

import numpy as np
import pytest

from ivimsc.device.launch import choose_device
from ivimsc.device.standard_errors import unit_standard_errors
from ivimsc.numerics.standard_errors import Errors, unit_errors_kernel
from tests.conftest import FIVE, TEN, phantom


def by_numpy(f, D, Dstar, b, known_s0):
    """Errors (3,) of f, D and D* at S0 = 1 and unit noise, from the slopes of equation (1)."""
    e1, e2 = np.exp(-b * D), np.exp(-b * Dstar)
    slopes = np.stack([(1 - f) * e1 + f * e2, e2 - e1, -b * (1 - f) * e1, -b * f * e2])[known_s0:]
    scale = np.linalg.norm(slopes, axis=1)
    inverse = np.linalg.inv((slopes @ slopes.T) / np.outer(scale, scale))
    return (np.sqrt(np.diag(inverse)) / scale)[-3:]


@pytest.mark.parametrize("known_s0", [False, True])
@pytest.mark.parametrize("bvalues", [TEN, FIVE], ids=["ten", "five"])
def test_they_are_the_cramer_rao_bound(bvalues, known_s0):
    p = phantom(37)
    errors = unit_standard_errors(p.f, p.D, p.Dstar, bvalues, known_s0, choose_device("cpu", 1))
    expected = np.array([by_numpy(*row, bvalues, known_s0) for row in zip(p.f, p.D, p.Dstar, strict=True)]).T
    for name, mine, other in zip(Errors._fields, errors, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, err_msg=name)  # the condition number is up to 1e8


def test_no_blood_leaves_the_error_of_f_and_none_of_dstar():
    errors = unit_standard_errors([0.0], [1e-3], [20e-3], TEN, False, choose_device("cpu", 1))
    nearly = unit_standard_errors([1e-9], [1e-3], [20e-3], TEN, False, choose_device("cpu", 1))
    assert np.isinf(errors.p[0]) and np.isfinite(errors.d[0])
    np.testing.assert_allclose(errors.f, nearly.f, rtol=1e-6)


def test_a_nan_stays_with_its_voxel_and_the_range_is_kept():
    p = phantom(40)
    f = p.f.copy()
    f[20] = np.nan
    errors = Errors(*np.full((3, 40), 7.0))
    unit_errors_kernel(3, 38, f, p.D, p.Dstar, TEN, False, errors)
    whole = unit_standard_errors(p.f, p.D, p.Dstar, TEN, False, choose_device("cpu", 1))
    for mine, other in zip(errors, whole, strict=True):
        assert np.isnan(mine[20]) and np.all(mine[[0, 1, 2, 38, 39]] == 7)
        inside = np.setdiff1d(np.arange(3, 38), [20])
        np.testing.assert_array_equal(mine[inside], other[inside])
