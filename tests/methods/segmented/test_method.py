"""segmented against scipy, and the paper's own reading of its steps."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ivimsc.errors import InputError
from ivimsc.methods.segmented import method as segmented
from ivimsc.outcome import Outcome
from tests.conftest import TEN, as_voxels, equation1, phantom, run_method


def test_both_segments_are_the_least_squares_fits_of_scipy():
    p = phantom(30, TEN, 50, seed=2)
    e = run_method("segmented", p.signals, TEN)
    high, low = TEN > 200, TEN <= 200
    for v, signal in enumerate(p.signals.astype(np.float64)):
        (a, D), _ = curve_fit(
            lambda b, a, d: a * np.exp(-b * d * 1e-3), TEN[high], signal[high], (0.7, 1.0), bounds=((0, 0), (9, 5))
        )
        assert e.D[v] == pytest.approx(D * 1e-3, rel=1e-3, abs=1e-7)  # curve_fit stops at 1e-8 of the cost
        rest = signal[low] - a * np.exp(-TEN[low] * D * 1e-3)
        best = min(
            (np.sum((rest - c * np.exp(-TEN[low] * q * 1e-3)) ** 2), c, q)
            for q in np.geomspace(5, 200, 4000)
            for c in [max(np.sum(rest * np.exp(-TEN[low] * q * 1e-3)) / np.sum(np.exp(-TEN[low] * q * 2e-3)), 0)]
        )
        assert e.f[v] == pytest.approx(best[1] / (best[1] + a), abs=2e-3)  # the grid's step of D* is 1e-3
        if e.f[v] > 0.02:
            assert e.Dstar[v] == pytest.approx(best[2] * 1e-3, rel=5e-3)


def test_the_loglinear_reading_takes_dstar_as_ten_d_and_underestimates_f():
    p = phantom(500)
    e = run_method("segmented", p.signals, TEN, extrapolation="loglinear")
    inside = 10 * e.D > 5e-3
    np.testing.assert_allclose(e.Dstar[inside], 10 * e.D[inside], rtol=1e-5)
    low = TEN <= 200
    line = np.polyfit(TEN[low], np.log(p.signals[:, low].T.astype(np.float64)), 1)
    s0_high = p.signals[:, -1].astype(np.float64) * np.exp(e.D * 500)  # noise-free: the tissue's line passes here
    np.testing.assert_allclose(e.S0, np.maximum(np.exp(line[1]), s0_high), rtol=0.01)  # blood left at b = 300, 500
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
    assert np.all((e.Dstar >= 20e-3 * (1 - 1e-6)) & (e.Dstar <= 60e-3 * (1 + 1e-6)))
    assert np.any(e.Dstar > 59e-3) and np.any(e.Dstar < 21e-3)


def test_the_split_is_an_option_and_is_told():
    voxels = as_voxels(np.ones((1, 10)), TEN)
    fitter = segmented.prepare(voxels, segmented.Options(split=120), None)
    assert "split b: 120" in fitter.notes[0] and "150, 200, 300, 500" in fitter.notes[0]


@pytest.mark.parametrize("split", [500, 5, 400])
def test_a_segment_with_less_than_two_bvalues_is_an_error(split):
    with pytest.raises(InputError, match="expected at least 2 and 2"):
        run_method("segmented", np.ones((1, 10)), TEN, split=float(split))


def test_an_unknown_extrapolation_lists_the_known_ones():
    with pytest.raises(InputError, match="biexponential or loglinear"):
        run_method("segmented", np.ones((1, 10)), TEN, extrapolation="cubic")
