"""SIGTERM and SIGHUP end a command after its unfinished files are removed; what can be resumed is kept.

No exception is raised for it: one that comes while a callback of the compiler or of HDF5 runs would be lost there.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ivimsc.locks import remove_unfinished

__all__ = ["stoppable"]

NAMES = ("SIGTERM", "SIGHUP")  # a batch system or the machine goes down; the terminal is closed


@contextmanager
def stoppable() -> Iterator[None]:
    """Clear up on SIGTERM and SIGHUP, and let them end the process as always; use as a context manager.

    A signal that is ignored, as under nohup, or that somebody else handles stays as it is.
    """
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        numbers = []
    handled = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in handled:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, _: object) -> None:
    remove_unfinished()
    with suppress(OSError):  # not by print: it may be what was interrupted
        os.write(
            2, f"ivimsc: stopped by {signal.Signals(number).name}; what --resume can go on with is kept\n".encode()
        )
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
