"""What a user of ista gets: truth recovered, β and its rules, outcomes, errors; the solvers have files of their own."""

import numpy as np
import pytest

from ivimsc.device.launch import choose_device
from ivimsc.errors import InputError
from ivimsc.methods import Inputs
from ivimsc.methods.ista import method as ista
from ivimsc.outcome import Outcome
from ivimsc.physics.dictionary import make_dictionary
from tests.conftest import FIVE, TEN, as_voxels, equation1, phantom, run_method
from tests.methods.ista.common import RANGES, dense, prepared


def test_noise_free_truth_is_recovered():
    p = phantom(2000)
    e = run_method("ista", p.signals, TEN)
    # two neighbours stand for a diffusivity between them: 2 % apart, an error of the square of that
    np.testing.assert_allclose(e.f, p.f, atol=2e-3)
    np.testing.assert_allclose(e.D, p.D, rtol=3e-3)
    np.testing.assert_allclose(e.Dstar, p.Dstar, rtol=1e-2)


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


def test_sigma_is_in_the_unit_of_the_signal():
    """β has no unit: signals and sigma a thousand times as large give the same one, to the 1 % that it is found to."""
    p = phantom(1000, TEN, 30)
    small = prepared(TEN, p.signals, beta_rule="noise", sigma=1 / 30)
    large = prepared(TEN, p.signals * 1000, beta_rule="noise", sigma=1000 / 30)
    assert large.beta == pytest.approx(small.beta, rel=0.02)
    assert np.median(large.fit(p.signals * 1000).rmse ** 2) == pytest.approx(1e6 / 900, rel=0.05)


def test_noise_larger_than_the_signals_gives_the_largest_beta_and_smaller_than_all_residuals_none():
    p = phantom(200, TEN, 30)
    assert prepared(TEN, p.signals, beta_rule="noise", sigma=1e-6).beta == 0
    fitter = prepared(TEN, p.signals, beta_rule="noise", sigma=10.0)
    assert np.median(fitter.fit(p.signals).atoms) == 0


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


def test_a_dstar_beyond_the_grid_is_at_a_bound():
    """D* is 0.3, and the grid ends at 0.2 mm²/s: what noise takes off its end is less than half of the blood."""
    y = equation1(np.ones(500), 0.3, 1e-3, 0.3, TEN) + np.random.default_rng(0).normal(0, 0.01, (500, 10))
    assert np.mean(run_method("ista", y, TEN, sigma=0.01).outcome == Outcome.AT_BOUND) > 0.97
    y = equation1(np.ones(500), 0.3, 1e-3, 0.05, TEN) + np.random.default_rng(0).normal(0, 0.01, (500, 10))
    assert np.mean(run_method("ista", y, TEN, sigma=0.01).outcome == Outcome.CONVERGED) > 0.97
