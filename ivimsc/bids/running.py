"""How many subjects are run: one after the other in this process, or in several processes.

A runner is a function ``runner(work, tasks)`` that gives back an iterator of ``work(task)``, in any order, each as soon as it is
there. `work` and the tasks can be pickled. What runs subjects elsewhere (a cluster) is one more such function.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from ivimsc.device.launch import usable_cores
from ivimsc.errors import InputError
from ivimsc.locks import remove_unfinished

__all__ = ["Runner", "in_processes", "one_by_one", "runner_of", "threads_each"]

Task = TypeVar("Task")
Result = TypeVar("Result")


class Runner(Protocol):
    """See the module."""

    def __call__(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]: ...


def one_by_one(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Run the tasks in this process: nothing is started for each, and compiled kernels stay."""
    return map(work, tasks)


def runner_of(processes: int, lost: Callable[[Task], Result] | None = None) -> Runner:
    """The runner for a number of processes.

    Parameters
    ----------
    processes : how many; 1 is this one
    lost : as for `in_processes`

    Raises
    ------
    InputError
        for less than one
    """
    if processes < 1:
        raise InputError(f"n_procs: found {processes}, expected at least 1 process")
    return one_by_one if processes == 1 else partial(in_processes, processes=processes, lost=lost)


def threads_each(processes: int) -> int:
    """Threads of one of several processes: together they have as many as there are cores."""
    return max(1, usable_cores() // processes)


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], processes: int, lost: Callable[[Task], Result] | None = None
) -> Iterator[Result]:
    """Run the tasks in processes that each take one task after the other.

    A process that dies (memory) takes the others with it. So each task that may have been in hand then is run again alone: the
    one whose process dies again is lost, and no other; the rest goes on side by side. When this process is interrupted, or dies, the
    others end at once: what they had finished is kept.

    Parameters
    ----------
    work, tasks : what to run
    processes : how many at once
    lost : the result of a task whose process died; default: the error is raised
    """
    left = dict(enumerate(tasks))
    context = get_context("spawn")  # forked threads of Numba hang
    ours, writer = context.Pipe(duplex=False)
    options = {"mp_context": context, "initializer": _end_with, "initargs": (ours,)}
    try:
        while left:
            try:
                with _pool(min(processes, len(left)), options, writer) as pool:
                    yield from _finished(pool, work, left)
            except BrokenProcessPool:
                for number in list(left)[: 2 * processes + 1]:  # more a pool has not in hand
                    yield _alone(work, left.pop(number), lost, partial(_pool, 1, options, writer))
    finally:
        writer.close()
        ours.close()


@contextmanager
def _pool(processes: int, options: Mapping[str, Any], alive: Connection) -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once where the block is left by an error: `alive` is closed."""
    with ProcessPoolExecutor(processes, **options) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise
        except BaseException:
            alive.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _alone(work: Callable[[Task], Result], task: Task, lost: Callable[[Task], Result] | None, pool: Callable) -> Result:
    """The result of one task in a process of its own, or `lost` of it."""
    try:
        with pool() as one:
            return one.submit(work, task).result()
    except BrokenProcessPool:
        if lost is None:
            raise
        return lost(task)


def _end_with(alive: Connection) -> None:
    """End this process when the other end of the pipe is closed: by the process that started this one, or by its death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the other process decides
    threading.Thread(target=_watch, args=(alive,), daemon=True).start()


def _watch(alive: Connection) -> None:
    try:
        alive.poll(None)  # nothing is ever sent: only the end of the pipe is
    finally:
        remove_unfinished()
        os._exit(1)


def _finished(pool: ProcessPoolExecutor, work: Callable[[Task], Result], left: dict[int, Task]) -> Iterator[Result]:
    """The results as they come; a task is taken from `left` when its result is there."""
    waiting: dict[Future, int] = {pool.submit(work, task): number for number, task in left.items()}
    while waiting:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            number = waiting.pop(future)
            result = future.result()
            del left[number]
            yield result
