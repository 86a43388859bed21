"""segmented against scipy, and the paper's own reading of its steps."""

import numpy as np
import pytest
from scipy.optimize import curve_fit, least_squares, nnls

from ivimsc.errors import InputError
from ivimsc.methods.segmented import method as segmented
from ivimsc.outcome import Outcome
from tests.conftest import TEN, as_voxels, equation1, phantom, run_method


def amplitudes_at(signal, D, q):
    """Best amplitudes >= 0 for D and D* [mm²/s], and Σ r²."""
    columns = np.exp(-np.outer(TEN, (D, q)))
    amplitudes, left = nnls(columns, signal)
    return left**2, *amplitudes, q


def test_d_is_that_of_the_high_bvalues_and_the_rest_is_least_squares_with_it():
    p = phantom(30, TEN, 50, seed=2)
    e = run_method("segmented", p.signals, TEN)
    high = TEN >= 200
    for v, signal in enumerate(p.signals.astype(np.float64)):
        (_, D), _ = curve_fit(
            lambda b, a, d: a * np.exp(-b * d * 1e-3), TEN[high], signal[high], (0.7, 1.0), bounds=((0, 0), (9, 5))
        )
        assert e.D[v] == pytest.approx(D * 1e-3, rel=1e-3, abs=1e-7)  # curve_fit stops at 1e-8 of the cost
        least, a, c, q = min(amplitudes_at(signal, e.D[v], q) for q in np.geomspace(5e-3, 0.2, 2000))
        assert 10 * e.rmse[v] ** 2 <= least * (1 + 1e-4) + 1e-9  # the grid's step of D* is 2e-3
        assert e.f[v] == pytest.approx(c / (a + c), abs=3e-3)
        if e.outcome[v] == Outcome.CONVERGED:
            assert e.Dstar[v] == pytest.approx(q, rel=5e-3)


def two_steps(y, start):
    """S0, f, D and D* of one curve by scipy: the definition of the method, from a start near by."""
    S0, f, D, q = start
    high = TEN >= 200
    d = least_squares(lambda x: x[0] * np.exp(-TEN[high] * x[1] * 1e-3) - y[high], (S0 * (1 - f), 1e3 * D), xtol=1e-14, ftol=1e-14).x[1]  # fmt: skip
    x = least_squares(lambda x: x[0] * np.exp(-TEN * d * 1e-3) + x[1] * np.exp(-TEN * x[2] * 1e-2) - y, (S0 * (1 - f), S0 * f, 1e2 * q), xtol=1e-14, ftol=1e-14).x  # fmt: skip
    return np.array([x[1] / (x[0] + x[1]), d * 1e-3, x[2] * 1e-2])


@pytest.mark.parametrize(("f", "D", "q"), [(0.3, 1e-3, 50e-3), (0.15, 1.5e-3, 20e-3)])
def test_standard_errors_are_what_the_two_steps_make_of_the_noise(f, D, q):
    """Slopes of the estimates along each signal, by differences of scipy's own two fits."""
    y, h = equation1(1, f, D, q, TEN), 1e-4
    start = (1, f, D, q)
    slopes = np.array(
        [(two_steps(y + h * unit, start) - two_steps(y - h * unit, start)) / (2 * h) for unit in np.eye(10)]
    )
    expected = np.sqrt(np.sum(slopes**2, axis=0))
    e = run_method("segmented", y[None], TEN, sigma=1.0)
    # no noise: blood at the high b-values shifts D and leaves residuals of 1e-3, whose curvature first order leaves out
    np.testing.assert_allclose((e.fstd[0], e.dstd[0], e.dstarstd[0]), expected, rtol=0.03)


@pytest.mark.parametrize("bvalues", [TEN, np.array([0, 20, 50, 150, 300, 500.0]), np.array([0, 30, 100, 300, 600.0])], ids=["ten", "six", "five"])  # fmt: skip
@pytest.mark.parametrize("known", [True, False], ids=["sigma", "residuals"])
@pytest.mark.parametrize("snr", [30, 100])
def test_95_percent_intervals_of_f_and_d_hold_95_percent(bvalues, known, snr):
    """2,000 draws: the share has an SD of 0.5 %. D* follows where it is told well: its error is not normal else."""
    truth = (0.3, 1e-3, 50e-3)
    signals = equation1(1, *truth, bvalues) + np.random.default_rng(1).normal(0, 1 / snr, (2000, len(bvalues)))
    e = run_method("segmented", signals, bvalues, **({"sigma": 1 / snr} if known else {}))
    held = [np.mean(np.abs(x - t) <= 1.96 * s) for x, s, t in zip((e.f, e.D, e.Dstar), (e.fstd, e.dstd, e.dstarstd), truth, strict=True)]  # fmt: skip
    assert 0.93 < held[0] < 0.975 and 0.93 < held[1] < 0.975
    if snr == 100 and len(bvalues) == 10:
        assert 0.93 < held[2] < 0.97


