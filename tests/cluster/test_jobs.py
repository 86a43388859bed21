"""Jobs here and on two worker processes: the same results in the same order, whatever happens to a worker."""

import pytest

from ivimsc.cluster import run_jobs
from ivimsc.errors import InputError, IvimscError
from tests.cluster import errands


@pytest.fixture(params=["here", "there"])
def where(request):
    return None if request.param == "here" else request.getfixturevalue("cluster")


def test_results_come_in_the_order_of_the_jobs(where):
    done = list(run_jobs(errands.square, range(20), where, 1000))
    assert [one.job for one in done] == list(range(20))
    assert [one.result for one in done] == [1000 + n * n for n in range(20)]


def test_no_job_is_no_result(where):
    assert list(run_jobs(errands.square, [], where, 0)) == []


def test_jobs_are_taken_when_there_is_room(where):
    """A generator of jobs that hold much is not drained: at most `most_under_way` of them are in memory."""
    taken = []
    jobs = (taken.append(n) or n for n in range(1000))
    done = run_jobs(errands.square, jobs, where, 0)
    assert [next(done).job for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 3 + (0 if where is None else where.most_under_way())
    done.close()


def test_another_job_may_take_the_place_of_one(where):
    def again(job, result):
        return job + 100 if job == 3 else None

    done = list(run_jobs(errands.square, range(6), where, 0, again=again))
    assert [one.job for one in done] == [0, 1, 2, 103, 4, 5] and done[3].result == 103**2


def test_an_error_of_a_job_is_raised_or_is_its_result(where):
    with pytest.raises(InputError, match="job: found 2, expected another"):
        list(run_jobs(errands.picky, range(4), where, [2]))
    done = list(run_jobs(errands.picky, range(4), where, [2], return_errors=True))
    assert [one.result for one in done if one.job != 2] == [0, 1, 3]
    assert isinstance(done[2].result, InputError)


def test_both_workers_work(cluster):
    assert len({one.result for one in run_jobs(errands.pid, range(20), cluster)}) == 2


def test_what_a_dead_worker_had_is_done_by_the_other(cluster, said, tmp_path):
    done = list(run_jobs(errands.fragile, range(20), cluster, str(tmp_path)))
    assert [one.result for one in done] == list(range(20)) and (tmp_path / "died").exists()
    assert len(cluster.slots()) == 1


def test_a_job_that_ends_every_worker_is_told_in_one_line(cluster):
    with pytest.raises(IvimscError, match="found 2 workers that ended in one and the same job"):
        list(run_jobs(errands.deadly, [1], cluster))


def test_what_may_pass_is_tried_again(cluster, tmp_path):
    assert next(run_jobs(errands.full_disk, [7], cluster, str(tmp_path))).result == 7
    assert (tmp_path / "tries").read_text() == "xxx"
