"""Outcome 7 by signals and estimates, what its voxels show, and which outcome wins."""

import numpy as np
import pytest

from ivimsc.models.estimates import to_estimates
from ivimsc.models.limits import are_outside, limits_of, shown
from ivimsc.outcome import Outcome
from tests.conftest import FIVE, equation1

CARD = {"f": [0.1, 0.5], "D": [0.5, 2.5], "Dstar": [10.0, 90.0]}  # the last two in µm²/ms
INSIDE = [1.0, 0.3, 1.5, 50.0]
SEVEN = Outcome.OUTSIDE_TRAINING


def changed(**values):
    """S0/s0, f, D, D* of a voxel inside the card, with some of them changed."""
    return [values.get(name, inside) for name, inside in zip(("S0", "f", "D", "Dstar"), INSIDE, strict=True)]


def estimates_of(*voxels, card=CARD, unit=200.0, **more):
    """Estimates of voxels whose signals are exactly those of INSIDE, over s0 = `unit`."""
    S0, f, D, Dstar = np.array([INSIDE] * len(voxels)).T
    y = equation1(S0, f, D * 1e-3, Dstar * 1e-3, FIVE).astype(np.float32)
    s0 = np.full(len(voxels), unit, np.float32)
    return to_estimates(y, s0, np.array(voxels), FIVE, limits_of(card, 5), **more), y


def test_the_ranges_of_the_card_widened_by_half_their_width():
    limits = limits_of(CARD | {"low": [0.1] * 5, "high": [1.2] * 5}, 5)
    np.testing.assert_allclose(limits.trained, [(0.1, 0.5), (0.5, 2.5), (10, 90)], rtol=1e-6)
    np.testing.assert_allclose(limits.shown, [(-0.1, 0.7), (-0.5, 3.5), (-30, 130)], rtol=1e-6)
    np.testing.assert_allclose((limits.low[0], limits.high[-1]), (0.1, 1.2), rtol=1e-6)
    usual = limits_of({}, 5)  # f 0..1, D 0..5, D* 5..200: nothing is known of the training
    np.testing.assert_allclose(usual.shown, [(-0.5, 1.5), (-2.5, 7.5), (-92.5, 297.5)], rtol=1e-6)
    assert np.isinf(usual.trained).all() and np.isinf(usual.low).all()
    own = limits_of({}, 5, np.array([(-0.05, 0.7), (-0.1, 5), (-50, 300)]))
    np.testing.assert_allclose(own.shown[2], (-225, 475))


@pytest.mark.parametrize("change", [
    {"f": 0.099}, {"f": 0.501}, {"D": 0.49}, {"D": 2.51}, {"Dstar": 9.9}, {"Dstar": 90.1}, {"S0": 0.0}, {"S0": np.nan},
])  # fmt: skip
def test_an_estimate_outside_the_card(change):
    e, _ = estimates_of(INSIDE, changed(**change), INSIDE)
    assert e.outcome.tolist() == [Outcome.CONVERGED, SEVEN, Outcome.CONVERGED]
    np.testing.assert_allclose([e.f[2], e.D[2], e.Dstar[2], e.S0[2]], [0.3, 1.5e-3, 50e-3, 200], rtol=1e-6)


@pytest.mark.parametrize("change", [{"f": -0.01}, {"f": 1.01}, {"D": -0.01}, {"Dstar": -1.0}])
def test_an_estimate_that_no_tissue_has_where_the_card_says_nothing(change):
    e, _ = estimates_of(changed(**change), changed(f=0.9, D=4.0, Dstar=150.0), card={})
    assert e.outcome.tolist() == [SEVEN, Outcome.CONVERGED]


def test_signals_outside_the_card():
    y = np.full((4, 5), 0.5, np.float32)
    y[1, 2], y[2, 4] = 0.09, 1.21
    limits = limits_of({"low": [0.1] * 5, "high": [1.2] * 5}, 5)
    assert are_outside(y, np.array([INSIDE] * 4), limits).tolist() == [False, True, True, False]


def test_what_is_shown_of_them():
    """S0 at most ten times the largest signal; the others at most half a width beyond the card; NaN is its middle."""
    largest = np.float32([1.0, 2.0, 1.0, 1.0])
    wild = np.array([(157, 40, -1e9, 1e9), (157, 0.6, 3.0, 95), (-5, np.nan, np.nan, np.nan), (np.nan, 0.3, 1, 50)])
    found = shown(wild, largest, limits_of(CARD, 5))
    expected = [(10, 0.7, -0.5, 130), (20, 0.6, 3, 95), (0, 0.3, 1.5, 50), (1, 0.3, 1, 50)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_maps_of_voxels_outside_can_be_shown():
    wild = [changed(S0=1e6), changed(D=-700.0), changed(f=np.nan), changed(Dstar=np.nan, f=0.7), changed(Dstar=1e30)]
    e, _ = estimates_of(*wild)
    assert set(e.outcome) == {SEVEN}
    for name, low, high in (("S0", 0, 2000), ("f", -0.1, 0.7), ("D", -5e-4, 3.5e-3), ("Dstar", -0.03, 0.13), ("rmse", 0, 2000)):  # fmt: skip
        values = getattr(e, name)
        assert np.isfinite(values).all() and values.min() >= low * 1.0001 and values.max() <= high * 1.0001, name


def test_which_outcome_wins():
    """5 > 7 > 4 > 2 > 1; misfits are marked later, where the noise is known."""
    no_perfusion, no_tissue = changed(Dstar=np.nan), changed(D=np.nan)
    voxels = [INSIDE, no_tissue, no_perfusion, INSIDE, no_perfusion, changed(f=0.6), INSIDE, changed(f=0.6)]
    outside = np.array([0, 0, 0, 0, 0, 0, 1, 0], bool)
    S0, f, D, Dstar = np.array([INSIDE] * 8).T
    y = equation1(S0, f, D * 1e-3, Dstar * 1e-3, FIVE).astype(np.float32)
    s0 = np.ones(8, np.float32)
    s0[7] = 0
    e = to_estimates(y, s0, np.array(voxels), FIVE, limits_of(CARD, 5), outside=outside)
    assert e.outcome.tolist() == [1, 2, 4, 1, 4, 7, 7, 5]
    assert np.isnan(e.f[7]) and np.isnan(e.Dstar[2]) and np.isnan(e.D[1])
