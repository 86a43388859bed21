"""Equation (11) and the closed form of its moments."""

import numpy as np
import pytest
from scipy import stats

from ivimsc.physics.noise import gaussian, rician, rician_mean, rician_variance

SNRS = [0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 30.0]  # scipy itself overflows to NaN beyond about 37


@pytest.mark.parametrize("snr", SNRS)
def test_rician_moments_equal_scipys(snr):
    sigma = 0.2
    law = stats.rice(snr, scale=sigma)
    # 1e-9: scipy sums Bessel series of its own; its variance cancels at high SNR
    assert rician_mean(snr * sigma, sigma) == pytest.approx(law.mean(), rel=1e-9)
    assert rician_variance(snr * sigma, sigma) == pytest.approx(law.var(), rel=1e-6)


def test_limits_of_the_moments():
    assert rician_mean(0.0, 1.0) == pytest.approx(np.sqrt(np.pi / 2))  # Rayleigh
    assert rician_variance(0.0, 1.0) == pytest.approx(2 - np.pi / 2)
    assert rician_mean(1e5, 1.0) == pytest.approx(1e5 + 0.5e-5, rel=1e-12)  # S + sigma² / 2 S


def test_rician_is_the_magnitude_of_both_channels():
    assert rician(3.0, 0.0, 4.0, 1.0) == 5.0
    assert rician(1.0, -3.0, 0.0, 1.0) == 2.0  # never negative
    assert rician(0.7, 0.3, -0.2, 0.0) == pytest.approx(0.7, rel=1e-15)
    assert gaussian(1.0, -3.0, 1.0) == -2.0


@pytest.mark.parametrize("snr", [0.0, 1.0, 3.0, 30.0])
def test_simulated_noise_has_the_closed_form_moments(snr):
    draws = np.random.default_rng(0).standard_normal((100_000, 2))
    values = np.array([rician(snr, a, b, 1.0) for a, b in draws])
    mean, variance = rician_mean(snr, 1.0), rician_variance(snr, 1.0)
    assert abs(values.mean() - mean) < 4 * np.sqrt(variance / len(values))  # four standard errors
    assert values.var() == pytest.approx(variance, rel=4 * np.sqrt(2.2 / len(values)))
