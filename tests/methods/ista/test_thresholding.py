"""Iterated thresholding: plain numpy iterations as referee, scikit-learn for where they lead, and the reported gap."""

import warnings

import numpy as np
import pytest

from ivimsc.outcome import Outcome
from tests.conftest import TEN, phantom, run_method
from tests.methods.ista.common import coded, gap_by_definition, objective, prepared

SMALL = {"n_d": 12, "n_dstar": 11}
TEN_VOXELS = phantom(10, TEN, 30).signals


def soft(u, cut):
    return np.maximum(u - cut, 0)


def hard(u, cut):
    return np.where((u >= cut) & (u > 0), u, 0)


def iterated(y, phi, H, cut, turns):
    """x <- H(x + Φᵀ(y - Φ x)/L, cut) from x = 0: y (voxel, b) to x (voxel, atom)."""
    L, x = np.linalg.norm(phi, 2) ** 2, np.zeros((len(y), phi.shape[1]))
    for _ in range(turns):
        x = H(x + (y - x @ phi.T) @ phi / L, cut)
    return x


def accelerated(y, phi, beta, turns):
    """FISTA for one signal, restarted where the momentum points uphill."""
    L = np.linalg.norm(phi, 2) ** 2
    x = point = np.zeros(phi.shape[1])
    t = 1.0
    for _ in range(turns):
        new = soft(point + phi.T @ (y - phi @ point) / L, beta / (2 * L))
        if (point - new) @ (new - x) > 0:
            t, factor = 1.0, 0.0
        else:
            following = (1 + np.sqrt(1 + 4 * t * t)) / 2
            factor, t = (t - 1) / following, following
        x, point = new, new + factor * (new - x)
    return x


@pytest.mark.parametrize("turns", [1, 2, 25])
@pytest.mark.parametrize("beta", [0.01, 0.5])
def test_soft_is_the_iteration_of_equation_6(turns, beta):
    y, phi, x, code = coded(TEN, TEN_VOXELS, beta, "soft", max_iterations=turns, **SMALL)
    L = np.linalg.norm(phi, 2) ** 2
    np.testing.assert_allclose(x, iterated(y, phi, soft, beta / (2 * L), turns), atol=1e-12)  # rounding of 25 turns
    assert np.all(code.turns == turns) and not np.any(code.done)


@pytest.mark.parametrize("turns", [1, 2, 25])
@pytest.mark.parametrize("cut", [1e-4, 0.03])
def test_hard_is_the_iteration_with_the_hard_threshold(turns, cut):
    y, phi, x, _ = coded(TEN, TEN_VOXELS, 0.0, "hard", max_iterations=turns, threshold=cut, tolerance=1e-12, **SMALL)
    np.testing.assert_allclose(x, iterated(y, phi, hard, cut, turns), atol=1e-12)


@pytest.mark.parametrize("turns", [1, 5, 60])
def test_fista_is_the_iteration_with_momentum_and_restart(turns):
    y, phi, x, _ = coded(TEN, TEN_VOXELS, 0.1, "fista", max_iterations=turns, tolerance=1e-12, **SMALL)
    np.testing.assert_allclose(
        x, [accelerated(row, phi, 0.1, turns) for row in y], atol=1e-10
    )  # restarts are decisions


