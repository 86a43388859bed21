"""What runs on a worker. The scheduler and the workers import this module by its name, so keep it light."""

import os
import pickle
import platform
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from ivimsc import __version__
from ivimsc.errors import InputError, IvimscError

__all__ = ["About", "Failure", "about", "call", "call_here", "same"]

KEPT = 2  # things that jobs share and that stay unpacked on a worker
_kept: dict[str, Any] = {}
_lock = threading.Lock()


class About(NamedTuple):
    """What a process runs: version of ivimsc; versions of what compiles its kernels; the kind of processor that they are compiled for."""

    ivimsc: str
    compilers: str
    processor: str


class Failure(NamedTuple):
    """A job that failed in a way that another try would not mend."""

    error: IvimscError


def about() -> About:
    """What this process runs."""
    found = [f"Python {platform.python_version()}"]
    for name in ("numba", "llvmlite", "numpy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    try:
        from llvmlite.binding import get_host_cpu_name

        processor = os.environ.get("NUMBA_CPU_NAME") or get_host_cpu_name()
    except ImportError:
        processor = "unknown"
    return About(__version__, ", ".join(found), processor)


def same(packed: bytes) -> bytes:
    """The bytes of what all jobs share. As the result of a job they are sent once, and made again where they are lost."""
    return packed


def call(function: Callable[[Any, Any], Any], name: str, packed: bytes, job: Any, expected: str) -> Any:
    """Do one job, on a worker.

    Parameters
    ----------
    function : called with (common, job)
    name, packed : of what all jobs share; it is unpacked once, so that its arrays are this process's own
    job : this one
    expected : version of ivimsc that the client has: a worker may join late

    Returns
    -------
    the result, or a `Failure`; other errors are raised, and Dask tries again
    """
    if __version__ != expected:
        return Failure(
            InputError(f"cluster: found ivimsc {__version__} on {platform.node()}, expected {expected} as here")
        )
    return call_here(function, _unpacked(name, packed), job)


def call_here(function: Callable[[Any, Any], Any], common: Any, job: Any) -> Any:
    """The result of one job, or a `Failure`."""
    try:
        return function(common, job)
    except IvimscError as error:
        return Failure(error)


def _unpacked(name: str, packed: bytes) -> Any:
    with _lock:
        if name not in _kept:
            while len(_kept) >= KEPT:
                del _kept[next(iter(_kept))]
            _kept[name] = pickle.loads(packed)
        return _kept[name]
