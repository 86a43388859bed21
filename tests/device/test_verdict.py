"""The verdict on D*: the rule, against standard errors from an inverted Fisher matrix."""

import numpy as np
import pytest

from ivimsc.device.launch import Launch
from ivimsc.device.verdict import Found, evidence_of, judge, judged
from ivimsc.estimates import Estimates
from ivimsc.outcome import Outcome
from ivimsc.physics.cramer_rao import cramer_rao
from tests.conftest import FIVE, TEN

LAUNCH = Launch("cpu", 2)


def population(n=3000, seed=0):
    random = np.random.default_rng(seed)
    S0, f = random.uniform(20, 200, n), random.uniform(0, 0.5, n) ** 2
    D, Dstar = random.uniform(0.5e-3, 2.5e-3, n), random.uniform(3e-3, 100e-3, n)
    return Found(*(a.astype(np.float32) for a in (S0, f, D, Dstar, S0 * random.uniform(0.002, 0.03, n))))


def by_hand(found, bvalues, sigma, known_s0):
    """f = 0 or ln(D* / D) = 0 within 1.96 standard errors, by numpy."""
    S0, f, D, Dstar = (a.astype(float) for a in found[:4])
    errors = cramer_rao(S0, f, D, Dstar, bvalues, sigma, s0_known=known_s0)
    with np.errstate(invalid="ignore"):
        return (f <= 1.96 * errors[:, 1]) | (np.log(Dstar / D) * Dstar <= 1.96 * errors[:, 3])


@pytest.mark.parametrize("known_s0", [False, True])
@pytest.mark.parametrize("bvalues", [TEN, FIVE], ids=["ten", "five"])
@pytest.mark.parametrize("given", [True, False], ids=["sigma given", "from residuals"])
def test_it_is_the_rule(bvalues, known_s0, given):
    found, unknowns = population(), 3 if known_s0 else 4
    sigma = 3.0 if given else found.spread.astype(float) * np.sqrt(len(bvalues) / (len(bvalues) - unknowns))
    outcome = np.full(len(found.f), Outcome.CONVERGED, np.uint8)
    judge(LAUNCH, found, evidence_of(bvalues, 3.0 if given else None, known_s0), outcome)
    expected = by_hand(found, bvalues, sigma, known_s0)
    assert 0.05 < expected.mean() < 0.98
    differ = (outcome == Outcome.DSTAR_UNIDENTIFIABLE) != expected
    assert differ.mean() < 0.002  # voxels within rounding of the rule's edge


@pytest.mark.parametrize("given", [True, False], ids=["sigma given", "from residuals"])
def test_sixty_images_of_b_0_count_as_sixty(given):
    """The rule on the means is that on the images themselves, also where the residuals tell the noise of one image."""
    images = np.array([60, 1, 1, 2, 1, 3, 1, 1, 1, 4])
    found = population()
    sigma = 3.0 if given else found.spread.astype(float) * np.sqrt(10 / 6)
    outcome = np.full(len(found.f), Outcome.CONVERGED, np.uint8)
    judge(LAUNCH, found, evidence_of(TEN, 3.0 if given else None, weights=images), outcome)
    expected = by_hand(found, np.repeat(TEN, images), sigma, False)
    alike = by_hand(found, TEN, sigma, False)
    assert np.mean(expected != alike) > 0.02
    assert np.mean((outcome == Outcome.DSTAR_UNIDENTIFIABLE) != expected) < 0.002


def test_estimates_are_judged_by_their_spread():
    """Residuals of b = 0 alone, which are 60 images: they tell more noise than the plain rmse does."""
    ones = np.ones(50, np.float32)
    rmse, spread = np.float32(0.002) * ones, np.float32(0.06) * ones
    e = Estimates(
        ones, 0.1 * ones, 1e-3 * ones, 0.03 * ones, rmse, np.full(50, Outcome.CONVERGED, np.uint8), spread=spread
    )
    judged(LAUNCH, e, evidence_of(TEN))
    assert set(e.outcome.tolist()) == {Outcome.DSTAR_UNIDENTIFIABLE}


def test_only_converged_and_at_a_bound_are_judged():
    """f is 0 in all of them, which no data tell from none; what ended otherwise keeps its outcome."""
    outcomes = np.array(list(Outcome), np.uint8)
    ones = np.ones(len(outcomes), np.float32)
    found = Found(ones, 0 * ones, ones * np.float32(1e-3), ones * np.float32(0.05), ones * np.float32(0.01))
    changed = outcomes.copy()
    judge(LAUNCH, found, evidence_of(TEN), changed)
    expected = [4 if o in (Outcome.CONVERGED, Outcome.AT_BOUND) else o for o in outcomes]
    assert changed.tolist() == expected


def test_rmse_over_fewer_residuals():
    """A measured b = 0 that the residuals leave out counts as a b-value."""
    assert evidence_of(np.r_[0, FIVE], residuals=5).factor == pytest.approx(np.sqrt(5 / 2))


@pytest.mark.parametrize(("bvalues", "sigma", "known_s0", "expected"), [
    (FIVE[:4], None, False, Outcome.DSTAR_UNIDENTIFIABLE),  # no residual tells the noise
    (FIVE[:3], None, True, Outcome.DSTAR_UNIDENTIFIABLE),
    (FIVE[:3], 1e-6, False, Outcome.DSTAR_UNIDENTIFIABLE),  # the noise is nothing, but three numbers are not four
    (FIVE[:2], 1e-6, True, Outcome.DSTAR_UNIDENTIFIABLE),
    (FIVE[:4], 1e-6, False, Outcome.CONVERGED),
    (FIVE[:3], 1e-6, True, Outcome.CONVERGED),
])  # fmt: skip
def test_what_nothing_tells_is_not_converged(bvalues, sigma, known_s0, expected):
    found = Found(*(np.full(20, x, np.float32) for x in (1.0, 0.3, 1e-3, 0.02, 1e-6)))
    outcome = np.full(20, Outcome.CONVERGED, np.uint8)
    judge(LAUNCH, found, evidence_of(bvalues, sigma, known_s0), outcome)
    assert set(outcome.tolist()) == {expected}


def test_nan_estimates_are_left_alone():
    found = Found(*(np.array([x], np.float32) for x in (1.0, 1.0, np.nan, 0.05, 0.01)))
    outcome = np.array([Outcome.AT_BOUND], np.uint8)
    judge(LAUNCH, found, evidence_of(TEN), outcome)
    assert outcome[0] == Outcome.AT_BOUND
