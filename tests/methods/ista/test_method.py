"""Sparse coding: scipy and scikit-learn as referees, the proof by duality, and what a user gets."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from ivimsc.device.launch import choose_device
from ivimsc.errors import InputError
from ivimsc.methods import Inputs, make_options
from ivimsc.methods.ista import method as ista
from ivimsc.outcome import Outcome
from ivimsc.physics.dictionary import make_dictionary
from tests.conftest import FIVE, TEN, as_voxels, equation1, phantom, run_method

RANGES = ((1e-5, 5e-3), (5e-3, 0.2))
THREE = np.array([0, 150, 600.0])
SIXTY = np.linspace(0, 1000, 60)


def prepared(bvalues, signals=None, **options):
    signals = np.ones((1, len(bvalues)), np.float32) if signals is None else signals
    return ista.prepare(as_voxels(signals, bvalues), make_options(ista, options), choose_device("cpu", 1))


def dense(spectrum, voxels, atoms):
    """Coefficients (voxel, atom) out of CSR rows."""
    x = np.zeros((voxels, atoms))
    x[np.repeat(np.arange(voxels), np.diff(spectrum.indptr)), spectrum.indices] = spectrum.data
    return x


def coded(bvalues, signals, beta, solver="exact", **options):
    """Scaled signals y, matrix and coefficients (voxel, atom) in float64 as the solver left them, with its gaps."""
    fitter = prepared(bvalues, signals, **options)
    code = fitter.code(np.ascontiguousarray(signals, np.float32), beta, solver)
    x = dense(code, len(signals), len(fitter.dictionary))
    return signals.astype(np.float64) / code.scale[:, None].astype(np.float64), fitter.dictionary.matrix, x, code


def objective(y, phi, x, beta):
    return np.sum((y - x @ phi.T) ** 2, axis=1) + beta * np.sum(x, axis=1)


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


@settings(max_examples=40, deadline=None)
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


def test_noise_free_truth_is_recovered():
    p = phantom(2000)
    e = run_method("ista", p.signals, TEN)
    # two neighbours stand for a diffusivity between them: 2 % apart, an error of the square of that
    np.testing.assert_allclose(e.f, p.f, atol=2e-3)
    np.testing.assert_allclose(e.D, p.D, rtol=3e-3)
    np.testing.assert_allclose(e.Dstar, p.Dstar, rtol=1e-2)


def test_soft_fista_and_exact_agree():
    """Each within the gap that it proves. Small dictionaries: a large one's condition number leaves ISTA far away."""
    p = phantom(20, TEN, 30)
    options = {"n_d": 4, "n_dstar": 4, "d_range": (3e-4, 5e-3), "max_iterations": 100_000}
    costs = {}
    for solver, tolerance in (("exact", 1e-8), ("fista", 1e-6), ("soft", 1e-3)):
        y, phi, x, code = coded(TEN, p.signals, 0.5, solver, tolerance=tolerance, **options)
        assert np.max(code.gap) <= tolerance, solver
        costs[solver] = objective(y, phi, x, 0.5)
    np.testing.assert_allclose(costs["fista"], costs["exact"], rtol=1e-6)
    np.testing.assert_allclose(costs["soft"], costs["exact"], rtol=1e-3)


def test_hard_is_a_fixed_point_of_the_papers_6_and_7():
    p = phantom(20, TEN, 30)
    options = {"n_d": 3, "n_dstar": 3, "d_range": (3e-4, 5e-3), "max_iterations": 50_000, "threshold": 0.02}
    y, phi, x, code = coded(TEN, p.signals, 0.0, "hard", **options)
    L = np.linalg.norm(phi, 2) ** 2
    u = x + (y - x @ phi.T) @ phi / L
    again = np.where(u >= 0.02, u, 0)
    assert np.mean(code.done) > 0.5
    # stopped when the iterations left could move x by 1e-6 of it in all: 2e-11 in one
    np.testing.assert_allclose(again[code.done], x[code.done], atol=1e-10)
    e = run_method("ista", p.signals, TEN, solver="hard", **options)
    np.testing.assert_array_equal(e.outcome == Outcome.ITERATION_LIMIT, ~code.done)


