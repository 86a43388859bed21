"""The closed form of the standard errors against the inverse of the Fisher information by numpy."""

import numpy as np
import pytest

from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.standard_errors import ERROR_LANES, Errors, errors_in_lanes
from tests.conftest import FIVE, TEN, phantom


def unit_standard_errors(f, D, Dstar, bvalues, known_s0, weights=1.0):
    """`Errors` (voxel,) at S0 = 1 and unit noise; at most LANES voxels, the other lanes repeat the last one."""
    n, scratch = len(f), np.empty(1, ERROR_LANES)
    filled = {"tissue": 1 - np.asarray(f), "blood": f, "d": D, "p": Dstar}
    for name, values in filled.items():
        scratch[name][0] = np.pad(values, (0, LANES - n), mode="edge")
    errors_in_lanes(scratch, bvalues, np.sqrt(np.broadcast_to(weights, len(bvalues)).astype(float)), known_s0)
    return Errors(*(scratch[name][0, :n] for name in ("f_error", "d_error", "p_error")))


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
    p = phantom(16)
    errors = unit_standard_errors(p.f, p.D, p.Dstar, bvalues, known_s0)
    expected = np.array([by_numpy(*row, bvalues, known_s0) for row in zip(p.f, p.D, p.Dstar, strict=True)]).T
    for name, mine, other in zip(Errors._fields, errors, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, err_msg=name)  # the condition number is up to 1e8


def test_no_blood_leaves_the_error_of_f_and_none_of_dstar():
    errors = unit_standard_errors([0.0], [1e-3], [20e-3], TEN, False)
    nearly = unit_standard_errors([1e-9], [1e-3], [20e-3], TEN, False)
    assert np.isinf(errors.p[0]) and np.isfinite(errors.d[0])
    np.testing.assert_allclose(errors.f, nearly.f, rtol=1e-6)


def test_the_mean_of_four_images_counts_as_four_bvalues():
    p = phantom(16)
    weighted = unit_standard_errors(p.f, p.D, p.Dstar, TEN, False, weights=[1, 4, 1, 1, 1, 1, 1, 1, 1, 4])
    repeated = unit_standard_errors(p.f, p.D, p.Dstar, np.r_[TEN, [10] * 3, [500] * 3].astype(float), False)
    for mine, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)  # the condition number is up to 1e8
