"""The log-likelihood of every noise model against float64 sums and integrals over S0."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.special import i0e, stdtrit

from ivimsc.methods.bayes.draws import FREEDOM, _spread
from ivimsc.methods.bayes.likelihood import EXCLUDED, NoiseModel, Spread, Terms, log_likelihood, scaled, unit_signals
from tests.conftest import TEN, equation1

B = (TEN * 1e-3).astype(np.float32)
THETA = np.array([[0.1, 0.3, 0.3, 0.5], [0.8, 1.2, 2.0, 1.5], [20, 40, 80, 15]])
UNIT = equation1(1.0, THETA[0], THETA[1] * 1e-3, THETA[2] * 1e-3, TEN)  # (point, b)
Y = UNIT[1] + np.random.default_rng(0).normal(0, 0.1, 10)
SIGMA = 0.1


def found(y, unit, spread=None, **noise):
    """log_w and S0 of `log_likelihood`."""
    n = len(unit)
    model = NoiseModel(
        B,
        np.ones_like(B),
        np.float32(noise.get("s0", 0)),
        np.float32(noise.get("sigma", 0)),
        noise.get("rician", False),
    )
    terms = Terms(*np.zeros((4, n), np.float32))
    spread = spread or Spread(*np.zeros((2, n), np.float32))
    log_likelihood(y.astype(np.float32), np.ascontiguousarray(unit.T, np.float32), model, np.float32(1), spread, terms)
    return terms.log_w.astype(float), terms.s0.astype(float)


def integrated(density):
    """ln ∫ of density(S0, point) dS0 by a fine grid."""
    grid = np.linspace(1e-4, 4, 20_001)[:, None, None]
    logs = density(grid * UNIT)
    return np.log(trapezoid(np.exp(logs - logs.max()), dx=4 / 20_000, axis=0)) + logs.max()


def assert_same_up_to_a_constant(a, b, atol=2e-4):  # float32 sums of about 100
    np.testing.assert_allclose(a - a[1], b - b[1], atol=atol)


def gaussian(s):
    return -((Y - s) ** 2).sum(-1) / (2 * SIGMA**2)


def rician(s):
    y = np.maximum(Y, 0)
    return (np.log(i0e(y * s / SIGMA**2)) - (y - s) ** 2 / (2 * SIGMA**2)).sum(-1)


def test_unit_signals_are_equation_1():
    signals = np.empty((10, 4), np.float32)
    unit_signals(B, THETA.astype(np.float32), signals)
    np.testing.assert_allclose(signals.T, UNIT, rtol=2e-6)  # float32, and exp32 within 3e-7


@pytest.mark.parametrize("kind", [gaussian, rician])
def test_s0_known(kind):
    log_w, s0 = found(Y, UNIT, s0=1.25, sigma=SIGMA, rician=kind is rician)
    assert_same_up_to_a_constant(log_w, kind(1.25 * UNIT))
    np.testing.assert_array_equal(s0, 1.25)


def test_gaussian_s0_integrated_out():
    log_w, s0 = found(Y, UNIT, sigma=SIGMA)
    assert_same_up_to_a_constant(log_w, integrated(gaussian))
    np.testing.assert_allclose(s0, UNIT @ Y / (UNIT**2).sum(1), rtol=1e-5)


@pytest.mark.parametrize(("s0", "freedom"), [(0, 9), (1.25, 10)])
def test_sigma_integrated_out(s0, freedom):
    """∫ σ^-n exp(-r² / 2σ²) dσ / σ over a fine grid of ln σ; n: b-values, less one for S0."""
    best = s0 or (UNIT @ Y / (UNIT**2).sum(1))[:, None]
    rest = ((Y - best * UNIT) ** 2).sum(1)
    sigma = np.exp(np.linspace(-7, 7, 20_001))[:, None]
    logs = np.log(trapezoid(sigma**-freedom * np.exp(-rest / (2 * sigma**2)), np.log(sigma[:, 0]), axis=0))
    assert_same_up_to_a_constant(found(Y, UNIT, s0=s0)[0], logs - (0 if s0 else 0.5 * np.log((UNIT**2).sum(1))))


def test_rician_s0_drawn():
    """With S0 unknown a point's S0 is a draw: the mean weight of many draws at one point is the integral over S0."""
    n = 20_000
    spread = _spread((np.arange(n) + 0.5) / n)
    weights, means = [], []
    for row in UNIT:
        log_w, s0 = found(Y, np.tile(row, (n, 1)), spread, sigma=SIGMA, rician=True)
        weights.append(np.log(np.mean(np.exp(log_w))))
        means.append(np.average(s0, weights=np.exp(log_w)))
    # a midpoint rule of 20,000 points, whose tails carry 1e-4 of the weight
    assert_same_up_to_a_constant(np.array(weights), integrated(rician), atol=2e-3)
    grid = np.linspace(1e-4, 4, 20_001)[:, None, None]
    logs = rician(grid * UNIT)
    w = np.exp(logs - logs.max(0))
    np.testing.assert_allclose(means, (w * grid[:, :, 0]).sum(0) / w.sum(0), rtol=2e-3)
    assert spread.x[-1] == pytest.approx(stdtrit(FREEDOM, 1 - 0.5 / n), rel=1e-5)


def test_no_signal_below_zero():
    """S0 is above 0: a point that needs another one weighs nothing."""
    assert np.all(found(-Y, UNIT, sigma=SIGMA)[0] == EXCLUDED)


def test_noise_of_a_scaled_signal():
    noise = scaled(NoiseModel(B, np.ones_like(B), np.float32(8), np.float32(2), True), np.float32(4))
    assert (noise.s0, noise.sigma, noise.rician) == (2, 0.5, True)


def test_many_points_are_the_same_as_few():
    """More points than a tile, and a number of b-values that five does not divide."""
    many = np.tile(UNIT, (300, 1))
    np.testing.assert_array_equal(found(Y, many, sigma=SIGMA)[0], np.tile(found(Y, UNIT, sigma=SIGMA)[0], 300))
    seven = found(Y[:7], UNIT[:, :7], s0=1.25, sigma=SIGMA)[0]
    expected = -((Y - 1.25 * UNIT)[:, :7] ** 2).sum(1) / (2 * SIGMA**2)
    np.testing.assert_allclose(seven, expected, rtol=1e-4)
