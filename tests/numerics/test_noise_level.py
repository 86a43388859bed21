"""The noise level from residuals, held against scipy's chi-square and against simulated residuals."""

import numpy as np
import pytest
from scipy.stats import chi2

from ivimsc.numerics.noise_level import chi_square_median, sigma_of_squares


@pytest.mark.parametrize("freedom", [2, 3, 6, 11, 40, 300])
def test_the_median_is_that_of_scipy(freedom):
    """Wilson and Hilferty's formula is 1.4 % above the median at two degrees of freedom, and closer beyond."""
    assert chi_square_median(freedom) == pytest.approx(chi2.median(freedom), rel=0.015 if freedom == 2 else 0.007)


@pytest.mark.parametrize("freedom", [1, 2, 6, 16])
def test_sigma_comes_back(freedom):
    """20,000 voxels: the median has a standard error of about 1 %; the formula is 3 % off at one degree of freedom."""
    squares = 7.0**2 * np.random.default_rng(freedom).chisquare(freedom, 20_000)
    assert sigma_of_squares(squares, freedom) == pytest.approx(7, rel=0.04 if freedom == 1 else 0.02)


def test_each_voxel_may_have_its_own_freedom():
    random = np.random.default_rng(5)
    freedom = random.integers(2, 12, 20_000)
    squares = 0.5**2 * random.chisquare(freedom)
    assert sigma_of_squares(squares, freedom) == pytest.approx(0.5, rel=0.02)


def test_a_tenth_of_bad_voxels_moves_it_little():
    """The median of the whole is the 55.6th percentile of the good ones: 7 % in sigma at six degrees of freedom."""
    squares = np.random.default_rng(1).chisquare(6, 10_000)
    squares[:1000] *= 1e6
    assert 1 < sigma_of_squares(squares, 6) < 1.08
