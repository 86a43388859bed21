"""The same sentences for every classical method."""

import numpy as np
import pytest

from ivimsc.device.launch import usable_cores
from ivimsc.errors import InputError
from ivimsc.outcome import Outcome
from tests.conftest import TEN, phantom, run_method

# Per method: the slowest D* in play, how close noise-free truth comes back (f, D relative, D* relative), and why no closer.
TRUTH = {
    "nlls": (10e-3, 1e-4, 1e-4, 1e-3),  # float32 signals: seven digits, of which the conditioning of D* costs four
    "segmented": (40e-3, 1e-4, 1e-4, 1e-3),  # slower blood is not gone above the split: the method's own bias
}
METHODS = list(TRUTH)
KEYS = ("S0", "f", "D", "Dstar", "rmse", "outcome", "fstd", "dstd", "dstarstd")


def assert_same(a, b, rows=slice(None), other=slice(None)):
    for key in KEYS:
        np.testing.assert_array_equal(getattr(a, key)[rows], getattr(b, key)[other], err_msg=key)


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_noise_free_truth_is_recovered(self, method):
        p = phantom(2000)
        e = run_method(method, p.signals, TEN)
        slowest, f, D, Dstar = TRUTH[method]
        fast = p.Dstar >= slowest
        assert np.max(np.abs(e.f - p.f)[fast]) < f
        assert np.max(np.abs(e.D / p.D - 1)[fast]) < D
        assert np.max(np.abs(e.Dstar / p.Dstar - 1)[fast]) < Dstar
        np.testing.assert_allclose(e.S0[fast], 1, atol=f)
        assert np.mean(e.outcome == Outcome.CONVERGED) > 0.99

    def test_scaling_by_a_power_of_two_changes_s0_alone(self, method):
        p = phantom(500, snr=30)
        e, scaled = run_method(method, p.signals, TEN), run_method(method, p.signals * 1024, TEN)
        for key in ("f", "D", "Dstar", "outcome", "fstd", "dstd", "dstarstd"):
            np.testing.assert_array_equal(getattr(e, key), getattr(scaled, key), err_msg=key)
        np.testing.assert_array_equal(scaled.S0, e.S0 * 1024)
        np.testing.assert_array_equal(scaled.rmse, e.rmse * 1024)

    @pytest.mark.parametrize("factor", [1e30, 1e-30])
    def test_huge_and_tiny_signals_are_fitted(self, method, factor):
        p = phantom(100)
        e = run_method(method, p.signals * np.float32(factor), TEN)
        plain = run_method(method, p.signals, TEN)
        np.testing.assert_allclose(e.f, plain.f, atol=1e-5)  # the factor is no power of two: one rounding
        np.testing.assert_allclose(e.S0 / factor, plain.S0, rtol=1e-5)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_voxel_that_is_not_finite_is_flagged_and_its_neighbours_are_untouched(self, method, value):
        p = phantom(100, snr=30)
        spoiled = p.signals.copy()
        spoiled[17, 3] = value
        e, clean = run_method(method, spoiled, TEN), run_method(method, p.signals, TEN)
        assert e.outcome[17] == Outcome.BAD_SIGNAL
        assert all(np.isnan(getattr(e, key)[17]) for key in KEYS if key != "outcome")
        rest = np.arange(100) != 17
        assert_same(e, clean, rest, rest)

    @pytest.mark.parametrize("signal", [np.zeros(10), np.full(10, -1.0), np.r_[-0.1, np.ones(9)], np.r_[0, np.ones(9)]])
    def test_a_signal_without_s0_is_bad(self, method, signal):
        e = run_method(method, signal[None], TEN)
        assert e.outcome[0] == Outcome.BAD_SIGNAL
        assert np.isnan(e.f[0]) and np.isnan(e.S0[0])

    @pytest.mark.parametrize("signal", [np.ones(10), np.linspace(1, 2, 10)], ids=["constant", "rising"])
    def test_a_signal_that_does_not_decay_ends_at_a_bound(self, method, signal):
        e = run_method(method, signal[None], TEN)
        assert e.outcome[0] in (Outcome.AT_BOUND, Outcome.DSTAR_UNIDENTIFIABLE)
        assert np.isfinite(e.f[0]) and e.D[0] == 0

    def test_one_exponential_is_told_from_two(self, method):
        e = run_method(method, np.exp(-TEN * 2.2e-3)[None], TEN)
        assert e.outcome[0] == Outcome.DSTAR_UNIDENTIFIABLE
        assert e.f[0] < 1e-3 and abs(e.D[0] - 2.2e-3) < 1e-5

    def test_threads_and_neighbours_do_not_matter(self, method):
        p = phantom(9001, snr=30)
        one = run_method(method, p.signals, TEN, threads=1)
        assert_same(one, run_method(method, p.signals, TEN, threads=usable_cores()))
        assert_same(one, run_method(method, p.signals[1234:5000], TEN), slice(1234, 5000))
        assert_same(one, run_method(method, p.signals[77:78], TEN), slice(77, 78))

    def test_no_voxel_gives_empty_estimates(self, method):
        assert run_method(method, np.empty((0, 10)), TEN).f.shape == (0,)

    def test_standard_errors_tell_the_scatter(self, method):
        """At SNR 100 the estimates of one voxel scatter as its standard errors say (to 15 %: they are a lower bound
        for nlls only, and each has 6 degrees of freedom; given sigma removes the latter)."""
        n = 4000
        p = phantom(1)
        p = np.repeat(np.exp(-TEN * 1.2e-3)[None] * 0.7 + 0.3 * np.exp(-TEN * 40e-3)[None], n, axis=0)
        noisy = p + np.random.default_rng(1).normal(0, 0.01, p.shape)
        e = run_method(method, noisy, TEN, sigma=0.01)
        ratio = np.array(
            [np.std(e.f) / np.mean(e.fstd), np.std(e.D) / np.mean(e.dstd), np.std(e.Dstar) / np.mean(e.dstarstd)]
        )
        if method == "nlls":
            assert np.all(np.abs(ratio - 1) < 0.15), ratio
        else:
            assert np.all(ratio > 0.8), ratio

    def test_too_few_bvalues_are_an_error_of_one_line(self, method):
        with pytest.raises(InputError, match=r"found .* expected") as error:
            run_method(method, np.ones((1, 3)), [0, 50, 100])
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        "options", [{"nonsense": "1"}, {"d_bounds": "3"}, {"f_bounds": "0.5,0.1"}, {"sigma": "-1"}, {"sigma": "x"}]
    )
    def test_a_bad_option_is_an_error_of_one_line(self, method, options):
        with pytest.raises(InputError, match=r"found .* expected") as error:
            run_method(method, np.ones((1, 10)), TEN, **options)
        assert "\n" not in str(error.value)
