"""bayes: brute force and closed forms as referees; calibration; bad input."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import i0e
from scipy.stats import chi2

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.methods import Inputs
from ivimsc.methods.bayes import method as bayes
from ivimsc.outcome import Outcome
from tests.conftest import FIVE, TEN, as_voxels, equation1, phantom, run_method

BOX = {"f_bounds": (0.05, 0.5), "d_bounds": (0.5e-3, 2.5e-3), "dstar_bounds": (10e-3, 100e-3)}
LAUNCH = Launch("cpu", 2)


def fitter(signals, bvalues, truth=None, **options):
    return bayes.prepare(as_voxels(signals, bvalues), bayes.Options(**options), LAUNCH, Inputs({"prior": truth}))


def uniform_draws(n, seed):
    random = np.random.default_rng(seed)
    return random.uniform(0.05, 0.5, n), random.uniform(0.5e-3, 2.5e-3, n), random.uniform(10e-3, 100e-3, n)


def placenta(n, seed):
    """A cohort like placentas: f, D, D* [mm²/s]."""
    random = np.random.default_rng(seed)
    f = random.normal(0.30, 0.10, 2 * n)
    return f[(f > 0) & (f < 1)][:n], random.normal(1.6e-3, 0.25e-3, n), 45e-3 * np.exp(0.35 * random.normal(size=n))


def errors(estimates, truth):
    return np.array(
        [np.mean((getattr(estimates, c) - t) ** 2) for c, t in zip(("f", "D", "Dstar"), truth, strict=True)]
    )


def noisy(truth, bvalues, snr, seed):
    signals = equation1(1.0, *truth, bvalues)
    random = np.random.default_rng(seed)
    return np.hypot(
        signals + random.normal(0, 1 / snr, signals.shape), random.normal(0, 1 / snr, signals.shape)
    ).astype(np.float32)


def brute_force(signals, bvalues, sigma, s0=None, rician=False, n=30_000):
    """Posterior mean and SD (voxel, 3) by prior draws in float64; S0 unknown: by a grid over S0."""
    draws = np.stack(uniform_draws(n, 99))
    unit = equation1(1.0, *draws, bvalues)
    mean, sd = [], []
    for y in signals.astype(np.float64):
        if rician:
            s = s0 * unit
            log_w = (np.log(i0e(y * s / sigma**2)) - (y - s) ** 2 / (2 * sigma**2)).sum(1)
        elif s0:
            log_w = -((y - s0 * unit) ** 2).sum(1) / (2 * sigma**2)
        else:
            grid = np.linspace(0.01, 4, 200)[:, None]  # steps of a fifth of the narrowest SD; nothing is left beyond 4
            square = (y @ y) - 2 * grid * (unit @ y) + grid**2 * (unit * unit).sum(1)
            log_w = np.logaddexp.reduce(-square / (2 * sigma**2), axis=0)
        w = np.exp(log_w - log_w.max())
        w /= w.sum()
        mean.append(draws @ w)
        sd.append(np.sqrt(((draws - mean[-1][:, None]) ** 2) @ w))
    return np.array(mean), np.array(sd)


@pytest.mark.parametrize(("s0", "likelihood"), [(1.0, "gaussian"), (None, "gaussian"), (1.0, "rician")])
def test_posterior_equals_brute_force(s0, likelihood):
    bvalues = TEN if s0 else FIVE  # without b = 0 the weight of the integral over S0 matters
    data = phantom(40, bvalues, snr=10, seed=3)
    found = run_method("bayes", data.signals, bvalues, prior="uniform", sigma=0.1, s0=s0, likelihood=likelihood, **BOX)
    mean, sd = brute_force(data.signals, bvalues, 0.1, s0, likelihood == "rician")
    for k, (code, deviation) in enumerate((("f", "fstd"), ("D", "dstd"), ("Dstar", "dstarstd"))):
        # 400 effective draws at least: errors of 1/20 SD in a mean and 1/28 in an SD; four of these in the worst voxel
        apart = (getattr(found, code) - mean[:, k]) / sd[:, k], getattr(found, deviation) / sd[:, k] - 1
        for error in apart:
            assert np.sqrt(np.mean(error**2)) < 0.05
            assert np.max(np.abs(error)) < 0.2


@pytest.mark.parametrize("s0", [1.0, None])
def test_every_image_counts(s0):
    """Signals that are means of 1 to 30 images: each has its own noise, σ over the root of the number."""
    images = np.array([30, 1, 4, 1, 2, 1, 1, 8, 1, 16])
    data = phantom(40, TEN, snr=np.inf, seed=3)
    noise = np.random.default_rng(4).normal(0, 0.1, data.signals.shape) / np.sqrt(images)
    voxels = replace(as_voxels(data.signals + noise, TEN), repeats=images)
    fitter = bayes.prepare(voxels, bayes.Options(prior="uniform", sigma=0.1, s0=s0, **BOX), LAUNCH)
    found, draws = fitter.fit(voxels.signals), np.stack(uniform_draws(30_000, 99))
    unit = equation1(1.0, *draws, TEN) * np.sqrt(images)
    for v, y in enumerate(voxels.signals.astype(np.float64) * np.sqrt(images)):
        amplitude = s0 or (unit @ y) / (unit * unit).sum(1)  # integrated over S0: the least squares, and √(1 / Σ s²)
        log_w = -((y - np.reshape(amplitude, (-1, 1)) * unit) ** 2).sum(1) / (2 * 0.1**2)
        log_w -= 0 if s0 else 0.5 * np.log((unit * unit).sum(1))
        w = np.exp(log_w - log_w.max())
        mean = draws @ w / w.sum()
        sd = np.sqrt(((draws - mean[:, None]) ** 2) @ w / w.sum())
        for k, (code, deviation) in enumerate((("f", "fstd"), ("D", "dstd"), ("Dstar", "dstarstd"))):
            # four times the error that 400 effective draws leave, as above
            assert abs(getattr(found, code)[v] - mean[k]) < 0.2 * sd[k]
            assert abs(getattr(found, deviation)[v] / sd[k] - 1) < 0.2


def test_one_compartment_has_a_closed_form():
    """f about 0: with ln D normal and narrow, y is linear in ln D, and the posterior is a normal in closed form."""
    D, prior_sd, sigma = 1.2e-3, 0.05, 0.05
    signals = np.random.default_rng(0).normal(np.exp(-TEN * D), sigma, (200, 10)).astype(np.float32)
    found = run_method(
        "bayes", signals, TEN, prior="lognormal", sigma=sigma, s0=1.0, f_normal=(1e-4, 0.01), d_normal=(D, prior_sd)
    )
    slope = -TEN * D * np.exp(-TEN * D)  # of the signal along ln D
    precision = 1 / prior_sd**2 + (slope @ slope) / sigma**2
    mean = ((signals - np.exp(-TEN * D)) @ slope / sigma**2) / precision
    # 0.2 SD: four times the error that 400 effective draws leave; curvature, which the linear form leaves out, is less
    assert np.all(np.abs(np.log(found.D / D) - mean) * np.sqrt(precision) < 0.2)
    assert np.all(np.abs(found.dstd / found.D * np.sqrt(precision) - 1) < 0.2)


def lognormal_draws(n, seed):
    """Draws of the default of prior=lognormal, within the default bounds."""
    x = np.random.default_rng(seed).normal(size=(3, 2 * n)) * [[1.0], [0.5], [0.7]]
    f, D, Dstar = 1 / (1 + np.exp(-x[0] - np.log(0.15 / 0.85))), 1.2e-3 * np.exp(x[1]), 30e-3 * np.exp(x[2])
    inside = (D < 5e-3) & (Dstar > 5e-3) & (Dstar < 0.2)
    return f[inside][:n], D[inside][:n], Dstar[inside][:n]


@pytest.mark.parametrize(("prior", "draws", "n"), [("uniform", uniform_draws, 40_000), ("lognormal", lognormal_draws, 40_000),
                                                   ("truth.h5", uniform_draws, 10_000)])  # fmt: skip
def test_calibration_under_the_true_prior(prior, draws, n):
    """Simulation-based calibration: the truth's place in its posterior is uniform (Talts et al. 2018).

    n: points shared by all voxels fail at 40,000 (chi-square of f 84 and 116); draws of a store are shared by nature.
    """
    truth = draws(n, 11)
    signals = equation1(1.0, *truth, TEN)
    signals = (signals + np.random.default_rng(12).normal(0, 1 / 30, signals.shape)).astype(np.float32)
    table = dict(zip(("f", "d", "dstar"), draws(65_536, 13), strict=True)) if prior == "truth.h5" else None
    box = BOX if prior == "uniform" else {}
    below = fitter(signals, TEN, table, prior=prior, sigma=1 / 30, s0=1.0, **box).below(signals, *truth)
    for column in below.T:
        counts = np.histogram(column, bins=20, range=(0, 1))[0]
        assert chi2.sf(((counts - n / 20) ** 2).sum() / (n / 20), 19) > 1e-3  # nine tests: fails by chance in 1 of 110
        for level in (0.5, 0.95):
            inside = np.mean(np.abs(column - 0.5) < level / 2)
            assert abs(inside - level) < 4 * np.sqrt(level * (1 - level) / n)


def test_voxels_share_no_points():
    """Equal signals, other places: other Monte-Carlo errors, of the size that 400 effective draws leave."""
    signals = np.tile(phantom(1, snr=30, seed=1).signals, (500, 1))
    found = fitter(signals, TEN, prior="uniform", sigma=1 / 30, **BOX).fit(signals)
    for mean, sd in ((found.f, found.fstd), (found.D, found.dstd), (found.Dstar, found.dstarstd)):
        assert len(np.unique(mean)) > 490
        assert np.std(mean) < 0.05 * np.mean(sd)


def test_true_prior_beats_least_squares_and_shrinkage_comes_near():
    truth, known = placenta(12_000, 1), placenta(65_536, 2)
    signals = noisy(truth, FIVE, 30, 3)
    table = {"f": known[0], "d": known[1], "dstar": known[2]}
    best = errors(fitter(signals, FIVE, table, prior="truth.h5", sigma=1 / 30, s0=1.0).fit(signals), truth)
    # bench/results/bayes_accuracy.md, five b-values at SNR 30: 1.2e-3, 3.1e-2, 1.7e2; here fewer voxels
    np.testing.assert_allclose(best * (1, 1e6, 1e6), (1.18e-3, 3.11e-2, 1.69e2), rtol=0.2)
    shrunk = errors(fitter(signals, FIVE, s0=1.0).fit(signals), truth)
    assert np.all(shrunk < 1.10 * best)  # the goal
    squares = errors(run_method("nlls", signals, FIVE, s0=1.0), truth)
    assert np.all(best <= squares)
    assert np.all(shrunk <= squares)


def test_flat_prior_at_high_snr_meets_least_squares():
    data = phantom(100, snr=1000, seed=8)
    found = run_method("bayes", data.signals, TEN, prior="uniform", sigma=1e-3)
    squares = run_method("nlls", data.signals, TEN, sigma=1e-3)
    for code, deviation in (("f", "fstd"), ("D", "dstd"), ("Dstar", "dstarstd")):
        apart = np.abs(getattr(found, code) - getattr(squares, code)) / getattr(squares, deviation)
        assert np.percentile(apart, 90) < 0.3  # f near 0 or the bounds of D* bend a few posteriors


def test_maximum_is_a_maximum():
    data = phantom(50, snr=50, seed=9)
    found = run_method("bayes", data.signals, TEN, prior="uniform", sigma=0.02, s0=1.0)
    squares = run_method("nlls", data.signals, TEN, s0=1.0)
    cost = [((data.signals - equation1(1.0, *point, TEN)) ** 2).sum(1) for point in
            ((found.fmap, found.dmap, found.dstarmap), (squares.f, squares.D, squares.Dstar))]  # fmt: skip
    behind = (cost[0] - cost[1]) / (2 * 0.02**2)  # in ln L; a flat prior: the maximum is the least-squares fit
    assert np.percentile(behind, 90) < 1e-4  # the last step of the search is 0.004 posterior SD: 1e-5
    assert np.all(behind < 0.05)  # a maximum on a bound lies at infinity in the coordinates of the search


def test_same_bytes_for_any_threads_and_chunks():
    data = phantom(700, snr=30, seed=4)
    first = fitter(data.signals, TEN)
    whole = first.fit(data.signals)
    first.launch = Launch("cpu", 1)
    parts = [first.fit(data.signals[:301]), first.fit(data.signals[301:], 301)]
    for key, values in whole.items():
        joined = np.concatenate([dict(part.items())[key] for part in parts])
        np.testing.assert_array_equal(values, joined, err_msg=key)
    again = bayes.prepare(as_voxels(data.signals, TEN), bayes.Options(), Launch("cpu", 1))
    np.testing.assert_array_equal(whole.f, again.fit(data.signals).f)


def test_noise_is_estimated():
    data = phantom(3000, snr=25, seed=6)
    for prior in ("shrinkage", "uniform"):
        assert fitter(data.signals, TEN, prior=prior).problem.noise.sigma == pytest.approx(0.04, rel=0.05), prior


def test_marginal_noise_needs_no_sigma():
    data = phantom(3000, snr=30, seed=6)
    truth = (data.f, data.D, data.Dstar)
    known = errors(run_method("bayes", data.signals, TEN, prior="uniform", sigma=1 / 30, **BOX), truth)
    marginal = errors(run_method("bayes", data.signals, TEN, prior="uniform", sigma="marginal", **BOX), truth)
    assert np.all(marginal < 1.15 * known)  # six degrees of freedom per voxel tell σ to 30 %


def test_bad_voxels_are_flagged_and_their_neighbours_untouched():
    data = phantom(40, snr=30, seed=2)
    spoiled = data.signals.copy()
    spoiled[3], spoiled[7, 2], spoiled[9] = 0, np.nan, np.inf
    options = {"prior": "uniform", "sigma": 1 / 30}
    clean, found = run_method("bayes", data.signals, TEN, **options), run_method("bayes", spoiled, TEN, **options)
    bad = [3, 7, 9]
    assert np.all(found.outcome[bad] == Outcome.BAD_SIGNAL)
    assert np.all(np.isnan(found.f[bad]))
    np.testing.assert_array_equal(np.delete(found.f, bad), np.delete(clean.f, bad))


@pytest.mark.parametrize("factor", [1e-20, 1e-3, 1e4, 1e20])
def test_scale_of_the_signal_does_not_matter(factor):
    data = phantom(60, snr=30, seed=7)
    one = run_method("bayes", data.signals, TEN, prior="uniform", sigma=1 / 30)
    other = run_method("bayes", data.signals * np.float32(factor), TEN, prior="uniform", sigma=factor / 30)
    np.testing.assert_allclose(other.f, one.f, rtol=1e-3, atol=1e-4)  # float32, through importance weights
    np.testing.assert_allclose(other.S0, one.S0 * factor, rtol=1e-3)


@pytest.mark.parametrize(("options", "words"), [
    ({"prior": "normal"}, "option prior of bayes: found normal, expected population"),
    ({"sigma": -1.0}, "option sigma of bayes: found -1.0"),
    ({"sigma": "guess"}, "option sigma of bayes: found guess"),
    ({"sigma": "marginal", "likelihood": "rician"}, "expected a number or estimate with the rician likelihood"),
    ({"likelihood": "poisson"}, "option likelihood of bayes: found poisson"),
    ({"draws": 3}, "option draws of bayes: found 3"),
    ({"components": 0}, "option components of bayes: found 0"),
    ({"d_normal": (1e-3, 0.0)}, "option d_normal of bayes"),
])  # fmt: skip
def test_bad_options_are_told_in_one_line(options, words):
    with pytest.raises(InputError) as told:
        bayes.Options(**options)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_prior_store_without_truth():
    data = phantom(300, snr=30)
    with pytest.raises(InputError, match=r"measured\.h5: found no truth, expected"):
        fitter(data.signals, TEN, None, prior="measured.h5")


def test_prior_that_excludes_the_data():
    data = phantom(300, snr=100)
    with pytest.raises(InputError, match="this prior excludes the data"):
        fitter(data.signals, TEN, prior="uniform", sigma=0.01, d_bounds=(4e-3, 5e-3), f_bounds=(0.9, 1.0))


def test_too_few_bvalues():
    with pytest.raises(InputError, match="bayes"):
        fitter(np.ones((5, 2), np.float32), np.array([0.0, 100]))


def test_only_bad_voxels():
    found = run_method("bayes", np.zeros((5, 10)), TEN)
    assert np.all(found.outcome == Outcome.BAD_SIGNAL)


def test_without_b0_a_prior_from_the_data_warns():
    for bvalues, options, warned in ((FIVE, {}, True), (FIVE, {"s0": 1.0}, False), (TEN, {}, False)):
        signals = phantom(300, bvalues, 30).signals
        notes = fitter(signals, bvalues, **options).notes
        assert any("without b = 0" in note for note in notes) == warned


def test_rician_noise_with_s0_unknown_meets_gaussian_noise_at_high_snr():
    """At SNR 100 the two likelihoods differ by less than a hundredth of a noise SD: so do the posteriors, but not the paths."""
    signals = phantom(60, snr=100, seed=5).signals
    gaussian, rician = (
        run_method("bayes", signals, TEN, prior="uniform", sigma=0.01, likelihood=kind, **BOX)
        for kind in ("gaussian", "rician")
    )
    for name, sd in (("f", "fstd"), ("D", "dstd"), ("Dstar", "dstarstd")):
        # both with 400 effective draws or, S0 being drawn too, somewhat fewer: five standard errors of the difference
        apart = (getattr(rician, name) - getattr(gaussian, name)) / getattr(gaussian, sd)
        assert np.max(np.abs(apart)) < 0.4, name
        assert np.abs(np.mean(apart)) < 0.05, name
        assert np.all(np.abs(getattr(rician, sd) / getattr(gaussian, sd) - 1) < 0.4), name
    np.testing.assert_allclose(rician.S0, gaussian.S0, rtol=0.01)  # half a standard error


def test_outcome_of_voxels_without_perfusion_and_of_too_few_draws():
    tissue = np.exp(-TEN * 1e-3)[None] + np.random.default_rng(1).normal(0, 0.02, (20, 10))
    found = run_method("bayes", tissue, TEN, prior="uniform", sigma=0.02)
    assert np.all(found.outcome == Outcome.DSTAR_UNIDENTIFIABLE)
    data = phantom(20, snr=1000, seed=3)
    table = dict(
        zip(("f", "d", "dstar"), uniform_draws(300, 1), strict=True)
    )  # 300 draws at SNR 1000: one has all weight
    found = fitter(data.signals, TEN, table, prior="truth.h5", sigma=0.02).fit(data.signals)
    assert np.all(found.outcome[found.ess < 50] == Outcome.ITERATION_LIMIT)
    assert np.mean(found.ess < 50) > 0.5
    assert not np.any(found.outcome[found.ess >= 50] == Outcome.ITERATION_LIMIT)


@pytest.mark.parametrize("options", [{}, {"prior": "uniform", "sigma": "estimate"}, {"s0": 1.0}])
def test_noise_prior_and_s0_are_in_units_of_the_signal(options):
    signals = phantom(1000, snr=30, seed=6).signals
    one = fitter(signals, TEN, **options).problem
    more = {key: 1024 * value if key == "s0" else value for key, value in options.items()}
    other = fitter(signals * np.float32(1024), TEN, **more).problem  # a power of two: nothing is rounded otherwise
    assert float(other.noise.sigma) == pytest.approx(1024 * float(one.noise.sigma), rel=1e-6)
    assert float(one.noise.sigma) == pytest.approx(1 / 30, rel=0.1)
    np.testing.assert_array_equal(one.prior.means, other.prior.means)
