"""stdout and stderr that stop no command: a fit of an hour is not lost because a sentence about it cannot be printed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ivimsc.text import printable

__all__ = ["patient_streams", "steered"]

NAMES = ("stdout", "stderr")


@contextmanager
def patient_streams() -> Iterator[list[str]]:
    """Let prints fail without an error, and steer no terminal; use as a context manager.

    Characters that the encoding of a stream lacks (µ in ASCII or GBK) are printed as ``?``. What goes to a stream that
    is closed goes nowhere, and so does what follows a failed write. Control characters, which a name in a stranger's file may
    hold, are written out (`steered` lets them through).

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


def steered(stream: Any) -> Any:
    """A stream for a program that steers the terminal itself, as rich does: its control characters are let through."""
    return _Steered(stream) if isinstance(stream, _Patient) else stream


class _Patient:
    """A stream whose first failed write or flush leads all that follows nowhere."""

    def __init__(self, name: str, stream: Any, failed: list[str]) -> None:
        self._name, self._stream, self._failed, self._lost = name, stream, failed, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def write(self, text: str) -> int:
        """Write `text` without control characters, or lose it."""
        self.send(printable(text))
        return len(text)

    def send(self, text: str) -> None:
        """Write `text` as it is, or lose it."""
        try:
            if not self._lost:
                self._stream.write(text)
        except OSError as error:
            self._lose(error)

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


class _Steered:
    """A `_Patient` that lets control characters through."""

    def __init__(self, stream: _Patient) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text` as it is, or lose it."""
        self._stream.send(text)
        return len(text)
