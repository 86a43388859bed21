"""nlls against scipy: the global optimum within the bounds, and the standard errors."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import t

from ivimsc.errors import InputError
from ivimsc.outcome import Outcome
from ivimsc.physics.cramer_rao import cramer_rao
from tests.conftest import FIVE, TEN, equation1, phantom, run_method


def cost(e, signals, bvalues):
    model = equation1(e.S0, e.f, e.D, e.Dstar, bvalues)
    return np.sum((signals.astype(np.float64) - model) ** 2, axis=1)


def scipy_best(signal, bvalues, bounds=((0, 1), (0, 5e-3), (5e-3, 0.2))):
    """Least Σ r² that scipy's trust-region method finds from 12 starts within the bounds."""
    (f_low, f_high), (d_low, d_high), (p_low, p_high) = bounds
    scale = np.array([1, 1, 1e-3, 1e-2])
    low, high = np.array([1e-9, f_low, d_low, p_low]) / scale, np.array([10, f_high, d_high, p_high]) / scale
    best = np.inf
    for f in (0.05, 0.3, 0.7):
        for p in (6e-3, 15e-3, 50e-3, 180e-3):
            start = np.clip(np.array([1, f, 1.2e-3, p]) / scale, low + 1e-6, high - 1e-6)
            fit = least_squares(lambda x: equation1(*(x * scale), bvalues) - signal, start, bounds=(low, high), xtol=1e-12, ftol=1e-12, gtol=1e-12)  # fmt: skip
            best = min(best, 2 * fit.cost)
    return best


@pytest.mark.parametrize("bvalues", [TEN, FIVE], ids=["ten", "five"])
@pytest.mark.parametrize("snr", [30, 100])
def test_the_cost_is_the_best_that_scipy_finds_from_many_starts(bvalues, snr):
    """1e-4 is the goal of the design; 1e-11 is the rounding of float32 signals, which matters where five b-values
    leave next to no residual."""
    p = phantom(40, bvalues, snr, seed=3)
    mine = cost(run_method("nlls", p.signals, bvalues), p.signals, bvalues)
    best = np.array([scipy_best(signal, bvalues) for signal in p.signals.astype(np.float64)])
    assert np.all(mine <= best * (1 + 1e-4) + 1e-11)


def test_narrow_bounds_are_kept_and_the_optimum_within_them_is_found():
    p = phantom(40, TEN, 30, seed=4)
    bounds = ((0.1, 0.3), (1e-3, 2e-3), (15e-3, 60e-3))
    e = run_method("nlls", p.signals, TEN, f_bounds=bounds[0], d_bounds=bounds[1], dstar_bounds=bounds[2])
    for value, (low, high) in zip((e.f, e.D, e.Dstar), bounds, strict=True):
        assert np.all((value.astype(np.float64) >= low) & (value.astype(np.float64) <= high))
    best = np.array([scipy_best(signal, TEN, bounds) for signal in p.signals.astype(np.float64)])
    assert np.all(cost(e, p.signals, TEN) <= best * (1 + 1e-4) + 1e-11)
    assert np.any(e.outcome == Outcome.AT_BOUND)


def test_a_known_s0_is_kept_and_sharpens_the_fit():
    p = phantom(2000, FIVE, 100)
    free, known = run_method("nlls", p.signals, FIVE), run_method("nlls", p.signals, FIVE, s0=1.0)
    np.testing.assert_allclose(known.S0, 1, rtol=1e-6)
    assert np.sqrt(np.mean((known.f - p.f) ** 2)) < 0.5 * np.sqrt(np.mean((free.f - p.f) ** 2))


def test_standard_errors_are_the_cramer_rao_bound_at_the_estimate():
    p = phantom(300, TEN, 100)
    e = run_method("nlls", p.signals, TEN, sigma=0.01)
    bound = cramer_rao(e.S0, e.f, e.D, e.Dstar, TEN, 0.01)
    inside = e.outcome == Outcome.CONVERGED
    for column, errors in ((1, e.fstd), (2, e.dstd), (3, e.dstarstd)):
        np.testing.assert_allclose(errors[inside], bound[inside, column], rtol=1e-3)  # estimates are float32


def test_the_noise_comes_from_the_residuals_when_it_is_not_given():
    p = phantom(4000, TEN, 100)
    e = run_method("nlls", p.signals, TEN)
    given = run_method("nlls", p.signals, TEN, sigma=0.01)
    both = (e.outcome == 1) & (given.outcome == 1)
    # 6 degrees of freedom: 29 % per voxel, 0.5 % over the voxels; the rest is the bend of the model and the selection
    wide = t.ppf(0.975, 6) / 1.96
    assert abs(np.sqrt(np.mean((e.fstd[both] / given.fstd[both]) ** 2)) / wide - 1) < 0.05