def test_the_default_threshold_of_hard_is_that_of_an_l0_penalty():
    """λ = sqrt(β/L): the one-sided hard threshold of a step of length 1/L on ||y - Φ x||² / 2 + β/2 ||x||₀ (PAPER.md, (7))."""
    p, beta = phantom(20, TEN, 30), 1e-3
    options = {"n_d": 12, "n_dstar": 12, "max_iterations": 200}
    L = prepared(TEN, **options).dictionary.lipschitz
    left = coded(TEN, p.signals, beta, "hard", **options)[2]
    told = coded(TEN, p.signals, beta, "hard", threshold=float(np.sqrt(beta / L)), **options)[2]
    other = coded(TEN, p.signals, beta, "hard", threshold=float(2 * np.sqrt(beta / L)), **options)[2]
    np.testing.assert_array_equal(left, told)
    assert not np.array_equal(left, other)
    assert np.all(left[left > 0] >= np.sqrt(beta / L))


def test_beta_0_beats_no_penalty_and_large_beta_leaves_fewer_atoms():
    p = phantom(500, TEN, 30)
    few, many = run_method("ista", p.signals, TEN, beta=0.5), run_method("ista", p.signals, TEN)
    assert few.atoms.mean() < many.atoms.mean() - 0.5
    assert np.all(few.rmse >= many.rmse * (1 - 1e-6))


def test_relative_beta_of_2_leaves_nothing():
    e = run_method("ista", phantom(10, TEN, 30).signals, TEN, beta=2.0, beta_rule="relative")
    assert np.all(e.outcome == Outcome.BAD_SIGNAL)
    assert np.all(np.isnan(e.S0))


def test_the_discrepancy_principle_meets_the_noise():
    p = phantom(3000, TEN, 30)
    fitter = prepared(TEN, p.signals, beta_rule="noise", sigma=1 / 30)
    residual = fitter.fit(p.signals).rmse
    assert fitter.beta > 0
    assert np.median(residual**2) == pytest.approx(1 / 900, rel=0.05)  # β is found to 1 %, on these voxels
    estimated = prepared(TEN, p.signals, beta_rule="noise").notes[-1]
    assert float(estimated.split("noise SD ")[1].split()[0]) == pytest.approx(1 / 30, rel=0.1)


def test_the_spectrum_adds_up():
    p = phantom(50, TEN, 30)
    signals = p.signals * 1000
    e = run_method("ista", signals, TEN)
    x = dense(e.spectrum, 50, 600)
    np.testing.assert_allclose(x.sum(axis=1), e.S0, rtol=1e-5)
    np.testing.assert_allclose(x[:, 300:].sum(axis=1) / x.sum(axis=1), e.f, atol=1e-5)
    np.testing.assert_array_equal((x > 0).sum(axis=1), e.atoms)
    phi = make_dictionary(TEN, "log", (300, 300), *RANGES).matrix
    np.testing.assert_allclose(np.sqrt(np.mean((signals - x @ phi.T) ** 2, axis=1)), e.rmse, rtol=1e-3)


@pytest.mark.parametrize("solver", ["exact", "fista"])
def test_threads_and_chunks_do_not_matter(solver):
    p = phantom(3000 if solver == "exact" else 200, TEN, 30)
    options = {"solver": solver, "beta": 1e-2, "max_iterations": 30}
    whole = run_method("ista", p.signals, TEN, threads=1, **options)
    threaded = run_method("ista", p.signals, TEN, threads=choose_device("cpu").threads, **options)
    half = len(p.signals) // 2 + 7
    parts = [run_method("ista", part, TEN, **options) for part in (p.signals[:half], p.signals[half:])]
    for key, array in whole.items():
        np.testing.assert_array_equal(array, dict(threaded.items())[key], err_msg=key)
        np.testing.assert_array_equal(array, np.concatenate([dict(part.items())[key] for part in parts]), err_msg=key)
    np.testing.assert_array_equal(whole.spectrum.data, np.concatenate([part.spectrum.data for part in parts]))


