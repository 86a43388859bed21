"""Arrays in the file: contiguous, or in chunks of rows; and their checksums, which are compared while they are read."""

import hashlib
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ivimsc.store.reading.attributes import dtype_of, shape_of
from ivimsc.store.reading.headers import LAYOUT, SHAPE, TYPE, Message, walk_tree
from ivimsc.store.reading.source import NOWHERE, Damaged, Source, number

__all__ = ["Checksum", "Table"]

_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2
_ENTRY = 24  # bytes that a tree has at least for a chunk
MOST_CHUNKS = 2**18  # of 16384 voxels each: 4e9 voxels


class Checksum:
    """What the bytes of a table should add up to: ``crc32:…`` or ``sha256:…``, in hexadecimal.

    Reading in order tells at its end; what is read in another order does not count.
    """

    def __init__(self, expected: str) -> None:
        self.kind, _, self._expected = expected.partition(":")
        if self.kind not in ("crc32", "sha256"):
            raise Damaged(f"a checksum of the kind {self.kind!r}")
        self.at, self._sum, self._sha = 0, 0, hashlib.sha256()

    def add(self, data: Any) -> None:
        """Add the bytes that come next."""
        if self.kind == "crc32":
            self._sum = isal_zlib.crc32(data, self._sum)
        else:
            self._sha.update(data)
        self.at += len(data)

    def holds(self) -> bool:
        """Whether what was added is what was expected."""
        found = f"{self._sum:08x}" if self.kind == "crc32" else self._sha.hexdigest()
        return found == self._expected

    @staticmethod
    def of(blocks: Any) -> str:
        """The checksum ``crc32:…`` of blocks of bytes."""
        total = 0
        for block in blocks:
            total = isal_zlib.crc32(block, total)
        return f"crc32:{total:08x}"


