"""Files are opened for reading here: regular ones alone, so that no pipe hangs and no device is read."""

import errno
import os
import stat
from pathlib import Path
from typing import IO

from ivimsc.errors import InputError, IvimscError

__all__ = ["MOST_TEXT", "open_regular", "read_text"]

MOST_TEXT = 2**24  # bytes of a text: b-values, directions, tables


def open_regular(path: str | Path, expected: str) -> IO[bytes]:
    """Open a file for reading bytes, unbuffered.

    Parameters
    ----------
    path : of the file; it may be a link to a regular file
    expected : what it should be, for errors

    Raises
    ------
    InputError
        for a file that is missing, cannot be read, or is no regular file: a folder, a pipe, a socket or a device
    """
    try:
        # without O_NONBLOCK, opening a pipe waits for a writer
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))  # fmt: skip
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: {reason}, expected {expected}") from None
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        found = os.strerror(errno.EISDIR) if stat.S_ISDIR(kind) else "found a pipe, socket or device"
        raise InputError(f"{path}: {found}, expected {expected}")
    return open(descriptor, "rb", buffering=0)


def read_text(path: str | Path, expected: str, most: int = MOST_TEXT) -> str:
    """Read a text file, UTF-8 with or without a byte order mark.

    Parameters
    ----------
    path : of the file
    expected : what it should be, for errors
    most : bytes that it may have

    Raises
    ------
    InputError
        for a file that cannot be read, is too large, or is no text
    IvimscError
        for errors of the hardware
    """
    with open_regular(path, expected) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise InputError(f"{path}: found {size:,} bytes, expected {expected} of at most {most:,}")
        try:
            data = file.read(most + 1) or b""
            while more := file.read(most + 1):
                data += more
        except OSError as error:
            raise IvimscError(f"{path}: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")  # -sig: editors on Windows leave a byte order mark
    except UnicodeDecodeError:
        raise InputError(f"{path}: found binary data, expected {expected}") from None
