"""One training at a time writes a model: a lock that dies with its process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ivimsc.errors import InputError
from ivimsc.files import told

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two trainings of one model are not told from one another there
    fcntl = None

__all__ = ["alone"]


@contextmanager
def alone(path: Path, target: Path) -> Iterator[None]:
    """Hold the lock file `path` while `target` is made; use as a context manager. The file is removed at the end.

    Raises
    ------
    InputError
        if another process holds it
    """
    with told(path):
        file = _open(path, target)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()  # before the lock ends, so that nobody locks a file that is about to go
        os.close(file)


def _open(path: Path, target: Path) -> int:
    """The locked file at `path`, as a descriptor."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system frees it even after kill -9
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BlockingIOError:
            os.close(file)
            raise InputError(f"{target}: found another training that writes it, expected to be the only one") from None
        except FileNotFoundError:  # its holder removed it between the two lines above
            pass
        except OSError:
            os.close(file)
            raise
        os.close(file)