def test_the_tissue_that_is_fitted_again_tells_dstar_better_than_the_extrapolated_one():
    """The sketch in numpy: subtract the tissue of the high b-values, then fit one decay to what is left of the low ones."""
    p = phantom(2000, TEN, 30, seed=7)
    e = run_method("segmented", p.signals, TEN)
    low = TEN < 200
    tissue = np.linalg.norm(np.exp(-np.outer(e.D, TEN[~low])), axis=1) ** -2 * np.sum(p.signals[:, ~low] * np.exp(-np.outer(e.D, TEN[~low])), axis=1)  # fmt: skip
    rest = (p.signals - tissue[:, None] * np.exp(-np.outer(e.D, TEN)))[:, low]
    nodes = np.geomspace(5e-3, 0.2, 300)
    columns = np.exp(-np.outer(nodes, TEN[low]))
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    usual = nodes[np.argmax(rest @ columns.T, axis=1)]
    assert np.sqrt(np.mean((e.Dstar - p.Dstar) ** 2)) < 0.8 * np.sqrt(np.mean((usual - p.Dstar) ** 2))


def test_the_loglinear_reading_takes_dstar_as_ten_d_and_underestimates_f():
    p = phantom(500)
    e = run_method("segmented", p.signals, TEN, extrapolation="loglinear")
    inside = 10 * e.D > 5e-3
    np.testing.assert_allclose(e.Dstar[inside], 10 * e.D[inside], rtol=1e-5)
    low = TEN < 200
    line = np.polyfit(TEN[low], np.log(p.signals[:, low].T.astype(np.float64)), 1)
    s0_high = p.signals[:, -1].astype(np.float64) * np.exp(e.D * 500)  # noise-free: the tissue's line passes here
    np.testing.assert_allclose(e.S0, np.maximum(np.exp(line[1]), s0_high), rtol=0.02)  # blood left at b = 200 to 500
    assert np.mean(e.f - p.f) < -0.05


@pytest.mark.parametrize("extrapolation", segmented.EXTRAPOLATIONS)
def test_the_rmse_is_that_of_the_whole_curve(extrapolation):
    p = phantom(200, TEN, 30, seed=3)
    e = run_method("segmented", p.signals, TEN, extrapolation=extrapolation)
    residuals = p.signals.astype(np.float64) - equation1(e.S0, e.f, e.D, e.Dstar, TEN)
    np.testing.assert_allclose(e.rmse, np.sqrt(np.mean(residuals**2, axis=1)), rtol=1e-4)  # signals are float32


@pytest.mark.parametrize("extrapolation", segmented.EXTRAPOLATIONS)
def test_f_outside_its_bounds_comes_to_the_nearest_one(extrapolation):
    p = phantom(300, TEN, 100, seed=4)
    free = run_method("segmented", p.signals, TEN, extrapolation=extrapolation)
    e = run_method("segmented", p.signals, TEN, extrapolation=extrapolation, f_bounds=(0.15, 0.3), sigma=1e-4)
    np.testing.assert_allclose(e.f, np.clip(free.f, 0.15, 0.3), rtol=1e-5)
    residuals = p.signals.astype(np.float64) - equation1(e.S0, e.f, e.D, e.Dstar, TEN)  # S0 goes with f
    np.testing.assert_allclose(e.rmse, np.sqrt(np.mean(residuals**2, axis=1)), rtol=1e-3)
    outside = (free.f < 0.149) | (free.f > 0.301)
    assert np.sum(free.f < 0.149) > 20 and np.sum(free.f > 0.301) > 20
    assert np.mean(e.outcome[outside] == Outcome.AT_BOUND) > 0.7  # a last bit may keep f a hair inside its bound


def test_bounds_of_d_and_dstar_are_in_mm2_per_s():
    p = phantom(300, TEN, 100, seed=5)
    free = run_method("segmented", p.signals, TEN)
    e = run_method("segmented", p.signals, TEN, d_bounds=(1e-3, 2e-3), dstar_bounds=(20e-3, 60e-3))
    np.testing.assert_allclose(e.D, np.clip(free.D, 1e-3, 2e-3), rtol=1e-4)  # one D explains best, so the nearest does
    assert np.sum(free.D < 1e-3) > 20 and np.sum(free.D > 2e-3) > 20
    assert np.all((e.Dstar.astype(float) >= 20e-3) & (e.Dstar.astype(float) <= 60e-3))
    assert np.any(e.Dstar > 59e-3) and np.any(e.Dstar < 21e-3)


def test_the_split_is_an_option_and_is_told():
    voxels = as_voxels(np.ones((1, 10)), TEN)
    fitter = segmented.prepare(voxels, segmented.Options(split=120), None)
    assert "split b: 120" in fitter.notes[0] and "150, 200, 300, 500" in fitter.notes[0]
    at = segmented.prepare(voxels, segmented.Options(split=150), None)  # the split itself is high, as elsewhere
    assert "150, 200, 300, 500" in at.notes[0]


@pytest.mark.parametrize("split", [501, 5, 400])
def test_a_segment_with_less_than_two_bvalues_is_an_error(split):
    with pytest.raises(InputError, match="expected at least 2 and 2"):
        run_method("segmented", np.ones((1, 10)), TEN, split=float(split))


def test_an_unknown_extrapolation_lists_the_known_ones():
    with pytest.raises(InputError, match="biexponential or loglinear"):
        run_method("segmented", np.ones((1, 10)), TEN, extrapolation="cubic")