def test_parts_are_joined_as_one(monkeypatch):
    p = phantom(100, TEN, 30)
    whole = run_method("ista", p.signals, TEN)
    monkeypatch.setattr(ista, "PART", 32)
    parts = run_method("ista", p.signals, TEN)
    for a, b in zip(whole.spectrum, parts.spectrum, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(whole.f, parts.f)


@pytest.mark.parametrize("solver", ["exact", "fista", "soft", "hard"])
def test_degenerate_voxels(solver):
    good = phantom(3, TEN, 30).signals
    bad = np.array([np.zeros(10), np.full(10, np.nan), [1, np.inf, *np.ones(8)], [-1.0, *np.ones(9)]])
    odd = np.array(
        [
            np.ones(10),
            np.linspace(0.5, 2, 10),
            [1, *np.zeros(9)],
            [1, *-np.ones(9)],
            np.full(10, 1e30),
            np.full(10, 1e-30),
        ]
    )
    signals = np.concatenate([good, bad, odd]).astype(np.float32)
    e = run_method("ista", signals, TEN, solver=solver, beta=1e-3, max_iterations=50)
    alone = run_method("ista", good, TEN, solver=solver, beta=1e-3, max_iterations=50)
    np.testing.assert_array_equal(e.f[:3], alone.f)
    assert np.all(e.outcome[3:7] == Outcome.BAD_SIGNAL)
    assert np.all(np.isnan(e.S0[3:7]))
    assert not np.any(np.isnan(e.f[7:]) & (e.outcome[7:] != Outcome.BAD_SIGNAL))
    if solver == "exact":
        assert not np.any(e.outcome == Outcome.GAP)
        assert e.outcome[7] == Outcome.DSTAR_UNIDENTIFIABLE  # constant: all tissue, D* of nothing
        assert np.isnan(e.Dstar[7])
        np.testing.assert_allclose(e.S0[11] / 1e30, e.S0[7], rtol=1e-5)


def test_one_voxel_no_voxel():
    p = phantom(1, TEN, 30)
    assert run_method("ista", p.signals, TEN).f.shape == (1,)
    empty = run_method("ista", p.signals[:0], TEN)
    assert empty.f.shape == (0,)
    assert len(empty.spectrum.indptr) == 1


def test_pure_blood_has_no_tissue_diffusivity():
    e = run_method("ista", equation1(1, 1.0, 1e-3, 0.05, TEN)[None], TEN)
    assert e.f[0] == pytest.approx(1, abs=1e-5)
    assert e.outcome[0] in (Outcome.AT_BOUND, Outcome.CONVERGED)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": "-1"}, "beta of ista: found -1"),
        ({"beta": "nan"}, "beta of ista: found nan"),
        ({"solver": "lasso"}, "'lasso'"),
        ({"beta_rule": "aic"}, "'aic'"),
        ({"n_d": "0"}, "found 0 atoms"),
        ({"d_range": "0,5e-3"}, "logarithmic grid from 0"),
        ({"tolerance": "0"}, "tolerance of ista: found 0"),
        ({"threshold": "-1"}, "threshold of ista"),
        ({"n_d": "100000000", "n_dstar": "100000000"}, "GiB"),
        ({"max_iterations": "0"}, "max_iterations"),
        ({"dictionary": "d.h5"}, "d.h5"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        prepared(TEN, **options)
    assert "\n" not in str(caught.value)


def test_one_bvalue_is_refused():
    with pytest.raises(InputError):
        prepared(np.array([50.0]))


def test_a_loaded_dictionary_is_used_and_one_for_other_bvalues_refused():
    p = phantom(5, TEN, 30)
    voxels, options, launch = as_voxels(p.signals, TEN), ista.Options(dictionary="d.h5"), choose_device("cpu", 1)
    small = make_dictionary(TEN, "log", (10, 12), *RANGES)
    fitter = ista.prepare(voxels, options, launch, Inputs({"dictionary": small}))
    assert fitter.fit(p.signals).spectrum.indices.max() < 22
    with pytest.raises(InputError, match=r"d\.h5"):
        ista.prepare(voxels, options, launch, Inputs({"dictionary": make_dictionary(FIVE, "log", (10, 12), *RANGES)}))


def test_the_abdomen_beside_nlls(real_data):
    """Liver of a real scan: certified everywhere, f beside that of nlls, and no better fit left to nlls."""
    from ivimsc.nifti import read_series, read_volume

    folder = real_data / "wetscherek_abdomen_vol3"
    voxels = read_series(
        folder / "dwi_avg_bip_T70.nii.gz", folder / "dwi_avg_bip_T70.bval", mask=folder / "mask.nii.gz"
    )
    least, sparse = (run_method(method, voxels.signals, voxels.bvalues) for method in ("nlls", "ista"))
    fitted = sparse.outcome != Outcome.BAD_SIGNAL
    assert np.mean(fitted) > 0.99
    assert np.max(sparse.gap[fitted]) <= 1e-6
    # the dictionary has any number of atoms, but none at D = 0, which nlls may take: at D = 0.01 µm²/ms and b = 500 the
    # signal is 0.5 % lower, of which the other atoms make good more than half
    assert np.all(sparse.rmse[fitted] <= least.rmse[fitted] * 1.001 + 2e-3 * least.S0[fitted])
    rois = read_volume(folder / "rois.nii.gz")[0]
    liver = rois[tuple(voxels.index.T)] == 2
    assert np.nanmedian(sparse.f[liver]) == pytest.approx(np.nanmedian(least.f[liver]), abs=0.06)
    assert 0.6e-3 < np.nanmedian(sparse.D[liver]) < 1.6e-3
