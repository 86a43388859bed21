"""Files that belong to one process at a time: never reached through a link, and locked until that process ends.

The system frees a lock when its process ends, `kill -9` included. A file whose lock is free was therefore left by a process that is
no more. On file systems and systems without locks (some network folders, Windows), files are made without one.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ivimsc.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no advisory locks
    fcntl = None

__all__ = ["Claim", "claim", "claim_new", "no_links", "open_plain", "remove_unfinished"]

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # what file systems without locks answer


_unfinished: set[tuple[int, Path]] = set()  # (process, file) of the claims that end with their process


class Claim(NamedTuple):
    """A file that is ours: its open `descriptor`, whose end frees it, its `path`, and whether it is `locked`."""

    descriptor: int
    path: Path
    locked: bool

    def same(self) -> bool:
        """Whether the file is still the one under its name."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def free(self) -> None:
        """Close the file and free it."""
        _unfinished.discard((os.getpid(), self.path))
        os.close(self.descriptor)

    def remove(self) -> None:
        """Remove the file if it is still there, and free it: in this order, so that nobody claims a file that goes."""
        try:
            if self.same():
                self.path.unlink()
        finally:
            self.free()


def open_plain(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """Open a plain file to write to.

    Parameters
    ----------
    path : the file, made where there is none
    flags : as for `os.open`

    Returns
    -------
    its descriptor

    Raises
    ------
    InputError
        for a link, a folder, a pipe or a device, and for a file that has a second name (a hard link)
    OSError
        if it cannot be opened
    """
    try:  # without O_NONBLOCK a pipe would wait for a reader for ever
        descriptor = os.open(path, flags | _NO_LINK | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR) or path.is_symlink():
            raise _no_plain_file(path) from None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise _no_plain_file(path)
    return descriptor


def no_links(path: str, flags: int) -> int:
    """The `opener` of `open` for files that are not to be reached through a link."""
    return os.open(path, flags | _NO_LINK, 0o666)


def claim(path: Path, target: Path, unfinished: bool = False) -> Claim:
    """Open a file, or make it, for this process alone; what is in it stays.

    Parameters
    ----------
    path : the file
    target : what is made with it, for messages
    unfinished : `remove_unfinished` removes it

    Raises
    ------
    InputError
        if another process holds it, and for what is no plain file
    OSError
        if it cannot be opened
    """
    while True:
        file = Claim(open_plain(path), path, fcntl is not None)
        try:
            locked = _lock(file, target)
            if file.same():  # else its holder removed it before it was locked here
                if unfinished:
                    _unfinished.add((os.getpid(), path))
                return file._replace(locked=locked)
        except BaseException:
            file.free()
            raise
        file.free()


def remove_unfinished() -> None:
    """Remove every file that this process claimed as unfinished and has not given its final name: it is about to end."""
    for process, path in list(_unfinished):
        if process == os.getpid():  # a child that was forked has a copy of this list
            with suppress(OSError):
                path.unlink()


def claim_new(path: Path, target: Path) -> Claim:
    """Make a file for this process alone, empty; what an ended process left under its name is removed.

    Parameters
    ----------
    path : the file; where locks are missing it gets another name beside it
    target : what is made with it, for messages

    Raises
    ------
    InputError
        if another process holds it, and for what is no plain file
    OSError
        if it cannot be made
    """
    while True:
        try:
            file = Claim(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666), path, False)
        except FileExistsError:
            if not _remove_left(path, target):
                path = path.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
            continue
        try:
            locked = _lock(file, target)
            if file.same():
                _unfinished.add((os.getpid(), path))
                return file._replace(locked=locked)
        except BaseException:
            file.free()
            raise
        file.free()


def _remove_left(path: Path, target: Path) -> bool:
    """Remove the file of an ended process; False where there are no locks to tell whether it has ended."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            raise _no_plain_file(path)
        # a file that was given its final name by a second link, before its process was killed, has two names: it is
        # only unlinked here and never written to
        left = Claim(os.open(path, os.O_RDONLY | _NO_LINK), path, False)
    except FileNotFoundError:
        return True
    try:
        if not _lock(left, target):
            return False
        if left.same():
            path.unlink()
        return True
    finally:
        left.free()


def _lock(file: Claim, target: Path) -> bool:
    """Lock a file; False where there are no locks, InputError where another process holds it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{target}: found another process that writes it, expected to be the only one") from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _no_plain_file(path: Path) -> InputError:
    with suppress(OSError):
        if path.is_symlink():
            return InputError(
                f"{path}: found a symbolic link, expected none: files of ivimsc are not written through links"
            )
    return InputError(f"{path}: found something else than a plain file of one name, expected to make it: remove it")
