"""stdout and stderr that stop no command: a fit of an hour is not lost because a sentence about it cannot be printed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["patient_streams"]

NAMES = ("stdout", "stderr")


@contextmanager
def patient_streams() -> Iterator[list[str]]:
    """Let prints fail without an error; use as a context manager.

    Characters that the encoding of a stream lacks (µ in ASCII or GBK) are printed as ``?``. What goes to a stream that
    is closed goes nowhere, and so does what follows a failed write.

    Yields
    ------
    a list, in the end of what failed: a sentence for each stream that did, but none where the reader has gone (head, less)
    """
    before = {name: getattr(sys, name) for name in NAMES}
    failed: list[str] = []
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for name, stream in before.items():
            with suppress(AttributeError, ValueError, OSError):  # a stream of another kind, or a closed one
                stream.reconfigure(errors="replace")
            setattr(sys, name, nowhere if stream is None or stream.closed else _Patient(name, stream, failed))
        try:
            yield failed
        finally:
            for name in NAMES:
                getattr(sys, name).flush()
            for name, stream in before.items():
                setattr(sys, name, stream)


class _Patient:
    """A stream whose first failed write or flush leads all that follows nowhere."""

    def __init__(self, name: str, stream: Any, failed: list[str]) -> None:
        self._name, self._stream, self._failed, self._lost = name, stream, failed, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def write(self, text: str) -> int:
        """Write `text`, or lose it."""
        try:
            return len(text) if self._lost else self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Send what was written, or lose it."""
        try:
            if not self._lost:
                self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost = True
        if not isinstance(error, BrokenPipeError):
            self._failed.append(f"{self._name}: {error.strerror or error}")
        with suppress(OSError, ValueError):  # the interpreter flushes once more when it ends: into nothing
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
