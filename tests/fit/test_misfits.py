"""The one rule of outcome 8, held against numpy and scipy for every method; and the map chi2."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import chi2

import ivimsc
from ivimsc.fit import FitJob, fit_file
from ivimsc.methods.scdnn.general.canonical import draw_parameters
from ivimsc.outcome import Outcome
from ivimsc.store import write_voxels
from tests.conftest import TEN, as_voxels, equation1, phantom

LIMIT = chi2.isf(1e-4, len(TEN))
KNOWN = {"nlls": {}, "segmented": {}, "adc": {}, "bayes": {"prior": "reciprocal"}, "scdnn": {}, "ista": {}}


def squares(e, y, bvalues, weights=1):
    """Σ n r² (voxel,) of the curves of the estimates; a part that is not there has no diffusivity."""
    f, Dstar = (0.0, 0.0) if e.f is None else (e.f, np.nan_to_num(e.Dstar))
    return np.sum(weights * (equation1(e.S0, f, np.nan_to_num(e.D), Dstar, bvalues) - y) ** 2, axis=1)


def wide(n, snr, seed=0):
    """Tissue of every kind, such as D* near D, where posterior means and two steps do worst."""
    truth = draw_parameters(n, np.random.Generator(np.random.Philox(seed))) * (1, 1e-3, 1e-3)
    return equation1(1, *truth.T, TEN) + np.random.default_rng(seed).normal(0, 1 / snr, (n, len(TEN))), truth


def curved(n, sigma, seed=5):
    """Signals with a kurtosis of 1.5 up to b = 2000 s/mm², which no two exponentials of D and D* follow."""
    b = np.array([0, 10, 30, 60, 100, 200, 400, 700, 1000, 1500, 2000.0])
    random = np.random.default_rng(seed)
    bD = b * random.uniform(0.9e-3, 1.3e-3, n)[:, None]
    tissue = np.exp(-bD + 1.5 * bD**2 / 6)
    return b, 0.9 * tissue + 0.1 * np.exp(-b * 0.03) + random.normal(0, sigma, (n, len(b)))


class TestTheRule:
    def test_what_the_best_curve_explains_is_no_misfit_and_what_the_estimate_misses_is_not_converged(self):
        """At SNR 100 the curve of one posterior mean in ten is beyond the limit, where scipy's best curve is not."""
        y, _ = wide(4000, 100)
        for method, ending in (("scdnn", Outcome.OUTSIDE_TRAINING), ("segmented", Outcome.ITERATION_LIMIT)):
            e = ivimsc.fit_signals(y, TEN, method, sigma=0.01)
            missed = squares(e, y, TEN) > 1.001 * LIMIT * 0.01**2  # rounding
            assert missed.sum() >= (200 if method == "scdnn" else 5)
            assert (
                set(e.outcome[missed].tolist()) <= {ending, Outcome.DSTAR_UNIDENTIFIABLE}
                and ending in e.outcome[missed]
            )
            assert Outcome.MISFIT not in e.outcome
        found = np.flatnonzero(missed)[:3]
        for v in found:
            fits = [least_squares(lambda x: equation1(x[0], x[1], 1e-3 * x[2], 1e-2 * x[3], TEN) - y[v], (1, 0.3, 1, p), bounds=([0, 0, 0, 0.5], [9, 1, 5, 20])) for p in (1, 3, 10)]  # noqa: B023  # fmt: skip
            assert 2 * min(fit.cost for fit in fits) < LIMIT * 0.01**2

    def test_noise_alone_is_a_misfit_in_no_method(self):
        """One voxel of 10,000, and fewer where a fit takes degrees of freedom: none is expected in 3,000."""
        y, _ = wide(3000, 30, seed=2)
        for method in ("nlls", "segmented", "ista", "scdnn"):
            assert np.sum(ivimsc.fit_signals(y, TEN, method, sigma=1 / 30).outcome == Outcome.MISFIT) <= 1, method

    def test_all_methods_call_the_same_voxels_misfits(self):
        """What no two exponentials explain is 8 by any method, but where the method fails before: 7 by its training."""
        b, y = curved(200, 0.004)
        e = ivimsc.fit_signals(y, b, sigma=0.004)
        expected = squares(e, y, b) > chi2.isf(1e-4, len(b)) * 0.004**2
        np.testing.assert_array_equal(e.outcome == Outcome.MISFIT, expected)
        assert 0.2 < expected.mean()
        for method in ("segmented", "bayes"):
            other = ivimsc.fit_signals(
                y, b, method, sigma=0.004, **({"prior": "reciprocal"} if method == "bayes" else {})
            )
            assert np.all(np.isin(other.outcome[expected], (Outcome.MISFIT, Outcome.ITERATION_LIMIT))), method
            assert np.mean(other.outcome[expected] == Outcome.MISFIT) > 0.9
            assert not np.any(other.outcome[~expected] == Outcome.MISFIT)

    def test_one_exponential_does_not_explain_two(self):
        y = equation1(1, 0.3, 1e-3, 50e-3, TEN) + np.random.default_rng(1).normal(0, 0.01, (100, 10))
        assert np.all(ivimsc.fit_signals(y, TEN, "adc", sigma=0.01).outcome == Outcome.MISFIT)
        high = ivimsc.fit_signals(y, TEN, "adc", sigma=0.01, b_range=(100, 1000))
        assert not np.any(high.outcome == Outcome.MISFIT)

    def test_an_snr_that_is_given_is_the_noise(self):
        y = 500 * wide(200, 60, seed=3)[0]
        y[:100, 6] += 500 * 20 / 60
        e = ivimsc.fit_signals(y, TEN, "scdnn", snr=60.0)
        assert np.all(np.isin(e.outcome[:100], (Outcome.MISFIT, Outcome.OUTSIDE_TRAINING)))
        assert Outcome.MISFIT in e.outcome[:100] and Outcome.MISFIT not in e.outcome[100:]


