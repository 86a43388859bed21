"""The duality gap: the parts of it against numpy, and the whole against the definition of the dual problem."""

import numpy as np
import pytest

from ivimsc.methods.ista.active_set import append, make_active, padded
from ivimsc.methods.ista.duality import Dual, excess, relative_gap, scan
from ivimsc.physics.dictionary import make_dictionary
from tests.conftest import TEN, phantom
from tests.methods.ista.common import RANGES, gap_by_definition


@pytest.mark.parametrize("n_b", [1, 4, 5, 6, 10, 13])
def test_a_scan_is_the_product_with_the_transpose(n_b):
    """Of some of the columns; five rows go at a time, so all remainders are tried."""
    random = np.random.default_rng(n_b)
    columns, r, c = random.normal(size=(n_b, 30)), random.normal(size=(2, n_b)), np.full(20, 7.0)
    scan(columns, 4, 17, r, 1, c)
    np.testing.assert_allclose(c[:17], columns[:, 4:21].T @ r[1], atol=1e-13)  # sums of 13 numbers of order 1
    assert np.all(c[17:] == 7)


@pytest.mark.parametrize(
    ("values", "expected"), [([0.3, 0.7, -2.0], 0.2), ([0.3, 0.4, -9.0], 0.0), ([-1.0, -2.0, -3.0], 0.0)]
)
def test_the_excess_is_how_far_the_largest_lies_above_half_of_beta(values, expected):
    c, one = np.array([*values, 99.0]), np.empty(1)
    assert excess(c.view(np.int64), 3, 0.5, one, one.view(np.int64)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("beta", [0.0, 0.02, 0.3])
def test_the_gap_is_cost_minus_lower_bound_over_cost(beta):
    """At points that are far from the optimum, and feasible only because the excess is taken off."""
    phi = make_dictionary(TEN, "log", (8, 7), *RANGES).matrix
    atoms = np.zeros((15, padded(10)))
    atoms[:, :10] = phi.T
    row = np.argmax(phi.min(axis=1))
    lift = np.zeros(10)
    lift[row] = 1 / phi[row].min()
    random = np.random.default_rng(8)
    for y in phantom(6, TEN, 20).signals.astype(np.float64):
        s, k, x = make_active(10), 0, np.zeros(15)
        for j in random.choice(15, 3, replace=False):
            x[j] = random.uniform(0.05, 0.4)
            k = append(s, np.int64(k), atoms, j, x[j], 0.0)
        r = y - phi @ x
        c, dual = phi.T @ r, Dual(beta / 2, y @ y, lift @ lift, phi.T @ lift)
        found = relative_gap(s, k, c, 0, dual, max(c.max() - beta / 2, 0.0), r @ r)
        assert found > 1e-3
        assert found == pytest.approx(gap_by_definition(y, phi, x, beta), rel=1e-9)


def test_the_gap_of_a_signal_without_residual_is_measured_with_its_size():
    """Nothing is small beside a cost of 0: the cost counts as at least 1e-6 ||y||²."""
    s, y2 = make_active(4), 4.0
    delta = 1e-4  # of the excess, with ||l||² = 1: the gap is δ² over 1e-6 ||y||²
    found = relative_gap(s, 0, np.zeros(1), 0, Dual(0.0, y2, 1.0, np.ones(1)), delta, 0.0)
    assert found == pytest.approx(delta**2 / (1e-6 * y2), rel=1e-12)
