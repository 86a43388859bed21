"""A real scheduler and real worker processes, as an operator starts them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ivimsc.cluster import opened_cluster

distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
ROOT = Path(__file__).resolve().parents[2]


class Machines:
    """A scheduler, and two workers that are replaced when a test has killed one."""

    def __init__(self, folder):
        self.file, self._log = folder / "scheduler.json", folder / "log.txt"
        # a job may end one worker, but not two
        self._env = os.environ | {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        self._scheduler = self._start("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard")
        self._workers = []
        while not (self.file.exists() and self.file.stat().st_size):
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]

    def _start(self, what, *words):
        words = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self.file), *words]
        with self._log.open("a") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, env=self._env, cwd=ROOT)

    def two(self):
        """The address, with two workers there."""
        self._workers = [one for one in self._workers if one.poll() is None]
        while len(self._workers) < 2:
            self._workers.append(self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"))
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        return self.address

    def stop(self):
        for one in (*self._workers, self._scheduler):
            one.kill()
            one.wait()


@pytest.fixture(scope="session")
def machines(tmp_path_factory):
    made = Machines(tmp_path_factory.mktemp("machines"))
    yield made
    made.stop()


@pytest.fixture
def address(machines):
    """Of a scheduler with two workers."""
    return machines.two()


@pytest.fixture
def said():
    return []


@pytest.fixture
def cluster(address, said):
    with opened_cluster(address, say=said.append) as made:
        yield made
