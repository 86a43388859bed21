"""The search: the best of all protocols where all can be tried, and what must stay stays."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from ivimsc.planning.bound import BoundError
from ivimsc.planning.posterior import PosteriorError
from ivimsc.planning.search import SIMPLER, exchange, simplify, spread_start
from tests.planning.makers import LAUNCH, ask, counts_of


def criteria(request):
    return {"cramer-rao": BoundError(request, request.candidates).values,
            "posterior": PosteriorError(request, request.candidates, LAUNCH).values}  # fmt: skip


@pytest.mark.parametrize("name", ["cramer-rao", "posterior"])
def test_the_best_of_all_protocols_is_found(name):
    """Every protocol of 6 images on 9 b-values, 3003 of them; to 0.1 %, as the search ends where no single move helps."""
    request = ask(snr=40.0)
    values = criteria(request)[name]
    every = np.array([np.bincount(places, minlength=9) for places in combinations_with_replacement(range(9), 6)], float)
    every = every[(every > 0).sum(1) >= 4]
    best = values(every).min()
    start = spread_start(request.candidates, np.ones(9, bool), np.zeros(9), 6, 4)
    counts, value = exchange(values, start, np.zeros(9), np.ones(9, bool), 4)
    assert counts.sum() == 6 and (counts > 0).sum() >= 4
    assert value == pytest.approx(values(counts[None])[0]) and value <= best * 1.001


def test_fixed_images_distinct_and_forbidden_bvalues_are_kept():
    request = ask(volumes=10, step=10.0)
    values, b = criteria(request)["cramer-rao"], request.candidates
    fixed, allowed = counts_of(b, [500, 500]), b <= 600
    start = spread_start(b, allowed, fixed, 10, 6)
    assert start.sum() == 10 and (start >= fixed).all() and (start > 0).sum() >= 6
    counts, value = exchange(values, start, fixed, allowed, 6)
    assert counts.sum() == 10 and (counts >= fixed).all() and (counts > 0).sum() >= 6 and not counts[~allowed].any()
    assert value < values(start[None])[0]
    piled = counts_of(
        b, [0, 50, 100, 200, 300, 500, 500, 500, 500, 500]
    )  # three of the five at 500 may go, two may not
    assert (exchange(values, piled, fixed, allowed, 4)[0] >= fixed).all()


def test_a_fine_grid_ends_at_its_own_step():
    """801 b-values: the second pass leaves the thinned grid, and is no worse than the coarse grid's best."""
    fine, coarse = ask(volumes=8, step=1.0), ask(volumes=8, step=10.0)
    found = {}
    for request in (fine, coarse):
        n = len(request.candidates)
        start = spread_start(request.candidates, np.ones(n, bool), np.zeros(n), 8, 4)
        counts, found[request.step] = exchange(criteria(request)["cramer-rao"], start, np.zeros(n), np.ones(n, bool), 4)
        if request is fine:
            assert (request.candidates[counts > 0] % 10).any()
    assert found[1.0] <= found[10.0]


def test_neighbours_are_joined_where_that_costs_next_to_nothing():
    """Images at 780, 790 and 800 s/mm² become one b-value; those at 0 and 100 do not; fixed ones stay."""
    request = ask(volumes=12, step=10.0)
    values, b = criteria(request)["cramer-rao"], request.candidates
    counts, n = counts_of(b, [0, 0, 100, 100, 110, 300, 310, 320, 780, 790, 800, 800]), len(b)
    before, free = values(counts[None])[0], np.ones(n, bool)
    found, value = simplify(values, counts, np.zeros(n), free, 4)
    assert (found > 0).sum() == 4 and found.sum() == 12 and found[0] == 2 and value <= before * (1 + SIMPLER)
    assert value == pytest.approx(values(found[None])[0])
    fixed = counts_of(b, [780, 790])
    found, _ = simplify(values, counts, fixed, free, 4)
    assert (found >= fixed).all() and found.sum() == 12 and (found > 0).sum() == 5