@pytest.mark.parametrize(("s0", "unknowns"), [(None, 4), (1.0, 3)])
def test_rmse_and_errors_follow_from_the_residuals_that_numpy_computes(s0, unknowns):
    p = phantom(300, TEN, 30, seed=5)
    e = run_method("nlls", p.signals, TEN, s0=s0)
    squares = cost(e, p.signals, TEN)
    np.testing.assert_allclose(e.rmse, np.sqrt(squares / 10), rtol=1e-4)  # residuals are sums of float32
    inside = e.outcome == Outcome.CONVERGED
    noise = np.sqrt(squares / (10 - unknowns)) * t.ppf(0.975, 10 - unknowns) / 1.96  # 1.96 errors are Student's 95 %
    bound = cramer_rao(e.S0, e.f, e.D, e.Dstar, TEN, noise, s0_known=s0 is not None)
    for column, errors in ((1, e.fstd), (2, e.dstd), (3, e.dstarstd)):
        np.testing.assert_allclose(errors[inside], bound[inside, column], rtol=1e-3)  # estimates are float32


def test_the_outcome_follows_from_the_estimates_and_their_errors():
    """The rule of `numerics.ending` in numpy, on voxels with little blood, where all three outcomes occur."""
    random = np.random.default_rng(6)
    n = 2000
    f, D, Dstar = random.uniform(0, 0.2, n), random.uniform(0.5e-3, 2.5e-3, n), random.uniform(10e-3, 100e-3, n)
    signals = equation1(np.ones(n), f, D, Dstar, TEN) + random.normal(0, 0.02, (n, 10))
    e = run_method("nlls", signals, TEN, sigma=0.02)
    f, D, p = (a.astype(np.float64) for a in (e.f, e.D, e.Dstar))
    with np.errstate(divide="ignore", invalid="ignore"):
        no_blood = (f == 0) | (f <= 1.96 * e.fstd)
        same = (D > 0) & (np.log(p / D) * p <= 1.96 * e.dstarstd)
        # a hair beside the rule, rounding decides
        near = np.isclose(f, 1.96 * e.fstd, rtol=1e-5) | np.isclose(np.log(p / D) * p, 1.96 * e.dstarstd, rtol=1e-5)
    at_bound = (f >= 1) | (D <= 0) | (D >= 5e-3 * (1 - 1e-6)) | (p <= 5e-3 * (1 + 1e-6)) | (p >= 0.2 * (1 - 1e-6))
    expected = np.where(no_blood | same, Outcome.DSTAR_UNIDENTIFIABLE, np.where(at_bound, Outcome.AT_BOUND, Outcome.CONVERGED))  # fmt: skip
    np.testing.assert_array_equal(e.outcome[~near], expected[~near])
    assert np.sum(no_blood & ~same) > 50
    assert all(np.sum(e.outcome == k) > 5 for k in (Outcome.CONVERGED, Outcome.AT_BOUND, Outcome.DSTAR_UNIDENTIFIABLE))


@pytest.mark.parametrize(("f", "D", "Dstar"), [(0.3, 1e-3, 0.4), (0.4, 1e-3, 4e-3), (0.3, 6e-3, 0.05)])
def test_beyond_a_bound_of_d_or_dstar_the_outcome_says_so(f, D, Dstar):
    e = run_method("nlls", equation1(1, f, D, Dstar, TEN)[None], TEN, sigma=1e-3)
    bounds = (e.D[0] >= 5e-3 * (1 - 1e-6)) | (e.Dstar[0] <= 5e-3 * (1 + 1e-6)) | (e.Dstar[0] >= 0.2 * (1 - 1e-6))
    assert bounds and e.outcome[0] == Outcome.AT_BOUND


def test_four_bvalues_leave_no_residual_and_no_standard_error():
    p = phantom(50, np.array([0, 50, 200, 600.0]))
    e = run_method("nlls", p.signals, p.bvalues)
    assert np.all(np.isnan(e.fstd)) and np.all(np.isfinite(e.f))


def test_the_iteration_limit_is_an_outcome():
    p = phantom(200, TEN, 30)
    e = run_method("nlls", p.signals, TEN, max_iterations=1)
    assert np.mean(e.outcome == Outcome.ITERATION_LIMIT) > 0.9


