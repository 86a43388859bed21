"""Files are written whole: under a temporary name beside the target, to disk, then one atomic rename.

A failure at any moment leaves the target as it was, and is told in one line. The temporary file ``.NAME.tmp`` is new, is never
reached through a link, and is locked while its process lives. So two processes do not write one target, and what a killed
one leaves is removed by the next.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ivimsc.errors import InputError, IvimscError
from ivimsc.locks import Claim, claim, claim_new, no_links

__all__ = [
    "FailSafeFile",
    "alone",
    "make_folder",
    "refuse_existing",
    "remove_left",
    "sync",
    "told",
    "written_together",
    "written_whole",
]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def told(path: str | Path, expected: str = "a place that can be written to") -> Iterator[None]:
    """Turn an OSError into the one line that a user sees; use as a context manager.

    Parameters
    ----------
    path : the file or folder that the error is about
    expected : what it should have been

    Raises
    ------
    InputError
        for what the user can mend: a missing file, a folder that cannot be written to
    IvimscError
        for a full disk and errors of the hardware
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).splitlines()[0]
        if error.errno in _FULL:
            raise IvimscError(f"{path}: {os.strerror(error.errno)}") from error
        if error.errno in (None, errno.EIO):
            raise IvimscError(f"{path}: {reason}") from error
        raise InputError(f"{path}: {reason}, expected {expected}") from error


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse to overwrite a file.

    Parameters
    ----------
    path : file to write
    force : it may be replaced

    Raises
    ------
    InputError
        if it is there (without `force`), or is a folder
    """
    with told(path):
        if path.is_dir():
            raise InputError(f"{path}: found a folder, expected the name of a file to write")
        if not force and os.path.lexists(path):
            raise InputError(f"{path}: found an existing file, expected a new name, or force=True to replace it")


def make_folder(path: Path) -> None:
    """Make a folder where there is none.

    Parameters
    ----------
    path : the folder; those above it are made too

    Raises
    ------
    InputError
        if it is a file or cannot be written to
    """
    with told(path, "a folder that can be written to"):
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def remove_left(path: Path) -> None:
    """Remove the temporary file of `path` that a killed process left, if there is one.

    Raises
    ------
    InputError
        if a living process writes it
    """
    left = path.with_name(f".{path.name}.tmp")
    if os.path.lexists(left):
        with told(path):
            claim_new(left, path).remove()


@contextmanager
def alone(path: Path, target: Path) -> Iterator[None]:
    """Hold the lock file `path` while `target` is made; use as a context manager. The file is removed at the end.

    Raises
    ------
    InputError
        if another process holds it, if it is a link, and if it cannot be made
    """
    with told(path):
        lock = claim(path, target, unfinished=True)
    try:
        yield
    finally:
        lock.remove()


def sync(path: Path) -> None:
    """Wait until the content of the file `path` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_together(paths: Sequence[Path], force: bool = False) -> Iterator[list[Path]]:
    """Write several files, all of them or none; use as a context manager.

    Parameters
    ----------
    paths : the files
    force : replace files of the same names

    Yields
    ------
    temporary names beside them, empty files; renamed to `paths` when the block ends well, and removed when it does not

    Raises
    ------
    InputError
        if a path exists and `force` is not given (before anything is written, and again at the end), if another process
        writes it, or if it cannot be written
    IvimscError
        if the disk is full
    """
    for path in paths:
        refuse_existing(path, force)
    made: list[Claim] = []
    try:
        with told(paths[0].parent if len(paths) > 1 else paths[0]):
            for path in paths:
                made.append(claim_new(path.with_name(f".{path.name}.tmp"), path))
            for path in paths:  # another process may have ended its work since the first look
                refuse_existing(path, force)
            yield [claim.path for claim in made]
            for claim in made:
                sync(claim.path)
            _into_place([claim.path for claim in made], paths, force)
    finally:
        for claim in made:
            claim.remove()  # a file that has its final name already is only freed


def _into_place(temporary: Sequence[Path], paths: Sequence[Path], force: bool) -> None:
    """Give the files their names; without `force` none of them takes the place of a file, and all get theirs or none."""
    placed: list[Path] = []
    try:
        for name, path in zip(temporary, paths, strict=True):
            if force or not _linked(name, path):
                refuse_existing(path, force)
                os.replace(name, path)
            placed.append(path)
    except BaseException:
        for path in placed if not force else ():
            path.unlink()
        raise


def _linked(name: Path, path: Path) -> bool:
    """Give a file its name `path` too, which must be free; False on a file system without hard links."""
    try:
        os.link(name, path)
    except FileExistsError:
        refuse_existing(path, force=False)
        raise
    except OSError as error:
        if error.errno in _FULL | {errno.EIO, errno.ENOENT}:
            raise
        return False
    return True


@contextmanager
def written_whole(path: str | Path, force: bool = False) -> Iterator[Path]:
    """Write one file, whole or not at all; use as a context manager, as `written_together`.

    Parameters
    ----------
    path : the file
    force : replace a file of the same name

    Yields
    ------
    a temporary name beside it
    """
    with written_together([Path(path)], force) as (temporary,):
        yield temporary


class FailSafeFile:
    """An empty file for libraries that do not survive a failed write: it keeps the error and pretends that all is well.

    After a failed write HDF5 crashes the process when it ends, even though Python saw and handled the error. So the
    error is kept here, later writes go nowhere, and `check` raises it once HDF5 is out of the way.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w+b", buffering=0, opener=no_links)  # noqa: SIM115, closed by close()
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise the error that a write met, if there was one."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the file; an error kept for `check` stays."""
        self._file.close()

    def write(self, data: memoryview) -> int:
        """Write all of `data`, or keep the error."""
        try:
            rest = memoryview(data).cast("B")
            while self._error is None and len(rest):  # a write to a nearly full disk is cut short without an error
                rest = rest[self._file.write(rest) :]
        except BaseException as error:  # kept for check(); KeyboardInterrupt must not end a call of HDF5 either
            self._error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or keep the error."""
        try:
            if self._error is None:
                self._file.truncate(size)
        except BaseException as error:  # kept for check(), as above
            self._error = error
        return size or 0

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer`."""
        got = self._file.readinto(buffer) or 0
        memoryview(buffer)[got:] = bytes(len(buffer) - got)  # what was never written reads as zero, as in a sparse file
        return len(buffer)

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the file stands."""
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: the file is unbuffered."""
