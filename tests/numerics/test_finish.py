"""What is stored for one voxel, number by number."""

import numpy as np
import pytest
from scipy.stats import t

from ivimsc.numerics.ending import Box
from ivimsc.numerics.finish import (
    RESULT_ROWS,
    Fit,
    Results,
    Rules,
    make_problem,
    results_at,
    results_of,
    students_widening,
    write,
)
from ivimsc.numerics.standard_errors import Errors
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import Bounds

N = 10
BOX = Box(0.0, 1.0, 0.0, 5.0, 5.0, 200.0)
LIMITS = Box(0.0, 1.0, 0.0, 5e-3, 5e-3, 0.2)
RULES = Rules(N, 4, 0.0, 1.0, LIMITS)
FIT = Fit(0.6, 0.2, 1.0, 20.0, 0.0096, 0.0032, True)  # scaled by 500: S0 = 400
ERRORS = Errors(0.5, 2.0, 50.0)


def stored(scale=500.0, fit=FIT, errors=ERRORS, box=BOX, rules=RULES):
    """The results of one voxel, numbers."""
    return results_at.py_func(scale, fit, errors, box, rules)


def test_results_are_written_at_their_place_alone():
    rows, outcome = np.full((RESULT_ROWS, 3), 7.0), np.full(3, 9, np.uint8)
    write.py_func(results_of.py_func(rows, outcome), 1, Results(*range(len(Results._fields))))
    np.testing.assert_array_equal(rows[:, 1], np.arange(RESULT_ROWS))
    assert np.all(rows[:, [0, 2]] == 7) and list(outcome) == [9, RESULT_ROWS, 9]


def test_every_result_has_its_name_and_its_unit():
    r = stored()
    noise = np.sqrt(0.0096 / (N - 4))  # of the scaled signal
    assert r.S0 == pytest.approx(400) and r.f == pytest.approx(0.25)
    assert r.D == pytest.approx(1e-3) and r.Dstar == pytest.approx(20e-3)  # mm²/s
    assert r.rmse == pytest.approx(500 * np.sqrt(0.0032 / N))  # plain, over all b-values
    assert r.fstd == pytest.approx(0.5 * noise)
    assert r.dstd == pytest.approx(2e-3 * noise) and r.dstarstd == pytest.approx(50e-3 * noise)
    assert r.outcome == Outcome.CONVERGED


def test_a_known_s0_leaves_one_degree_of_freedom_more():
    r = stored(rules=RULES._replace(unknowns=3))
    assert r.fstd == pytest.approx(0.5 * np.sqrt(0.0096 / (N - 3)))


def test_a_given_noise_is_in_the_unit_of_the_signal():
    assert stored(rules=RULES._replace(sigma=20.0)).fstd == pytest.approx(0.5 * 20 / 500)


def test_without_a_degree_of_freedom_there_are_no_errors_and_nothing_is_told():
    r = stored(rules=RULES._replace(n=4))
    assert np.isnan(r.fstd) and np.isnan(r.dstd) and np.isnan(r.dstarstd) and r.outcome == Outcome.DSTAR_UNIDENTIFIABLE


def test_an_infinite_error_is_none():
    r = stored(errors=Errors(0.5, np.inf, np.inf))
    assert np.isnan(r.dstd) and np.isnan(r.dstarstd) and np.isfinite(r.fstd)
    assert r.outcome == Outcome.DSTAR_UNIDENTIFIABLE


def test_the_iteration_limit_wins_over_what_the_point_would_be():
    assert stored(fit=FIT._replace(done=False)).outcome == Outcome.ITERATION_LIMIT
    assert stored(fit=FIT._replace(done=False, blood=0.0)).outcome == Outcome.ITERATION_LIMIT


def test_rounding_does_not_carry_f_past_its_bounds():
    r = stored(box=BOX._replace(f_high=0.2))
    assert r.f == 0.2 and r.outcome == Outcome.AT_BOUND


@pytest.mark.parametrize("change", [{"scale": 0.0}, {"fit": FIT._replace(tissue=np.nan)}, {"fit": FIT._replace(tissue=0.0, blood=0.0)}])  # fmt: skip
def test_what_could_not_be_fitted_is_nan_and_bad(change):
    *values, outcome = stored(**change)
    assert np.all(np.isnan(values)) and outcome == Outcome.BAD_SIGNAL


def test_the_spread_counts_each_image_and_the_rmse_each_signal():
    assert stored().spread == pytest.approx(500 * np.sqrt(0.0096 / N))  # Σ n r² of the scaled signal
    assert stored().rmse == pytest.approx(500 * np.sqrt(0.0032 / N))  # Σ r²


@pytest.mark.parametrize("freedom", [1, 2, 6, 30])
def test_noise_that_a_few_residuals_tell_widens_the_errors_to_students_t(freedom):
    widening = students_widening(freedom)
    assert widening == pytest.approx(t.ppf(0.975, freedom) / 1.96)
    wide = stored(rules=RULES._replace(widening=widening))
    assert wide.fstd == pytest.approx(widening * stored().fstd) and wide.f == stored().f
    assert stored(rules=RULES._replace(widening=widening, sigma=20.0)).fstd == pytest.approx(0.5 * 20 / 500)


def test_a_problem_widens_only_where_the_noise_comes_from_residuals():
    b, bounds = np.arange(10.0), Bounds()
    assert make_problem(b, np.ones(10), bounds).rules.widening == pytest.approx(t.ppf(0.975, 6) / 1.96)
    assert make_problem(b, np.ones(10), bounds, s0=1.0).rules.widening == pytest.approx(t.ppf(0.975, 7) / 1.96)
    assert make_problem(b, np.ones(10), bounds, sigma=0.1).rules.widening == 1
    assert make_problem(b[:4], np.ones(4), bounds).rules.widening == 1  # no noise is told, and no error


def test_a_result_is_cut_to_its_bound():
    cut = LIMITS._replace(d_high=0.9e-3, p_low=21e-3)
    r = stored(rules=RULES._replace(limits=cut))
    assert r.D == 0.9e-3 and r.Dstar == 21e-3
