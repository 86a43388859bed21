"""The part file of a running fit: a flat log of finished chunks, safe against `kill -9` at any moment.

``NAME.part`` holds the raw bytes of one record after the other. ``NAME.part.journal`` holds lines of JSON: a header
that says which fit this is, then one line per record: voxels start..stop, place, size, CRC-32 and the arrays in it. Each line
begins with a CRC-32 of itself and of all lines before it.
Bytes reach the part file before their line reaches the journal, and a record counts only if its line is whole, in its place,
and its checksums hold, so whatever a kill or a power cut leaves at the end is recognised and dropped on resume. What is
dropped although its line is whole is told (`Journal.dropped`), and a damaged header in front of finished chunks is an error.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import refuse_existing, remove_left, told
from ivimsc.locks import claim, open_plain
from ivimsc.store.same_fit import header_difference, to_json

__all__ = ["Journal", "Record", "discard"]

_TYPES = {"<f4", "<f8", "|u1", "|b1", "|i1", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8"}  # of arrays in records
_LONGEST = 2**20  # bytes of a line: the longest that is ours, a header, has some thousand
_PIECE = 2**20  # bytes whose checksum is taken at once


class Record(NamedTuple):
    """One finished chunk: voxels start..stop, `size` bytes at `offset`, and its arrays as (key, dtype, length).

    `seen` is a checksum of all that was read of the voxels 0..stop when it was made.
    """

    start: int
    stop: int
    offset: int
    size: int
    crc32: int
    seen: str
    layout: list[list]


class Journal:
    """Open, or resume, the part file of `target`; use as a context manager, which closes but keeps it.

    Parameters
    ----------
    target : the file that the part file is to become
    header : says which fit this is; JSON types; its ``voxels``, where it has them, are their number
    resume : go on with the part file, if there is one
    force : the target may be replaced; without `resume` start anew, whatever part file there is

    Raises
    ------
    InputError
        where there is a part file and neither `resume` nor `force`, where it belongs to another fit than `header` says, is
        damaged or no plain file, and where another process is writing it

    Attributes
    ----------
    records : the finished chunks, in order
    dropped : a sentence about finished chunks that were damaged and are not among `records`; else empty
    """

    def __init__(
        self, target: str | Path, header: Mapping[str, Any], resume: bool = False, force: bool = False
    ) -> None:
        self.target = Path(target)
        self.part, self.journal = _names(self.target)
        refuse_existing(self.target, force)
        if not (resume or force) and (os.path.lexists(self.part) or os.path.lexists(self.journal)):
            raise _interrupted(self.part)
        self._header = dict(header)
        self.records: list[Record] = []
        self.dropped, self._sum = "", 0
        with told(self.part):
            self._claim = claim(self.journal, self.target)
            self._lines = self._data = None
            try:
                self._lines = os.fdopen(self._claim.descriptor, "r+b", buffering=0, closefd=False)
                self._data = os.fdopen(open_plain(self.part), "r+b", buffering=0)
                refuse_existing(self.target, force)  # another process may have finished since the first look
                if not (resume or force) and os.fstat(self._claim.descriptor).st_size:
                    raise _interrupted(self.part)
                self._start(resume)
            except BaseException:
                self.close()
                raise

    @property
    def done(self) -> int:
        """Voxels finished, all from the first."""
        return self.records[-1].stop if self.records else 0

    def append(self, stop: int, arrays: Mapping[str, NDArray], seen: str = "") -> None:
        """Add the chunk of voxels done..stop.

        Parameters
        ----------
        stop : number of voxels that are finished with it
        arrays : key -> array, of any type and length
        seen : checksum of all that was read of the voxels 0..stop
        """
        if stop <= self.done:
            raise ValueError(f"stop: found {stop}, expected more than {self.done}")
        blocks = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        offset, crc32 = self._data.seek(0, os.SEEK_END), 0
        with told(self.part):
            for block in blocks.values():
                crc32 = zlib.crc32(block.view(np.uint8).data, crc32)
                _write(self._data, block.view(np.uint8).data)
            layout = [[key, block.dtype.str, len(block)] for key, block in blocks.items()]
            size = sum(block.nbytes for block in blocks.values())
            record = Record(self.done, stop, offset, size, crc32, seen, layout)
            self._add_line(record)
        self.records.append(record)

    def read(self, record: Record) -> dict[str, NDArray]:
        """The arrays of a record, by key; InputError where the bytes are no longer what was written."""
        self._data.seek(record.offset)
        content = self._data.read(record.size)
        if zlib.crc32(content) != record.crc32 or len(content) != record.size:
            raise InputError(f"{self.part}: found the voxels {record.start} to {record.stop} damaged, expected them as they were written: resume=True fits them again")  # fmt: skip
        arrays, at = {}, 0
        for key, dtype, length in record.layout:
            arrays[key] = np.frombuffer(content, dtype, length, at)
            at += arrays[key].nbytes
        return arrays

    def close(self) -> None:
        """Close both files and keep them."""
        for file in (self._data, self._lines):
            if file is not None:
                file.close()
        if self._claim is not None:
            self._claim.free()
        self._claim = self._data = self._lines = None

    def remove(self) -> None:
        """Delete both files, once the target is whole, and close them."""
        with told(self.part):
            self.part.unlink(missing_ok=True)
            claimed, self._claim = self._claim, None
            claimed.remove()
        self.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, resume: bool) -> None:
        """Keep what is whole and cut off the rest, or begin with a new header."""
        size = os.fstat(self._data.fileno()).st_size
        header, kept = self._next_line() if resume else (None, 0)
        if not isinstance(header, dict):
            if resume and size:  # chunks come after the header: there is finished work behind it
                raise InputError(f"{self.journal}: found a damaged first line, expected what fit the chunks in {self.part.name} belong to: force=True starts anew")  # fmt: skip
            self._sum = 0
            self._lines.truncate(0)
            self._data.truncate(0)
            self._add_line(self._header)
            return
        self._refuse_other_fit(header)
        while True:
            before = self._sum
            value, length = self._next_line()
            record = self._checked(value, size)
            if record is None:
                break
            self.records.append(record)
            kept += length
        self._sum = before
        if length:  # a line with its end: the chunk was finished
            self.dropped = f"{self.part}: found a damaged record behind {self.done:,} finished voxels; those that follow are fitted again"  # fmt: skip
        self._lines.truncate(kept)
        self._data.truncate(self.records[-1].offset + self.records[-1].size if self.records else 0)

    def _next_line(self) -> tuple[Any, int]:
        """The JSON of the next line, None where it is damaged, and the length of the line, 0 where its end is missing."""
        line = _read_line(self._lines)
        if not line.endswith(b"\n"):
            return None, 0
        checksum, _, text = line[:-1].partition(b" ")
        if checksum != _checksum(text, self._sum):
            return None, len(line)
        self._sum = int(checksum, 16)
        try:
            return json.loads(text), len(line)
        except ValueError:
            return None, len(line)

    def _add_line(self, value: Any) -> None:
        text = to_json(value).encode("utf-8", "surrogatepass")  # file names that are no UTF-8
        checksum = _checksum(text, self._sum)
        self._lines.seek(0, os.SEEK_END)
        _write(self._lines, checksum + b" " + text + b"\n")
        self._sum = int(checksum, 16)

    def _refuse_other_fit(self, found: dict) -> None:
        if differs := header_difference(found, self._header):
            raise InputError(f"{self.part}: {differs}; force=True starts anew")

    def _checked(self, value: Any, size: int) -> Record | None:
        """A line of the journal as the record that follows the last one, if its bytes are there, of `size` in all."""
        record = _as_record(value)
        end = self.records[-1].offset + self.records[-1].size if self.records else 0
        if record is None or (record.start, record.offset) != (self.done, end) or end + record.size > size:
            return None
        most = self._header.get("voxels")
        if not record.start < record.stop or (isinstance(most, int) and record.stop > most):
            return None
        self._data.seek(record.offset)
        crc32 = 0
        for start in range(0, record.size, _PIECE):
            crc32 = zlib.crc32(self._data.read(min(_PIECE, record.size - start)), crc32)
        return record if crc32 == record.crc32 else None


def discard(target: Path) -> None:
    """Remove what a kill between the last rename and the end of a fit left beside its `target`, if nobody has it."""
    part, journal = _names(target)
    remove_left(target)
    if os.path.lexists(journal) or os.path.lexists(part):
        with told(part):
            held = claim(journal, target)
            part.unlink(missing_ok=True)
            held.remove()


def _names(target: Path) -> tuple[Path, Path]:
    return target.with_name(target.name + ".part"), target.with_name(target.name + ".part.journal")


def _interrupted(part: Path) -> InputError:
    return InputError(f"{part}: found the part file of an interrupted fit, expected none: resume=True goes on with it, force=True starts anew")  # fmt: skip


def _as_record(value: Any) -> Record | None:
    """A record from JSON whose parts fit one another; None where they do not."""
    if not isinstance(value, list) or len(value) != len(Record._fields):
        return None
    record = Record(*value)
    if not all(map(_is_count, record[:5])) or not isinstance(record.seen, str) or not isinstance(record.layout, list):
        return None
    for part in record.layout:
        if not isinstance(part, list) or [type(item) for item in part] != [str, str, int]:
            return None
        if part[1] not in _TYPES or not _is_count(part[2]):
            return None
    return record if record.size == sum(n * np.dtype(kind).itemsize for _, kind, n in record.layout) else None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _checksum(text: bytes, before: int) -> bytes:
    return b"%08x" % zlib.crc32(text, before)


def _read_line(file: BinaryIO) -> bytes:
    """The next line of a file without a buffer, its end included; what is longer than `_LONGEST` has none."""
    place, line = file.tell(), b""
    while b"\n" not in line and len(line) < _LONGEST and (piece := file.read(4096)):
        line += piece
    line = line[: line.find(b"\n") + 1] or line
    file.seek(place + len(line))
    return line


def _write(file: Any, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while len(rest):  # a write to a nearly full disk is cut short without an error; the next one tells
        rest = rest[file.write(rest) :]