def test_slow_perfusion_is_a_bound_or_unidentifiable_never_silent():
    """f = 0.4 but D* = D: nothing tells the two apart."""
    e = run_method("nlls", equation1(1, 0.4, 3e-3, 3e-3, TEN)[None], TEN)
    assert e.outcome[0] == Outcome.DSTAR_UNIDENTIFIABLE


def test_a_bound_of_dstar_holds_in_float32_and_in_float64():
    """0.02 has no float32: the nearest one is below it, and 20 µm²/ms times 0.001 above."""
    e = run_method(
        "nlls", equation1(1, [0.3, 0.3], 1e-3, [0.4, 0.006], TEN), TEN, dstar_bounds=(0.007, 0.02), sigma=1e-3
    )
    assert e.outcome.tolist() == [Outcome.AT_BOUND] * 2
    assert 0.02 * (1 - 1e-6) < float(e.Dstar[0]) <= 0.02 and 0.007 <= float(e.Dstar[1]) < 0.007 * (1 + 1e-6)
    assert e.Dstar[0] <= np.float32(0.02) and e.Dstar[1] >= np.float32(0.007)


@pytest.mark.parametrize("name", ["d_bounds", "dstar_bounds"])
def test_bounds_in_another_unit_are_refused_with_its_name(name):
    with pytest.raises(InputError, match=r"found 2..200, expected at most 1 mm²/s; .* µm²/ms: .* 0.002..0.2 mm²/s"):
        run_method("nlls", np.ones((1, 10)), TEN, **{name: (2.0, 200.0)})


@pytest.mark.parametrize("bvalues", [TEN, np.array([0, 20, 50, 150, 300, 500.0]), np.array([0, 30, 100, 300, 600.0])], ids=["ten", "six", "five"])  # fmt: skip
def test_95_percent_intervals_hold_95_percent_with_noise_from_the_residuals(bvalues):
    """2,000 draws: the share has an SD of 0.5 %."""
    signals = equation1(1, 0.3, 1e-3, 50e-3, bvalues) + np.random.default_rng(1).normal(0, 0.01, (2000, len(bvalues)))
    e = run_method("nlls", signals, bvalues)
    for value, error, truth in ((e.f, e.fstd, 0.3), (e.D, e.dstd, 1e-3), (e.Dstar, e.dstarstd, 50e-3)):
        assert 0.93 < np.mean(np.abs(value - truth) <= 1.96 * error) < 0.97


def test_dstar_that_is_held_fixed_is_kept_and_leaves_three_unknowns():
    """Against scipy with D* known; the errors against the scatter of 3,000 draws, which is known to 1.3 %."""
    from scipy.optimize import curve_fit

    b = np.array([0, 30, 200, 400, 700.0])
    random, clean = np.random.default_rng(2), equation1(1.0, 0.15, 1.1e-3, 0.07, np.array([0, 30, 200, 400, 700.0]))
    y = (clean + random.normal(0, 0.01, (3000, 5))).astype(np.float32)
    e = run_method("nlls", y, b, dstar=0.07, sigma=0.01)
    assert np.all(e.Dstar == np.float32(0.07)) and e.dstarstd is None
    for v in range(20):
        best, _ = curve_fit(lambda b, S0, f, D: equation1(S0, f, D, 0.07, b), b, y[v].astype(float), (1, 0.1, 1e-3))
        assert e.f[v] == pytest.approx(best[1], abs=2e-5) and e.D[v] == pytest.approx(best[2], rel=2e-4)
    assert np.mean(e.fstd) == pytest.approx(np.std(e.f), rel=0.05)
    assert np.mean(e.dstd) == pytest.approx(np.std(e.D), rel=0.05)
    assert np.mean(e.outcome == Outcome.CONVERGED) > 0.98
    three = run_method("nlls", y[:, [0, 2, 4]], b[[0, 2, 4]], dstar=0.07)
    assert np.isfinite(three.f).all() and np.isnan(three.fstd).all()  # no degree of freedom is left


@pytest.mark.parametrize(
    ("dstar", "says"), [(70.0, "option dstar: found 70, expected a D* in mm²/s"), (0.0, "found 0")]
)
def test_a_fixed_dstar_out_of_range_is_told_in_one_line(dstar, says):
    with pytest.raises(InputError) as error:
        run_method("nlls", np.ones((1, 10)), TEN, dstar=dstar)
    assert says in str(error.value) and "\n" not in str(error.value)
