"""The exact code: scipy and scikit-learn as referees of its cost, and the proof by duality."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from ivimsc.outcome import Outcome
from tests.conftest import FIVE, TEN, phantom, run_method
from tests.methods.ista.common import SIXTY, THREE, coded, dense, gap_by_definition, objective, prepared


@pytest.mark.parametrize("bvalues", [TEN, FIVE, THREE, SIXTY], ids=["ten", "five", "three", "sixty"])
@pytest.mark.parametrize("snr", [None, 30, 100])
def test_beta_0_is_the_cost_of_scipys_nnls(bvalues, snr):
    p = phantom(60 if snr else 6, bvalues, snr)  # scipy takes its time where there is no noise
    y, phi, x, code = coded(bvalues, p.signals, 0.0)
    reference = np.array([nnls(phi, row)[1] ** 2 for row in y])
    assert np.all(x >= 0)
    # to 1e-6 of the cost, or to 1e-12 of ||y||² where the signal is met exactly (the floor of the relative gap)
    assert np.all(objective(y, phi, x, 0) <= reference * (1 + 1e-6) + 1e-12 * np.sum(y * y, axis=1))
    assert np.max(code.gap) <= 1e-6


@pytest.mark.parametrize("bvalues", [TEN, FIVE], ids=["ten", "five"])
@pytest.mark.parametrize("beta", [1e-2, 1e-1, 1.0])
def test_the_cost_is_that_of_scikit_learns_lasso(bvalues, beta):
    Lasso = pytest.importorskip("sklearn.linear_model").Lasso
    p = phantom(8, bvalues, 30)
    y, phi, x, code = coded(bvalues, p.signals, beta, n_d=30, n_dstar=30)  # coordinate descent is slow on fine grids
    lasso = Lasso(alpha=beta / (2 * len(bvalues)), positive=True, fit_intercept=False, max_iter=3 * 10**5, tol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not always reach its own tolerance, and says so
        reference = np.array([lasso.fit(phi, row).coef_ for row in y])
    assert np.all(objective(y, phi, x, beta) <= objective(y, phi, reference, beta) * (1 + 1e-6))
    assert np.max(code.gap) <= 1e-6


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 1e-4, 1e-2, 0.3]), st.sampled_from(["exact", "fista", "soft"]))
def test_the_gap_bounds_the_true_distance_to_the_optimum(seed, beta, solver):
    """Any signal, not only physical ones; the optimum is that of the exact solver at a tighter tolerance."""
    signals = np.random.default_rng(seed).uniform(-0.2, 1, (3, 6)).astype(np.float32)
    signals[:, 0] = np.abs(signals[:, 0]) + 0.1
    bvalues = np.array([0, 20, 60, 150, 400, 900.0])
    small = {"n_d": 40, "n_dstar": 40, "max_iterations": 20}
    y, phi, x, code = coded(bvalues, signals, beta, solver, tolerance=1e-4, **small)
    _, _, best, reference = coded(bvalues, signals, beta, "exact", tolerance=1e-10, **small)
    assert np.max(reference.gap) <= 1e-10
    cost, least = objective(y, phi, x, beta), objective(y, phi, best, beta)
    size = np.maximum(cost, 1e-6 * np.sum(y * y, axis=1))
    assert np.all((cost - least) / size <= code.gap + 1e-9)  # rounding of the costs themselves


@pytest.mark.parametrize("bvalues", [TEN, FIVE], ids=["ten", "five"])
@pytest.mark.parametrize("beta", [0.0, 1e-4, 1e-2, 0.5])
def test_every_voxel_is_certified(bvalues, beta):
    for snr in (5, 30, 1000, None):
        e = run_method("ista", phantom(2000, bvalues, snr).signals, bvalues, beta=beta)
        assert np.max(e.gap) <= 1e-6, (snr, np.max(e.gap))
        assert not np.any(e.outcome == Outcome.GAP)


def test_every_voxel_is_certified_on_large_and_linear_dictionaries():
    p = phantom(300, TEN, 30)
    for options in (
        {"n_d": 1000, "n_dstar": 1000},
        {"grid": "linear", "d_range": (0.0, 5e-3)},
        {"n_d": 3, "n_dstar": 2},
        {"n_d": 1, "n_dstar": 1},
    ):
        assert np.max(run_method("ista", p.signals, TEN, **options).gap) <= 1e-6, options


def test_a_voxel_that_is_one_atom_comes_back_as_that_atom():
    fitter = prepared(TEN, tolerance=1e-10)  # at 1e-6 a neighbour, 1 to 2 % away in D, is often good enough
    for j in (100, 160, 250, 299, 300, 450, 570):
        signal = 100 * fitter.dictionary.matrix[:, j][None].astype(np.float32)
        e = fitter.fit(signal)
        mass = dense(e.spectrum, 1, 600)[0] / e.S0[0]
        assert np.sum(mass * np.arange(600)) == pytest.approx(j, abs=0.05)  # float32 signals leave some to neighbours
        assert np.sum(mass[j - 2 : j + 3]) > 0.999
        assert e.S0[0] == pytest.approx(100, rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_the_gap_and_squares_are_those_of_the_code(beta):
    """At a loose tolerance: there the gaps are far above the rounding of the costs that they are the difference of."""
    y, phi, x, code = coded(TEN, phantom(40, TEN, 30).signals, beta, tolerance=3e-2, n_d=60, n_dstar=50)
    expected = np.array([gap_by_definition(row, phi, each, beta) for row, each in zip(y, x, strict=True)])
    assert np.sum(expected > 1e-4) > 10
    np.testing.assert_allclose(code.gap, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(code.squares, np.sum((y - x @ phi.T) ** 2, axis=1), rtol=1e-9)


def test_atoms_are_in_ascending_order():
    indices, indptr = (
        getattr(coded(TEN, phantom(200, TEN, 30).signals, 0.0)[3], name) for name in ("indices", "indptr")
    )
    inside = np.ones(len(indices) - 1, bool)
    inside[indptr[1:-1] - 1] = False  # from one voxel's last atom to the next voxel's first
    assert np.all(np.diff(indices)[inside] > 0)


def test_a_relative_beta_is_a_part_of_the_largest_correlation():
    signals = phantom(8, TEN, 30).signals
    y, phi, x, _ = coded(TEN, signals, 0.2, beta_rule="relative", n_d=40, n_dstar=40, tolerance=1e-10)
    for k, row in enumerate(y):
        beta = 0.2 * np.max(phi.T @ row)
        alone = coded(TEN, signals[k : k + 1], beta, n_d=40, n_dstar=40, tolerance=1e-10)[2]
        assert objective(row, phi, x[k], beta) == pytest.approx(objective(row, phi, alone[0], beta), rel=1e-9)
