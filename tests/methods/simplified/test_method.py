"""The simplified fit against scipy, against its own scatter, and at its edges."""

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import t as student

from ivimsc.errors import InputError
from ivimsc.fit import fit_signals
from ivimsc.outcome import Outcome
from tests.conftest import TEN, equation1, phantom, run_method

FEW = np.array([0, 200, 400, 800.0])


def test_scipy_finds_the_same_exponential_and_the_intercept_gives_f():
    y = phantom(200, snr=50, seed=3).signals
    e = run_method("simplified", y, TEN)
    high = TEN >= 200
    for v in np.flatnonzero(e.outcome == Outcome.CONVERGED):
        best, covariance = curve_fit(lambda b, A, D: A * np.exp(-b * D), TEN[high], y[v, high].astype(float), (0.8, e.D[v]), xtol=1e-12)  # fmt: skip
        assert e.D[v] == pytest.approx(best[1], rel=2e-4, abs=1e-7)  # float32, of three signals
        assert e.f[v] == pytest.approx(1 - best[0] / y[v, 0], abs=1e-4)
        assert e.S0[v] == y[v, 0]
    assert np.mean(e.outcome == Outcome.CONVERGED) > 0.8


@pytest.mark.parametrize("sigma", [None, "given"])
def test_standard_errors_tell_the_scatter(sigma):
    """4,000 draws of one voxel at SNR 100: the scatter is known to 1.1 %; without sigma, the root mean square of errors
    that are widened to Student's t is as much larger."""
    random = np.random.default_rng(1)
    clean = 100 * equation1(1, 0.2, 1e-3, 80e-3, FEW)
    y = clean + random.normal(0, 1, (4000, 4))
    e = run_method("simplified", y, FEW, **({"sigma": 1.0} if sigma else {}))
    ratio = 1 if sigma else student.isf(0.025, 1) / 1.96  # one degree of freedom: three b-values, two parameters
    for error, values, tolerance in ((e.fstd, e.f, 0.06), (e.dstd, e.D, 0.06)):
        assert np.sqrt(np.mean(error.astype(float) ** 2)) == pytest.approx(ratio * np.std(values), rel=tolerance)
    assert np.mean(e.f) == pytest.approx(0.2, abs=0.002)


def test_shells_are_weighted_by_their_images():
    """As scipy on all images, one of them at b = 0; the error of f holds the few images there."""
    shells, images = np.array([0, 200, 400, 800.0]), np.array([2, 3, 6, 30])
    b, random = np.repeat(shells, images), np.random.default_rng(5)
    y = 100 * equation1(1, 0.15, 1e-3, 90e-3, b) + random.normal(0, 3, (2000, len(b)))
    e = fit_signals(y, b, "simplified", sigma=3.0)
    for v in range(20):
        high = b >= 200
        best, _ = curve_fit(lambda b, A, D: A * np.exp(-b * D), b[high], y[v, high], (85, 1e-3))
        assert e.D[v] == pytest.approx(best[1], rel=2e-4)
        assert e.f[v] == pytest.approx(1 - best[0] / y[v, ~high].mean(), abs=1e-4)
    assert np.mean(e.fstd) == pytest.approx(np.std(e.f), rel=0.05)  # 2,000 draws: 1.6 %
    assert np.mean(e.dstd) == pytest.approx(np.std(e.D), rel=0.05)


def test_two_high_bvalues_and_b0_are_enough_and_have_errors_where_the_noise_is_known():
    b = np.array([0, 200, 800.0])
    y = equation1([1.0, 2.0], [0.1, 0.3], [1e-3, 2e-3], [0.2, 0.2], b)
    e = run_method("simplified", y, b)
    np.testing.assert_allclose(e.f, [0.1, 0.3], atol=1e-5)
    np.testing.assert_allclose(e.D, [1e-3, 2e-3], rtol=1e-4)
    assert np.isnan(e.fstd).all() and np.isnan(e.dstd).all()
    assert np.isfinite(run_method("simplified", y, b, sigma=0.01).fstd).all()


def test_what_has_no_blood_ends_at_the_bound_of_f():
    e = run_method("simplified", np.exp(-TEN * 1e-3)[None] * np.r_[0.9, np.ones(9)], TEN)
    assert e.f[0] == 0 and e.outcome[0] == Outcome.AT_BOUND and e.D[0] == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize(("b", "options", "says"), [
    ((20, 200, 400), {}, "simplified: found no b = 0 (20, 200, 400 s/mm²), expected a signal at b = 0"),
    ((0, 50, 200), {}, "simplified: found 1 b-values from the split b of 200 s/mm² on (0, 50, 200), expected at least 2"),
    ((0, 200, 400), {"split": 0.0}, "option split of simplified: found 0, expected a b-value > 0"),
    ((0, 200, 400), {"d_bounds": (2e-3, 1e-3)}, "option d_bounds of simplified: found 0.002,0.001"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line(b, options, says):
    with pytest.raises(InputError) as error:
        run_method("simplified", np.ones((1, len(b))), np.array(b, float), **options)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_only_what_it_has_is_there():
    e = run_method("simplified", phantom(3).signals, TEN)
    assert [key for key, _ in e.items()] == ["s0", "f", "d", "rmse", "outcome", "fstd", "dstd"]
