"""Jobs, done here one after the other or on a cluster, with a bounded number of them under way."""

import pickle
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ivimsc import __version__
from ivimsc.cluster.connect import Cluster, lost
from ivimsc.cluster.worker import Failure, call, call_here, same
from ivimsc.errors import IvimscError

__all__ = ["Finished", "run_jobs"]

TRIES = 2  # more tries of a job that failed for a reason that may pass, such as a full disk on one worker
LOOK = 2.0  # s between two looks at the workers
ALONE = 60.0  # s without any worker, after which a cluster is given up

Function = Callable[[Any, Any], Any]
Again = Callable[[Any, Any], Any]


class Finished(NamedTuple):
    """A job and its result; with ``return_errors`` the result may be an `IvimscError`."""

    job: Any
    result: Any


def run_jobs(
    function: Function,
    jobs: Iterable[Any],
    cluster: Cluster | None = None,
    common: Any = None,
    *,
    again: Again | None = None,
    return_errors: bool = False,
) -> Iterator[Finished]:
    """Do jobs, and give back each with its result, in the order of the jobs.

    Jobs are taken from `jobs` only when there is room for them: what they hold is in memory for a bounded number of them.

    Parameters
    ----------
    function : called with (common, job); a plain function of a module, for workers import it by its name
    jobs : what is to be done; a generator is asked for the next job as late as possible
    cluster : where; None: here, one after the other
    common : what all jobs share; it is sent to each worker once
    again : called with (job, result) for each result; another job that it returns is done in its place, None: it is good
    return_errors : an `IvimscError` of a job is its result, and the others go on; else it is raised

    Raises
    ------
    IvimscError
        that a job raised; and where the cluster is lost, or a job has ended several workers
    """
    done = _here(function, jobs, common, again) if cluster is None else _there(function, jobs, cluster, common, again)
    for job, result in done:
        if isinstance(result, Failure):
            if not return_errors:
                raise result.error
            result = result.error
        yield Finished(job, result)


def _here(function: Function, jobs: Iterable[Any], common: Any, again: Again | None) -> Iterator[Finished]:
    for job in jobs:
        result = call_here(function, common, job)
        while again is not None and (other := again(job, result)) is not None:
            job = other
            result = call_here(function, common, job)
        yield Finished(job, result)


def _there(
    function: Function, jobs: Iterable[Any], cluster: Cluster, common: Any, again: Again | None
) -> Iterator[Finished]:
    with _UnderWay(function, cluster, common) as under_way:
        following, waiting, finished, number = iter(jobs), True, {}, 0
        while waiting or under_way or finished:
            while waiting and len(under_way) + len(finished) < under_way.most:
                job = next(following, under_way)
                waiting = job is not under_way
                if waiting:
                    under_way.add(job)
            if number in finished:
                yield finished.pop(number)
                number += 1
                continue
            for place, job, result in under_way.some_done():
                other = None if again is None else again(job, result)
                if other is None:
                    finished[place] = Finished(job, result)
                else:
                    under_way.add(other, place)


class _UnderWay:
    """The jobs that the cluster has, by their futures; a context manager, which cancels what is left."""

    def __init__(self, function: Function, cluster: Cluster, common: Any) -> None:
        self._function, self._cluster, self._client = function, cluster, cluster.client
        self._name = f"ivimsc-{getattr(function, '__name__', 'job')}-{uuid.uuid4().hex[:12]}"
        self._jobs: dict[Any, tuple[int, Any]] = {}
        self._added, self._looked, self._alone = 0, time.monotonic(), 0.0
        self._workers = set(cluster.slots())
        self.most = cluster.most_under_way()
        with _told(cluster):
            packed = pickle.dumps(common, protocol=5)
            self._common = self._client.submit(same, packed, key=f"{self._name}-common", pure=False)
            self._client.replicate([self._common])

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Any, place: int | None = None) -> None:
        """Hand out a job; `place` is its number where it takes the place of another."""
        with _told(self._cluster):
            future = self._client.submit(call, self._function, self._name, self._common, job, __version__,
                                         key=f"{self._name}-{uuid.uuid4().hex[:12]}", pure=False, retries=TRIES)  # fmt: skip
        self._jobs[future] = (self._added if place is None else place, job)
        self._added += place is None

    def some_done(self) -> Iterator[tuple[int, Any, Any]]:
        """Wait until something is done: (number, job, result) of each."""
        from distributed import wait

        with _told(self._cluster):
            try:
                done = wait(list(self._jobs), timeout=LOOK, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = ()
            self._look(bool(done))
            found = [(*self._jobs.pop(future), future.result()) for future in done]
        yield from found

    def _look(self, something: bool) -> None:
        """Tell of workers that are gone; give up a cluster that has had none for long."""
        now = time.monotonic()
        if something and now - self._looked < LOOK:
            return
        workers = set(self._cluster.slots())
        gone, self._workers, self.most = self._workers - workers, workers, self._cluster.most_under_way()
        if gone:
            self._cluster.say(f"cluster: {len(gone)} worker{'s' if len(gone) > 1 else ''} lost ({', '.join(sorted(gone)[:3])}), {len(workers)} there; what was lost is done again")  # fmt: skip
        self._alone = 0.0 if workers else self._alone + now - self._looked
        self._looked = now
        if self._alone > ALONE:
            raise lost(self._cluster, f"no worker for {ALONE:.0f} s")

    def __enter__(self) -> "_UnderWay":
        return self

    def __exit__(self, *_: object) -> None:
        left, self._jobs = list(self._jobs), {}
        if left and self._client.status == "running":
            self._client.cancel(left, force=True)
        self._common = None


@contextmanager
def _told(cluster: Cluster) -> Iterator[None]:
    """Errors of Dask as the one line that a user sees; use as a context manager."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        with cluster.client.as_current():  # this client, whatever others there are
            yield
    except IvimscError:
        raise
    except KilledWorker as error:
        raise IvimscError(f"cluster: found {error.allowed_failures + 1} workers that ended in one and the same job (the last was {error.last_worker.address}), expected it to be done: its memory may be too small") from None  # fmt: skip
    except Exception as error:
        if cluster.client.status != "running" or isinstance(error, CommClosedError | FutureCancelledError):
            raise lost(cluster, "the scheduler gone") from None
        raise
