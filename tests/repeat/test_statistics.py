"""Repeatability against published worked examples, and coverage of the intervals by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from ivimsc.repeat import agreement, icc, repeatability

# Shrout and Fleiss, Psychol. Bull. 86:420 (1979), table 2: four judges (columns) rate six targets
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
# Bland and Altman, Lancet 327:307 (1986), table 1: peak expiratory flow [l/min] of 17 subjects, twice by a Wright meter and twice by
# a mini Wright meter
WRIGHT = np.array([[494, 490], [395, 397], [516, 512], [434, 401], [476, 470], [557, 611], [413, 415], [442, 431], [650, 638],
                   [433, 429], [417, 420], [656, 633], [267, 275], [478, 492], [178, 165], [423, 372], [427, 421]], float)  # fmt: skip
MINI = np.array([[512, 525], [430, 415], [520, 508], [428, 444], [500, 500], [600, 625], [364, 460], [380, 390], [658, 642],
                 [445, 432], [432, 420], [626, 605], [260, 227], [477, 467], [259, 268], [350, 370], [451, 443]], float)  # fmt: skip


def test_icc_of_shrout_and_fleiss():
    """ICC(2,1) is .29 in their table 4; its interval is 0.019 to 0.76 in the example of R's psych package for the same data."""
    found = icc(RATINGS)
    assert round(found.value, 2) == 0.29
    assert round(found.low, 3) == 0.019 and round(found.high, 2) == 0.76


def test_within_subject_variance_of_shrout_and_fleiss():
    assert round(repeatability(RATINGS).wsd.value ** 2, 2) == 6.26  # WMS of their table 3


@pytest.mark.parametrize(("readings", "coefficient"), [(WRIGHT, 43.2), (MINI, 56.4)])
def test_repeatability_coefficient_of_bland_and_altman(readings, coefficient):
    """They give twice the SD of the differences, about a mean of 0: 43.2 and 56.4 l/min; ours has 1.96 for 2."""
    found = repeatability(readings)
    assert found.rc.value * 2 / 1.959964 == pytest.approx(coefficient, abs=0.2)  # they rounded the SD to 0.1 first
    assert found.rc.value == pytest.approx(2.77 * found.wsd.value, rel=1e-3)


def test_limits_of_agreement_of_bland_and_altman():
    """First readings of both meters: mean difference -2.1, SD 38.8 l/min (Wright less mini)."""
    found = agreement(MINI[:, 0], WRIGHT[:, 0])
    assert (found.n, round(found.bias, 1), round(found.sd, 1)) == (17, -2.1, 38.8)
    assert (found.low, found.high) == pytest.approx((found.bias - 1.96 * found.sd, found.bias + 1.96 * found.sd), rel=1e-4)  # fmt: skip


def test_the_order_of_targets_and_repeats_and_a_scale_change_nothing():
    other = RATINGS[::-1, [2, 0, 3, 1]] * 1e-3
    found, expected = repeatability(other), repeatability(RATINGS)
    np.testing.assert_allclose(found.icc, expected.icc, rtol=1e-9)
    np.testing.assert_allclose(found.wcv, expected.wcv, rtol=1e-9)
    np.testing.assert_allclose(found.rc, np.array(expected.rc) * 1e-3, rtol=1e-9)


def draws(targets, repeats, between, within, times=1500, shift=0.0):
    random = np.random.default_rng(5)
    truth = 10 + between * random.standard_normal((times, targets, 1))
    raters = shift * random.standard_normal((times, 1, repeats))
    return truth + raters + within * random.standard_normal((times, targets, repeats))


@pytest.mark.parametrize(("targets", "repeats", "shift"), [(12, 2, 0.0), (20, 3, 0.5)])
def test_intervals_hold_the_truth_in_95_of_100(targets, repeats, shift):
    """Of 1500 draws a share of 0.95 has a standard error of 0.006; the ICC's interval is an approximation."""
    tables = draws(targets, repeats, 2.0, 1.0, shift=shift)
    truth = 4 / (4 + shift**2 + 1)
    intervals = np.array([icc(one) for one in tables])
    assert np.mean((intervals[:, 1] <= truth) & (truth <= intervals[:, 2])) == pytest.approx(0.95, abs=0.025)
    if not shift:
        held = [one.wsd.low <= 1 <= one.wsd.high for one in map(repeatability, tables)]
        assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_two_measurements_differ_by_less_than_the_coefficient_in_95_of_100():
    found = repeatability(draws(4000, 2, 2.0, 1.0, times=1)[0])
    later = draws(4000, 2, 2.0, 1.0, times=2)[1]
    assert np.mean(np.abs(np.diff(later, axis=1)) < found.rc.value) == pytest.approx(0.95, abs=0.012)


def test_logarithms_tell_ratios():
    """log-normal errors of 0.2 about values that differ a thousandfold: CV = √(exp 0.2² - 1), and one factor for all."""
    random = np.random.default_rng(1)
    values = np.exp(random.uniform(0, 7, (20000, 1)) + 0.2 * random.standard_normal((20000, 2)))
    found = repeatability(values, log=True)
    assert found.wsd.value == pytest.approx(0.2, rel=0.02) and found.wcv.value == pytest.approx(math.sqrt(math.expm1(0.04)), rel=0.02)  # fmt: skip
    assert found.rc.value == pytest.approx(math.exp(2.7718 * 0.2), rel=0.02)
    assert found.mean == pytest.approx(stats.gmean(values.ravel()), rel=1e-12)
    one = agreement(values[:, 0], values[:, 1], log=True)
    ratios = values[:, 1] / values[:, 0]
    assert one.bias == pytest.approx(stats.gmean(ratios), rel=1e-9)
    assert np.mean((ratios > one.low) & (ratios < one.high)) == pytest.approx(0.95, abs=0.01)


def test_what_cannot_be_told_is_nan():
    assert math.isnan(icc(RATINGS[:1]).value) and math.isnan(repeatability(RATINGS[:, :1]).wsd.value)
    assert math.isnan(icc(np.ones((5, 2))).value)
    same = icc(np.repeat(np.arange(5.0)[:, None], 2, axis=1))
    assert same.value == 1 and math.isnan(same.low)
    one = repeatability(RATINGS[:1])  # one subject has a within-subject SD, and no ICC
    assert one.wsd.value == pytest.approx(RATINGS[0].std(ddof=1)) and math.isnan(one.icc.value)
    assert math.isnan(repeatability(np.zeros((0, 2))).wsd.value)
    zero = np.array([[0.0, 0.0], [1.0, 3.0]])  # a target of 0 has no CV, and takes no part in it
    assert repeatability(zero).wcv.value == pytest.approx(math.sqrt(2) / 2)
