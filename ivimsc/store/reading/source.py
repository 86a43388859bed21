"""The bytes of a file, read within its bounds."""

import os
from pathlib import Path
from typing import Any

from ivimsc.regular import open_regular

__all__ = ["NOWHERE", "Damaged", "Source", "number"]

NOWHERE = 2**64 - 1  # the address of what is not there
PIECE = 2**24  # most bytes of metadata read at once


class Damaged(ValueError):
    """What was found is not what ivimsc writes; the text goes into the one line that the user sees."""


class Source:
    """A regular file; several threads may read from it."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path, "a store of ivimsc (.h5)")
        self.size = os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def bytes(self, address: int, length: int) -> bytes:
        """`length` bytes of metadata from `address` on.

        Raises
        ------
        Damaged
            where they do not lie in the file
        """
        if length > PIECE:
            raise Damaged(f"{length:,} bytes of metadata in one piece")
        data = bytearray(length)
        self.fill(address, memoryview(data))
        return bytes(data)

    def fill(self, address: int, buffer: Any) -> None:
        """Fill a buffer of bytes from `address` on; as `bytes`."""
        self.require(address, len(buffer))
        while len(buffer):
            if hasattr(os, "preadv"):
                got = os.preadv(self._file.fileno(), [buffer], address)
            else:
                data = os.pread(self._file.fileno(), len(buffer), address)
                got = len(data)
                buffer[:got] = data
            if not got:
                raise Damaged("the end of the file where data should be: it is truncated")
            buffer, address = buffer[got:], address + got

    def require(self, address: int, length: int) -> None:
        """Refuse a piece that does not lie within the file."""
        if not 0 <= address <= self.size - length:
            raise Damaged(f"{length:,} bytes at {address:,}, beyond its {self.size:,}: it is truncated or damaged")


def number(data: bytes, at: int, length: int) -> int:
    """The unsigned number of `length` bytes at `at`; Damaged where they are not there."""
    if at + length > len(data):
        raise Damaged("a header that is cut short")
    return int.from_bytes(data[at : at + length], "little")
