"""Residuals that voxels have in common: curvature is told, and noise, bounds and the floor of magnitudes are not taken for it."""

import warnings

import numpy as np
import pytest

import ivimsc
from ivimsc.fit.pattern import Pattern
from ivimsc.simulate import simulate_phantom

B = np.array([0, 10, 20, 50, 100, 200, 300, 400, 600, 800, 1000, 1200.0])
WORDS = "have a pattern that noise does not leave"


def bent(kurtosis, snr, n=1500, seed=3):
    """Magnitudes of IVIM with kurtosis, f about 0.15."""
    random = np.random.default_rng(seed)
    f, D, p = random.normal([[0.15], [1.2e-3], [30e-3]], [[0.04], [0.15e-3], [5e-3]], (3, n))[:, :, None]
    clean = (1 - f) * np.exp(-B * D + (B * D) ** 2 * kurtosis / 6) + f * np.exp(-B * p)
    noise = random.normal(0, 1 / snr, (2, n, len(B)))
    return np.hypot(clean + noise[0], noise[1]).astype(np.float32)


def warned(signals, bvalues, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimates = ivimsc.fit_signals(signals, bvalues, **options)
    return estimates, [str(w.message) for w in caught if WORDS in str(w.message)]


@pytest.mark.parametrize("method", ["nlls", "segmented"])
def test_curvature_is_told_although_no_voxel_is_a_misfit(method):
    estimates, told = warned(bent(1.0, 60), B, method=method)
    assert np.mean(estimates.outcome == 8) < 0.01  # no voxel shows it alone
    assert np.median(estimates.D) < 1.05e-3  # D is 1.2e-3
    assert len(told) == 1 and "at b = 1200" in told[0]


def test_without_curvature_nothing_is_told():
    assert warned(bent(0.0, 60), B)[1] == []


def test_a_model_with_kurtosis_is_not_warned_of_it():
    assert warned(bent(1.0, 60), B, method="kurtosis")[1] == []


@pytest.mark.parametrize("snr", [10, 30, 80])
@pytest.mark.parametrize("name", ["placenta", "brain"])
def test_bounds_and_the_noise_floor_are_no_pattern(name, snr):
    voxels = simulate_phantom(name, snr=float(snr), seed=8, shape=(20, 20, 6))
    assert warned(voxels.signals, voxels.bvalues)[1] == []


def test_outliers_of_single_voxels_are_no_pattern():
    signals = bent(0.0, 60)
    signals[:75] *= np.random.default_rng(1).uniform(0.3, 3, (75, len(B))).astype(np.float32)
    assert warned(signals, B)[1] == []


def test_few_voxels_show_no_pattern_by_chance():
    told = [warned(bent(0.0, 60, n=30, seed=seed), B)[1] for seed in range(20)]
    assert told == [[]] * 20


def test_large_and_certain_both_count():
    small, large = np.full(4, 0.05), np.array([0.0, 0.0, 0.0, 0.4])
    assert not Pattern(small, np.full(4, 1e-3)).found  # certain and small
    assert not Pattern(large, np.full(4, 0.1)).found  # large by chance
    assert Pattern(large, np.full(4, 0.01)).found
    assert "+0.4 at b = 800" in Pattern(large, np.full(4, 0.01)).sentence(np.array([0, 100, 400, 800.0]))
