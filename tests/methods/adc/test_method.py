"""Mono-exponential least squares against scipy, against its own scatter, and at its edges."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ivimsc.device.launch import choose_device
from ivimsc.errors import InputError
from ivimsc.fit import fit_signals
from ivimsc.outcome import Outcome
from tests.conftest import TEN, as_voxels, prepare_method, run_method


def decays(n, snr, seed=0, b=TEN):
    """Signals (voxel, b) of S0 50..500 and D 0.2..3.5e-3 mm²/s with Gaussian noise of SD S0 / snr; S0, D and the SD."""
    random = np.random.default_rng(seed)
    S0, D = random.uniform(50, 500, n), random.uniform(0.2e-3, 3.5e-3, n)
    sigma = S0 / snr
    return (S0[:, None] * np.exp(-b * D[:, None]) + sigma[:, None] * random.normal(size=(n, len(b)))), S0, D, sigma


def model(b, S0, D):
    return S0 * np.exp(-b * D)


def test_scipy_finds_the_same_optimum():
    signals, S0, D, _ = decays(300, 20)
    e = run_method("adc", signals, TEN)
    for v, y in enumerate(signals.astype(np.float32).astype(float)):
        if e.outcome[v] == Outcome.CONVERGED:
            best, covariance = curve_fit(model, TEN, y, (S0[v], D[v]), xtol=1e-12, ftol=1e-12)
            rest = np.sqrt(np.mean((model(TEN, *best) - y) ** 2))
            assert e.D[v] == pytest.approx(best[1], rel=2e-5)  # float32
            assert e.S0[v] == pytest.approx(best[0], rel=2e-6)
            assert e.rmse[v] == pytest.approx(rest, rel=1e-4)
            assert e.dstd[v] == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-3)
    assert np.mean(e.outcome == Outcome.CONVERGED) > 0.99


@pytest.mark.parametrize("sigma", [None, "given"])
def test_standard_errors_tell_the_scatter(sigma):
    """4,000 draws of one voxel at SNR 50: the scatter is known to 1.1 %, and the bound is reached to a few per cent."""
    random = np.random.default_rng(1)
    signals = 200 * np.exp(-TEN * 1.2e-3) + random.normal(0, 4, (4000, 10))
    e = run_method("adc", signals, TEN, **({"sigma": 4.0} if sigma else {}))
    assert np.sqrt(np.mean(e.dstd.astype(float) ** 2)) == pytest.approx(np.std(e.D), rel=0.05)
    assert np.mean(e.D) == pytest.approx(1.2e-3, rel=0.005)
    if sigma:
        assert np.std(e.dstd) < 0.05 * np.mean(e.dstd)  # the noise is not guessed from eight degrees of freedom


def test_shells_are_weighted_by_their_images():
    """One image at b = 0, 30 at the largest b: as least squares on all images, by scipy; sigma is that of one image."""
    shells, images = np.array([0, 100, 400, 800.0]), np.array([1, 3, 6, 30])
    b = np.repeat(shells, images)
    random = np.random.default_rng(5)
    y = 100 * np.exp(-b * 1.1e-3) + random.normal(0, 5, (40, len(b)))
    e = fit_signals(y, b, "adc", sigma=5.0)
    for v in range(40):
        best, covariance = curve_fit(model, b, y[v], (100, 1e-3), sigma=np.full(len(b), 5.0), absolute_sigma=True)
        assert e.D[v] == pytest.approx(best[1], rel=1e-4) and e.S0[v] == pytest.approx(best[0], rel=1e-5)
        assert e.dstd[v] == pytest.approx(np.sqrt(covariance[1, 1]), rel=2e-2)  # Gauss-Newton at the optimum, both


def test_the_range_of_bvalues_is_kept():
    signals, *_ = decays(50, 30)
    signals[:, TEN < 200] *= 1.3  # blood
    e = run_method("adc", signals, TEN, b_range=(200, 1e4))
    part = run_method("adc", signals[:, TEN >= 200], TEN[TEN >= 200])
    np.testing.assert_array_equal(e.D, part.D)
    assert not np.allclose(e.D, run_method("adc", signals, TEN).D, rtol=1e-2)
    notes = prepare_method("adc", as_voxels(signals, TEN), choose_device("cpu", 1), b_range=(200, 1e4)).notes
    assert notes == ["S0 and D from b = 200, 300, 500 s/mm²; D 0..5 µm²/ms"]


def test_what_does_not_decay_or_decays_too_fast_ends_at_a_bound():
    rising, fast = np.linspace(1, 2, 10), np.exp(-TEN * 20e-3)
    e = run_method("adc", np.stack([rising, fast]), TEN)
    assert e.outcome.tolist() == [Outcome.AT_BOUND, Outcome.AT_BOUND]
    assert e.D[0] == 0 and e.D[1] == np.float32(5e-3)
    narrow = run_method("adc", np.exp(-TEN * 1e-3)[None], TEN, d_bounds=(1.5e-3, 3e-3))
    assert narrow.outcome[0] == Outcome.AT_BOUND and narrow.D[0] == np.float32(1.5e-3)


def test_signals_at_and_below_zero_are_fitted_where_s0_is_not():
    """Subtracted noise leaves negative signals: they have no logarithm, and the start leaves them out."""
    y = 100 * np.exp(-TEN * 3e-3)
    y[-2:] = -1.0, 0.0
    e = run_method("adc", y[None], TEN)
    best, _ = curve_fit(model, TEN, y, (100, 3e-3))
    assert e.outcome[0] == Outcome.CONVERGED
    assert e.D[0] == pytest.approx(best[1], rel=1e-4)


def test_two_bvalues_give_d_but_no_error():
    e = run_method("adc", np.array([[100.0, 100 * np.exp(-0.8)]]), np.array([0, 800.0]))
    assert e.D[0] == pytest.approx(1e-3, rel=1e-5) and e.S0[0] == pytest.approx(100, rel=1e-5)
    assert np.isnan(e.dstd[0]) and e.outcome[0] == Outcome.CONVERGED


@pytest.mark.parametrize(("options", "says"), [
    ({"b_range": (200.0, 100.0)}, "option b_range of adc: found 200,100, expected LOW,HIGH"),
    ({"b_range": (600.0, 900.0)}, "option b_range of adc: found 600,900, which holds 0 of b = 0, 10"),
    ({"d_bounds": (0.0, np.inf)}, "option d_bounds of adc: found 0,inf"),
    ({"sigma": 0.0}, "option sigma of adc: found 0, expected a number > 0"),
])  # fmt: skip
def test_bad_options_are_told_in_one_line(options, says):
    with pytest.raises(InputError) as error:
        run_method("adc", np.ones((1, 10)), TEN, **options)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_only_what_it_has_is_there():
    e = run_method("adc", decays(3, 30)[0], TEN)
    assert [key for key, _ in e.items()] == ["s0", "d", "rmse", "outcome", "dstd"]
