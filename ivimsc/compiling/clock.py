"""How long kernels were compiled for while something ran: Numba tells when it compiles, and what it takes from disk is no news."""

import threading
import time
from collections.abc import Callable
from typing import Any

from numba.core import event

__all__ = ["CompileClock"]

_KIND = "numba:compile"


class CompileClock(event.Listener):
    """Counts the seconds in which at least one kernel is compiled; use as a context manager.

    Parameters
    ----------
    told : called once, when the first compilation begins

    Attributes
    ----------
    seconds : by the clock, of the compilations that have ended
    """

    def __init__(self, told: Callable[[], None] | None = None) -> None:
        self.seconds, self._told = 0.0, told
        self._lock, self._depth, self._since = threading.Lock(), 0, 0.0

    def on_start(self, _: Any) -> None:
        with self._lock:
            if self._depth == 0:
                self._since = time.perf_counter()
            self._depth += 1
            told, self._told = self._told, None
        if told is not None:
            told()

    def on_end(self, _: Any) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self.seconds += time.perf_counter() - self._since

    def __enter__(self) -> "CompileClock":
        event.register(_KIND, self)
        return self

    def __exit__(self, *_: object) -> None:
        event.unregister(_KIND, self)
