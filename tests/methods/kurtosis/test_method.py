"""The fit with kurtosis against scipy from many starts, against its own scatter and the bound, and at its edges."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from ivimsc.errors import InputError
from ivimsc.outcome import Outcome
from ivimsc.physics.models import MODELS
from tests.conftest import run_method

B = np.array([0, 10, 20, 40, 80, 150, 200, 400, 600, 800, 1000, 1500.0])
MODEL = MODELS["kurtosis"]


def voxels(n, snr, seed=0):
    """Signals (voxel, b) with Gaussian noise, and their truth."""
    random = np.random.default_rng(seed)
    truth = {"s0": np.ones(n), "f": random.uniform(0.05, 0.4, n), "d": random.uniform(0.5e-3, 2e-3, n),
             "dstar": random.uniform(10e-3, 100e-3, n), "k": random.uniform(0.2, 1.2, n)}  # fmt: skip
    clean = MODEL.signals(truth, B)
    return (clean + random.normal(0, 1 / snr, clean.shape)).astype(np.float32), truth


def test_no_start_of_scipy_finds_a_better_optimum():
    """30 voxels, 10 starts each. The search stops at 1e-6 of Σ r², and K is searched as a share of its largest value."""
    y, _ = voxels(30, 50, seed=4)
    e, b, random = run_method("kurtosis", y, B), B * 1e-3, np.random.default_rng(0)

    def residuals(x, signal):
        S0, f, d, p, share = x
        k = share * min(3.0, 3 / (b[-1] * max(d, 1e-9)))
        return S0 * ((1 - f) * np.exp(-b * d + b * b * d * d * k / 6) + f * np.exp(-b * p)) - signal

    for v, signal in enumerate(y.astype(float)):
        costs = []
        for _ in range(10):
            start = [1, random.uniform(0.05, 0.5), random.uniform(0.3, 3), np.exp(random.uniform(2, 5)), random.uniform(0.1, 0.9)]  # fmt: skip
            bounds = ([0, 0, 0, 5, 0], [10, 1, 5, 200, 1])
            costs.append(2 * least_squares(residuals, start, args=(signal,), bounds=bounds, max_nfev=200).cost)
        assert len(B) * float(e.rmse[v]) ** 2 <= min(costs) * (1 + 1e-4), v


def test_standard_errors_are_the_bound_and_tell_the_scatter():
    """2,000 draws of one voxel at SNR 200: the scatter is known to 1.6 %; the bound is that of the first order."""
    truth = {"s0": 1.0, "f": 0.2, "d": 1e-3, "dstar": 40e-3, "k": 0.8}
    y = MODEL.signals(truth, B) + np.random.default_rng(1).normal(0, 0.005, (2000, len(B)))
    e = run_method("kurtosis", y, B, sigma=0.005)
    bound = MODEL.bound({key: np.array([value]) for key, value in truth.items()}, B, 0.005)
    for key, error, values in (
        ("f", e.fstd, e.f),
        ("d", e.dstd, e.D),
        ("dstar", e.dstarstd, e.Dstar),
        ("k", e.kstd, e.K),
    ):
        assert np.median(error) == pytest.approx(bound[key][0], rel=0.05), key
        assert np.std(values) == pytest.approx(bound[key][0], rel=0.1), key
    assert np.mean(e.outcome == Outcome.CONVERGED) > 0.99


def test_the_exponent_never_turns_up_within_the_bvalues():
    y, _ = voxels(2000, 15, seed=2)
    e = run_method("kurtosis", y, B)
    assert np.all(e.K * e.D.astype(float) * B[-1] <= 3 * (1 + 1e-5))
    at_edge = e.K * e.D.astype(float) * B[-1] >= 3 * (1 - 1e-6)
    assert at_edge.any() and not np.any(e.outcome[at_edge] == Outcome.CONVERGED)


def test_voxels_without_kurtosis_end_at_its_bound_or_near_it():
    y = np.stack([0.8 * np.exp(-B * 1e-3) + 0.2 * np.exp(-B * 0.05)] * 3)
    e = run_method("kurtosis", y, B)
    np.testing.assert_allclose(e.K, 0, atol=1e-3)
    np.testing.assert_allclose(e.D, 1e-3, rtol=1e-3)


def test_one_exponential_everywhere_has_no_dstar():
    y = np.exp(-B * 1e-3) + np.random.default_rng(0).normal(0, 0.02, (300, len(B)))
    e = run_method("kurtosis", y, B)
    assert np.mean(np.isin(e.outcome, (Outcome.DSTAR_UNIDENTIFIABLE, Outcome.AT_BOUND))) > 0.9


def test_dstar_that_is_held_fixed_is_kept():
    y, truth = voxels(50, 1e6)
    y = MODEL.signals(truth | {"dstar": np.full(50, 0.05)}, B).astype(np.float32)
    e = run_method("kurtosis", y, B, dstar=0.05)
    assert np.all(e.Dstar == np.float32(0.05)) and e.dstarstd is None
    inside = truth["d"] * truth["k"] * B[-1] < 2.95  # else the exponent turns up before the largest b
    np.testing.assert_allclose(
        e.K[inside], truth["k"][inside], atol=2e-3
    )  # float32 signals: seven digits, four of conditioning


@pytest.mark.parametrize(("b", "options", "says"), [
    ((0, 50, 100, 300, 500), {}, "kurtosis: found b = 0, 50, 100, 300, 500 s/mm², expected at least 3 b-values from 300 on, the largest at least 600"),
    ((0, 500, 1000), {}, "kurtosis: found 3 distinct b-values (0, 500, 1000 s/mm²), expected at least 5"),
    (B, {"k_bounds": (2.0, 1.0)}, "option k_bounds of kurtosis: found 2,1, expected LOW,HIGH with -10 <= LOW < HIGH <= 10"),
    (B, {"k_bounds": (1.0, 2.0)}, "option k_bounds of kurtosis: found a lower bound of 1, expected at most 0.4, which is 3 / (D b_max)"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line(b, options, says):
    with pytest.raises(InputError) as error:
        run_method("kurtosis", np.ones((1, len(b))), np.array(b, float), **options)
    assert says in str(error.value) and "\n" not in str(error.value)
