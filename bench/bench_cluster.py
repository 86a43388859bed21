"""What a cluster costs: the scheduler's work for a job, for a byte, and a fit on two workers beside two threads.

Run ``python -m pytest bench/bench_cluster.py``; it writes bench/results/cluster.md. CPU seconds are those of all processes: other
programs on the machine disturb them less than the clock.
"""

import time

import numpy as np

from ivimsc.cluster import opened_cluster, run_jobs
from ivimsc.fit import FitJob, fit_file
from ivimsc.simulate import write_phantom
from tests.cluster import errands

TITLE = "Two worker processes on one machine (--cluster local:2)"
JOBS, ARRAYS = 2000, 40


def measured(call):
    """Seconds by the clock, and of the CPU of this process, which is client and scheduler."""
    begin, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begin, time.process_time() - cpu


def bench_jobs(record):
    with opened_cluster("local:2") as cluster:
        list(run_jobs(errands.square, range(50), cluster, 0))
        clock, cpu = measured(lambda: list(run_jobs(errands.square, range(JOBS), cluster, 0)))
        record("cluster", TITLE, what="one job that does nothing [ms]", clock=1e3 * clock / JOBS, cpu=1e3 * cpu / JOBS)
        array = np.zeros((2**18, 8), np.float32)
        clock, cpu = measured(lambda: list(run_jobs(errands.pid, (array for _ in range(ARRAYS)), cluster, 0)))
        gigabytes = ARRAYS * array.nbytes / 1e9
        record("cluster", TITLE, what="signals that are sent [s/GB]", clock=clock / gigabytes, cpu=cpu / gigabytes)


def bench_fit(record, tmp_path):
    store = tmp_path / "million.h5"
    write_phantom(store, "uniform", voxels=1_000_000)

    def fit(what, **more):
        done = []
        job = FitJob(store, "nlls", tmp_path / "out", maps=False, force=True, **more)
        clock, cpu = measured(lambda: done.append(fit_file(job)))
        elsewhere = done[0].cpu_elsewhere
        record(
            "cluster",
            TITLE,
            what=f"nlls, 1,000,000 voxels, {what} [s]",
            clock=clock,
            cpu=cpu + elsewhere,
            workers=elsewhere,
        )

    with opened_cluster("local:2") as cluster:
        for job in ({"threads": 2}, {"cluster": cluster}):  # kernels, and the files into the page cache
            fit_file(FitJob(store, "nlls", tmp_path / "out", maps=False, force=True, **job))
        fit("two threads", threads=2)
        fit("two workers", cluster=cluster)
