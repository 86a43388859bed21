"""The Cramér-Rao bound: the inverse of the Fisher information of equation (1)."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.physics.cramer_rao import cramer_rao
from tests.conftest import TEN, equation1


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


def test_every_voxel_has_its_own_noise():
    one, two = cramer_rao([1, 1], 0.3, 1e-3, 50e-3, TEN, [0.01, 0.03])
    np.testing.assert_allclose(two, 3 * one, rtol=1e-12)