class TestChi2:
    @pytest.mark.parametrize("method", KNOWN)
    @pytest.mark.parametrize(
        "images", [np.ones(10, int), np.array([9, 1, 1, 2, 1, 1, 3, 1, 4, 6])], ids=["one", "many"]
    )
    def test_it_is_the_sum_over_the_images(self, method, images):
        p, b = phantom(300), np.repeat(TEN, images)
        y = np.repeat(p.signals, images, axis=1) + np.random.default_rng(1).normal(0, 0.02, (300, len(b)))
        ends = np.cumsum(images)
        means = np.stack([y[:, end - n : end].mean(1) for end, n in zip(ends, images, strict=True)], axis=1)
        e = ivimsc.fit_signals(y, b, method, sigma=0.02, **KNOWN[method])
        expected = squares(e, means.astype(np.float32), TEN, images) / 0.02**2 / (8 if method == "adc" else 6)
        usual = e.outcome != Outcome.OUTSIDE_TRAINING
        if method == "ista":  # more atoms than two: its residuals are smaller than those of the curve of their means
            assert np.all(e.chi2 <= 1.01 * expected) and 0.5 < np.median(e.chi2) < 1.2
        else:
            np.testing.assert_allclose(e.chi2[usual], expected[usual], rtol=2e-3)  # residuals are float32
        if method == "nlls":
            assert abs(e.chi2.mean() - 1) < 0.11  # 6 degrees of freedom: an SD of 0.58 per voxel, 0.033 of the mean

    def test_it_is_there_where_the_noise_is_known(self):
        y = phantom(100, snr=30).signals
        assert ivimsc.fit_signals(y[:20], TEN).chi2 is None
        assert np.median(ivimsc.fit_signals(y, TEN).chi2) == pytest.approx(0.9, abs=0.2)  # the median of χ²/6
        assert (
            ivimsc.fit_signals(y[:, ::3], TEN[::3], sigma=0.03).chi2 is None
        )  # four b-values leave nothing to judge by

    def test_it_is_a_map_with_a_sidecar(self, tmp_path):
        write_voxels(tmp_path / "v.h5", as_voxels(phantom(60, snr=30).signals, TEN))
        for method in ("nlls", "ista"):
            done = fit_file(FitJob(tmp_path / "v.h5", method, tmp_path))
            (path,) = [path for path in done.maps if "_param-chi2_" in path.name]
            about = path.with_name(path.name.replace(".nii.gz", ".json")).read_text()
            assert path.is_file() and "reduced chi-square" in about


BEYOND = {"kurtosis": ({}, 5), "triexp": ({}, 6), "simplified": ({}, 3), "nlls": ({"dstar": 0.05}, 3)}
MANY = np.array([0, 10, 20, 40, 80, 120, 200, 400, 600, 800, 1000.0])


@pytest.mark.parametrize("method", BEYOND)
def test_models_beyond_two_exponentials_are_judged_by_their_own_curve(method):
    """chi2 over n less the parameters of the model, and 8 where it is beyond the limit: no second look by nlls."""
    options, unknowns = BEYOND[method]
    images = np.arange(len(MANY)) % 3 + 1
    y = equation1(1, 0.2, 1e-3, 50e-3, MANY) + np.random.default_rng(4).normal(0, 0.01, (60, len(MANY))) / np.sqrt(
        images
    )
    y[:20, 8] += 0.15  # no model explains it
    e = ivimsc.fit_signals(np.repeat(y, images, axis=1), np.repeat(MANY, images), method, sigma=0.01, **options)
    S0, f, D = (np.asarray(values, float)[:, None] for values in (e.S0, e.f, e.D))
    tissue = np.exp(-MANY * D)
    if method == "simplified":
        used = (MANY == 0) | (MANY >= 200)
        model = np.where(MANY == 0, S0, S0 * (1 - f) * tissue)
    else:
        used = MANY >= 0
        Dstar = np.asarray(e.Dstar, float)[:, None]
        bent = np.exp((MANY * D) ** 2 * e.K[:, None] / 6) if method == "kurtosis" else 1
        fast = 0 if method != "triexp" else np.nan_to_num(e.f2[:, None] * np.exp(-MANY * e.Dstar2[:, None]))
        rest = 1 - f - (e.f2[:, None] if method == "triexp" else 0)
        model = S0 * (rest * tissue * bent + f * np.exp(-MANY * Dstar) + fast)
    total = np.sum((images * (y - model) ** 2)[:, used], axis=1) / 0.01**2
    np.testing.assert_allclose(e.chi2, total / (used.sum() - unknowns), rtol=5e-3)  # estimates are float32
    np.testing.assert_array_equal(e.outcome == Outcome.MISFIT, total > chi2.isf(1e-4, used.sum()))
    assert np.all(e.outcome[:20] == Outcome.MISFIT) and not np.any(e.outcome[20:] == Outcome.MISFIT)


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_signals_without_noise_are_no_misfits(unit):
    """What float32 leaves of perfect signals is no noise level, and nothing to hold residuals against."""
    random = np.random.default_rng(0)
    f, D, p = random.uniform(0.05, 0.4, 500), random.uniform(0.8e-3, 2e-3, 500), random.uniform(0.01, 0.08, 500)
    e = ivimsc.fit_signals(unit * ivimsc.simulate_signals(1.0, f, D, p, TEN), TEN)
    assert set(e.outcome.tolist()) == {Outcome.CONVERGED}
    np.testing.assert_allclose(e.f, f, rtol=1e-2)