class Table:
    """An array (row, …) of numbers in the file: ``table[start:stop]`` reads rows.

    Attributes
    ----------
    name : in the file
    shape, dtype : of the array
    refuse : makes the error for this file from a text
    require : called with all values that are read, to refuse those that cannot be
    """

    def __init__(self, source: Source, name: str, messages: list[Message], refuse: Callable[[str], Exception]) -> None:
        self._source, self.name, self.refuse = source, name, refuse
        self.require: Callable[[NDArray], None] | None = None
        self._checksum: Checksum | None = None
        self._lock = threading.Lock()
        own = {message.kind: message.data for message in messages}
        if not {SHAPE, TYPE, LAYOUT} <= own.keys():
            raise Damaged(f"{name} without shape, type or place")
        shape = shape_of(own[SHAPE])
        if not shape:
            raise Damaged(f"{name} without an axis, expected a table")
        self.shape, self.dtype = shape, dtype_of(own[TYPE])
        self.nbytes = math.prod(shape) * self.dtype.itemsize
        source.require(0, self.nbytes)  # before anything is made of that size
        self._place(own[LAYOUT])

    def _place(self, layout: bytes) -> None:
        """Where the data are: `_chunk`, its shape, and `_addresses`, those of all chunks in order."""
        version, kind = number(layout, 0, 1), number(layout, 1, 1)
        if version != 3 or kind not in (_COMPACT, _CONTIGUOUS, _CHUNKED):
            raise Damaged(f"{self.name} in a layout that ivimsc does not write (virtual, compact or newer)")
        self._chunk, self._addresses, self._own = self.shape, np.zeros(0, np.uint64), None
        if kind == _COMPACT:
            self._own = layout[4 : 4 + number(layout, 2, 2)]
            if len(self._own) != self.nbytes:
                raise Damaged(f"{len(self._own)} bytes of {self.name}, expected {self.nbytes}")
        elif not self.nbytes:
            return
        elif kind == _CONTIGUOUS:
            address, size = number(layout, 2, 8), number(layout, 10, 8)
            if address == NOWHERE or size != self.nbytes:
                raise Damaged(f"{0 if address == NOWHERE else size} bytes of {self.name}, expected {self.nbytes}")
            self._source.require(address, size)
            self._addresses = np.array([address], np.uint64)
        else:
            self._place_chunks(layout)

    def _place_chunks(self, layout: bytes) -> None:
        axes, root = len(self.shape), number(layout, 3, 8)
        chunk = tuple(number(layout, 11 + 4 * axis, 4) for axis in range(axes + 1))
        if number(layout, 2, 1) != axes + 1 or chunk[-1] != self.dtype.itemsize or not all(chunk):
            raise Damaged(f"{self.name} in chunks of another type")
        self._chunk = chunk[:-1]
        grid = tuple(-(-n // c) for n, c in zip(self.shape, self._chunk, strict=True))
        count, size = math.prod(grid), math.prod(chunk)
        self._source.require(0, max(count * _ENTRY, size))
        if count > MOST_CHUNKS:
            raise Damaged(f"{count:,} pieces of {self.name}, expected at most {MOST_CHUNKS:,}")
        entries = [] if root == NOWHERE else walk_tree(self._source, root, 1, 8 + 8 * (axes + 1), MOST_CHUNKS)
        if len(entries) != count:
            raise Damaged(f"{len(entries):,} of {count:,} pieces of {self.name}")
        keys = np.frombuffer(b"".join(key for key, _ in entries), np.uint64).reshape(count, axes + 2)
        addresses = np.array([address for _, address in entries], np.uint64)
        steps = np.array(self._chunk, np.uint64)
        if not (keys[:, 1:-1] < np.array(self.shape, np.uint64)).all():
            raise Damaged(f"pieces of {self.name} beyond its end")
        places = np.ravel_multi_index(tuple((keys[:, 1:-1] // steps).T.astype(np.int64)), grid)
        whole = (keys[:, 0] == size) & (keys[:, -1] == 0) & ((keys[:, 1:-1] % steps) == 0).all(axis=1)
        ordered = np.sort(addresses)
        apart = (np.diff(ordered) >= np.uint64(size)).all() and ordered[-1] <= np.uint64(self._source.size - size)
        if not whole.all() or not apart or (np.bincount(places, minlength=count) != 1).any():
            raise Damaged(f"pieces of {self.name} of another size, twice, or beyond the file")
        self._addresses = np.empty(count, np.uint64)
        self._addresses[places] = addresses

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        values = self[:]
        return values if dtype is None else values.astype(dtype)

    def __getitem__(self, rows: Any) -> NDArray:
        """Some rows: a slice is read, anything else is taken from the whole."""
        if rows == () and isinstance(rows, tuple):
            rows = slice(None)
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            return self[:][rows]
        start, stop, _ = rows.indices(len(self))
        values = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        if values.size:
            try:
                self._read(start, stop, values)
                self._check(start, values)
                if self.require is not None:
                    self.require(values)
            except (Damaged, OSError) as error:
                raise self.refuse(str(error)) from error
        return values

    def expect(self, checksum: str) -> None:
        """What the bytes of the whole table should add up to; see `Checksum`."""
        self._checksum = Checksum(checksum)

    @property
    def has_checksum(self) -> bool:
        return self._checksum is not None

    def verify(self, block: int = 2**22) -> None:
        """Read what has not been read in order, and compare the checksum, where there is one."""
        if self._checksum is None:
            return
        if not self.nbytes and not self._checksum.holds():
            raise self.refuse(f"data in {self.name} that do not agree with their checksum")
        step = max(block // self._row, 1)
        while self._checksum.at < self.nbytes:
            start = self._checksum.at // self._row
            self[start : start + step]

    @property
    def _row(self) -> int:
        """Bytes of a row."""
        return max(self.nbytes // max(len(self), 1), 1)

    def _check(self, start: int, values: NDArray) -> None:
        """Add rows from `start` on to the checksum, where they go on from those before; at the end it has to hold."""
        checksum, data = self._checksum, values.reshape(-1).view(np.uint8)
        if checksum is None:
            return
        with self._lock:
            known = checksum.at - start * self._row
            if not 0 <= known < len(data):
                return
            checksum.add(data[known:])
            if checksum.at == self.nbytes and not checksum.holds():
                self.expect(f"{checksum.kind}:damaged")  # every later reading in order refuses, too
                raise Damaged(f"data in {self.name} that do not agree with their checksum")

    def _read(self, start: int, stop: int, values: NDArray) -> None:
        if self._own is not None:
            piece = self._own[start * self._row : stop * self._row]
            values.reshape(-1).view(np.uint8)[:] = np.frombuffer(piece, np.uint8)
            return
        height, whole = self._chunk[0], self._chunk[1:] == self.shape[1:]
        columns = len(self._addresses) // -(-len(self) // height)  # chunks beside one another
        grid = tuple(-(-n // c) for n, c in zip(self.shape[1:], self._chunk[1:], strict=True))
        inner = math.prod(self._chunk[1:]) * self.dtype.itemsize  # bytes of a row of a chunk
        for first in range(start // height * height, stop, height):
            low, high = max(start, first), min(stop, first + height)
            for column in range(columns):
                address = int(self._addresses[first // height * columns + column]) + (low - first) * inner
                if whole:
                    self._source.fill(address, values[low - start : high - start].reshape(-1).view(np.uint8).data)
                    continue
                part = np.empty((high - low, *self._chunk[1:]), self.dtype)
                self._source.fill(address, part.reshape(-1).view(np.uint8).data)
                corner = [int(k) * c for k, c in zip(np.unravel_index(column, grid), self._chunk[1:], strict=True)]
                place = tuple(slice(k, k + c) for k, c in zip(corner, self._chunk[1:], strict=True))
                target = values[(slice(low - start, high - start), *place)]
                target[:] = part[tuple(slice(0, n) for n in target.shape)]
