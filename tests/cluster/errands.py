"""What the jobs of these tests do; the workers import it by its name."""

import os
import signal
from pathlib import Path

from ivimsc.errors import InputError


def square(common, job):
    return common + job * job


def pid(common, job):
    return os.getpid()


def picky(common, job):
    if job in common:
        raise InputError(f"job: found {job}, expected another")
    return job


def fragile(folder, job):
    """The first worker that gets job 5 dies of it."""
    mark = Path(folder) / "died"
    if job == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def deadly(common, job):
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk(folder, job):
    """Works at the third try."""
    mark = Path(folder) / "tries"
    tries = len(mark.read_text()) if mark.exists() else 0
    mark.write_text("x" * (tries + 1))
    if tries < 2:
        raise OSError(28, "No space left on device")
    return job
