"""Tasks in processes: all results, and of a process that dies one task is lost."""

import pytest

from ivimsc.bids.running import in_processes, one_by_one, runner_of
from ivimsc.errors import InputError
from tests.bids.jobs import die_at_3, nothing, square


def test_one_by_one_is_lazy():
    results = one_by_one(square, [1, 2, 3])
    assert next(results) == 1 and list(results) == [4, 9]
    assert runner_of(1) is one_by_one
    with pytest.raises(InputError, match="n_procs: found 0"):
        runner_of(0)


def test_a_process_that_dies_costs_one_task():
    found = list(in_processes(die_at_3, [3, 1, 2, 4, 5], 1, lost=nothing))
    assert sorted(found) == [-3, 1, 4, 16, 25]