@pytest.mark.parametrize("solver", ["soft", "fista", "hard"])
@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_the_gap_is_that_of_the_definition(solver, beta):
    more = {"threshold": 1e-3} if solver == "hard" else {}
    y, phi, x, code = coded(TEN, TEN_VOXELS, beta, solver, max_iterations=15, **more, **SMALL)
    expected = [gap_by_definition(row, phi, each, beta) for row, each in zip(y, x, strict=True)]
    np.testing.assert_allclose(code.gap, expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(code.squares, np.sum((y - x @ phi.T) ** 2, axis=1), rtol=1e-12)


def test_a_relative_beta_is_a_part_of_the_largest_correlation():
    """A code for β = 0.3 ||Φᵀy||_∞ is that for this β given as a number."""
    y, phi, x, _ = coded(TEN, TEN_VOXELS, 0.3, "soft", beta_rule="relative", max_iterations=20, **SMALL)
    for k, row in enumerate(y):
        beta = 0.3 * np.max(phi.T @ row)
        alone = coded(TEN, TEN_VOXELS[k : k + 1], beta, "soft", max_iterations=20, **SMALL)[2]
        np.testing.assert_allclose(x[k], alone[0], atol=1e-13)


def test_soft_fista_and_exact_agree():
    """Each within the gap that it proves. Small dictionaries: a large one's condition number leaves ISTA far away."""
    p = phantom(20, TEN, 30)
    options = {"n_d": 4, "n_dstar": 4, "d_range": (3e-4, 5e-3), "max_iterations": 100_000}
    costs = {}
    for solver, tolerance in (("exact", 1e-8), ("fista", 1e-6), ("soft", 1e-3)):
        y, phi, x, code = coded(TEN, p.signals, 0.5, solver, tolerance=tolerance, **options)
        assert np.max(code.gap) <= tolerance and np.all(code.done), solver
        costs[solver] = objective(y, phi, x, 0.5)
    np.testing.assert_allclose(costs["fista"], costs["exact"], rtol=1e-6)
    np.testing.assert_allclose(costs["soft"], costs["exact"], rtol=1e-3)


def test_fista_ends_at_the_coefficients_of_scikit_learns_lasso():
    """Three atoms well apart, so that not the cost alone but the coefficients are determined."""
    Lasso = pytest.importorskip("sklearn.linear_model").Lasso
    options = {"n_d": 2, "n_dstar": 1, "d_range": (5e-4, 3e-3), "dstar_range": (0.05, 0.2), "max_iterations": 10**5}
    y, phi, x, code = coded(TEN, TEN_VOXELS, 0.05, "fista", tolerance=1e-10, **options)
    assert np.all(code.done)
    lasso = Lasso(alpha=0.05 / (2 * len(TEN)), positive=True, fit_intercept=False, max_iter=10**5, tol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may not reach its own tolerance, and says so
        reference = np.array([lasso.fit(phi, row).coef_ for row in y])
    # a gap of 1e-10 of a cost of 0.05 moves x by its root, 2e-6, times the condition number of some 10
    np.testing.assert_allclose(x, reference, atol=1e-4)


def test_hard_is_a_fixed_point_of_equations_6_and_7():
    p = phantom(20, TEN, 30)
    options = {"n_d": 3, "n_dstar": 3, "d_range": (3e-4, 5e-3), "max_iterations": 50_000, "threshold": 0.02}
    y, phi, x, code = coded(TEN, p.signals, 0.0, "hard", **options)
    again = hard(x + (y - x @ phi.T) @ phi / np.linalg.norm(phi, 2) ** 2, 0.02)
    assert np.mean(code.done) > 0.5
    # stopped when the iterations left could move x by 1e-6 of it in all: 2e-11 in one
    np.testing.assert_allclose(again[code.done], x[code.done], atol=1e-10)
    e = run_method("ista", p.signals, TEN, solver="hard", **options)
    np.testing.assert_array_equal(e.outcome == Outcome.ITERATION_LIMIT, ~code.done)


def test_the_default_threshold_of_hard_is_that_of_an_l0_penalty():
    """λ = sqrt(β/L): the threshold of a step of length 1/L on ||y - Φ x||² / 2 + β/2 times the number of atoms in use."""
    p, beta = phantom(20, TEN, 30), 1e-3
    options = {"n_d": 12, "n_dstar": 12, "max_iterations": 200}
    L = prepared(TEN, **options).dictionary.lipschitz
    left = coded(TEN, p.signals, beta, "hard", **options)[2]
    told = coded(TEN, p.signals, beta, "hard", threshold=float(np.sqrt(beta / L)), **options)[2]
    other = coded(TEN, p.signals, beta, "hard", threshold=float(2 * np.sqrt(beta / L)), **options)[2]
    np.testing.assert_array_equal(left, told)
    assert not np.array_equal(left, other)
    assert np.all(left[left > 0] >= np.sqrt(beta / L))
