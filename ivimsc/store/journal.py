"""The part file of a running fit: a flat log of finished chunks, safe against `kill -9` at any moment.

``NAME.part`` holds the raw bytes of one record after the other. ``NAME.part.journal`` holds lines of JSON: a header
that says which fit this is, then one line per record: voxels start..stop, place, size, CRC-32 and the arrays in it.
Bytes reach the part file before their line reaches the journal, and a record counts only if its line is whole and its
checksum holds, so whatever a kill or a power cut leaves at the end is recognised and dropped on resume.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import refuse_existing, told

try:
    import fcntl
except ImportError:  # Windows has no advisory locks: there, two fits into one file are up to the user
    fcntl = None

__all__ = ["Journal", "Record", "to_json"]


class Record(NamedTuple):
    """One finished chunk: voxels start..stop, `size` bytes at `offset`, and its arrays as (key, dtype, length)."""

    start: int
    stop: int
    offset: int
    size: int
    crc32: int
    layout: list[list]


def to_json(value: Any) -> str:
    """One line of JSON; numpy scalars and arrays as numbers and lists, anything else (paths) as text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


class Journal:
    """Open, or resume, the part file of `target`; use as a context manager, which closes but keeps it.

    Parameters
    ----------
    target : the file that the part file is to become
    header : says which fit this is; JSON types
    resume : go on with the part file, if there is one
    force : the target may be replaced; without `resume` start anew, whatever part file there is

    Raises
    ------
    InputError
        where there is a part file and neither `resume` nor `force`, where it belongs to another fit than `header` says,
        and where another process is writing it

    Attributes
    ----------
    records : the finished chunks, in order
    """

    def __init__(
        self, target: str | Path, header: Mapping[str, Any], resume: bool = False, force: bool = False
    ) -> None:
        self.target = Path(target)
        self.part = self.target.with_name(self.target.name + ".part")
        self.journal = self.target.with_name(self.target.name + ".part.journal")
        refuse_existing(self.target, force)
        if not (resume or force) and (self.part.exists() or self.journal.exists()):
            raise InputError(
                f"{self.part}: found the part file of an interrupted fit, expected none: resume=True goes on with it, "
                "force=True starts anew"
            )
        self._header = json.loads(to_json(dict(header)))
        self.records: list[Record] = []
        with told(self.part):
            self._lines = open(self.journal, "a+b", buffering=0)  # noqa: SIM115, closed by close()
            self._data = open(self.part, "a+b", buffering=0)  # noqa: SIM115, closed by close()
        try:
            self._lock()
            self._start(resume)
        except BaseException:
            self.close()
            raise

    @property
    def done(self) -> int:
        """Voxels finished, all from the first."""
        return self.records[-1].stop if self.records else 0

    def append(self, stop: int, arrays: Mapping[str, NDArray]) -> None:
        """Add the chunk of voxels done..stop.

        Parameters
        ----------
        stop : number of voxels that are finished with it
        arrays : key -> array, of any type and length
        """
        blocks = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        offset, crc32 = self._data.seek(0, os.SEEK_END), 0
        with told(self.part):
            for block in blocks.values():
                crc32 = zlib.crc32(block.view(np.uint8).data, crc32)
                _write(self._data, block.view(np.uint8).data)
            layout = [[key, block.dtype.str, len(block)] for key, block in blocks.items()]
            size = sum(block.nbytes for block in blocks.values())
            record = Record(self.done, stop, offset, size, crc32, layout)
            _write(self._lines, (to_json(record) + "\n").encode())
        self.records.append(record)

    def read(self, record: Record) -> dict[str, NDArray]:
        """The arrays of a record, by key."""
        self._data.seek(record.offset)
        content = self._data.read(record.size)
        arrays, at = {}, 0
        for key, dtype, length in record.layout:
            arrays[key] = np.frombuffer(content, dtype, length, at)
            at += arrays[key].nbytes
        return arrays

    def close(self) -> None:
        """Close both files and keep them."""
        self._data.close()
        self._lines.close()

    def remove(self) -> None:
        """Close and delete both files, once the target is whole."""
        self.close()
        with told(self.part):
            self.journal.unlink(missing_ok=True)
            self.part.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lines, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system frees it even after kill -9
        except BlockingIOError:
            raise InputError(f"{self.part}: found another fit writing it, expected to be the only one") from None

    def _start(self, resume: bool) -> None:
        """Keep what is whole and cut off the rest, or begin with a new header."""
        self._lines.seek(0)
        lines = self._lines.read().splitlines(keepends=True) if resume else []
        found = _parsed(lines[0]) if lines else None
        with told(self.part):
            if not isinstance(found, dict):  # torn before the first chunk, or new
                self._lines.truncate(0)
                self._data.truncate(0)
                _write(self._lines, (to_json(self._header) + "\n").encode())
                return
            self._refuse_other_fit(found)
            kept = len(lines[0])
            for line in lines[1:]:
                if not self._holds(record := _parsed(line)):
                    break
                self.records.append(Record(*record))
                kept += len(line)
            self._lines.truncate(kept)
            self._data.truncate(self.records[-1].offset + self.records[-1].size if self.records else 0)

    def _refuse_other_fit(self, found: dict) -> None:
        mine, found = _flat(self._header), _flat(found)
        for key in sorted(mine.keys() | found.keys()):
            if mine.get(key) != found.get(key):
                was, now = (_short(header.get(key)) for header in (found, mine))
                raise InputError(
                    f"{self.part}: found {key} {was}, expected {now} as in this fit; force=True starts anew"
                )

    def _holds(self, record: Any) -> bool:
        """Whether a line of the journal is a record that follows the last one and whose bytes are all there."""
        if not isinstance(record, list) or len(record) != len(Record._fields):
            return False
        record = Record(*record)
        end = self.records[-1].offset + self.records[-1].size if self.records else 0
        if (record.start, record.offset) != (self.done, end):
            return False
        self._data.seek(record.offset)
        return zlib.crc32(self._data.read(record.size)) == record.crc32


def _write(file: Any, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while len(rest):  # a write to a nearly full disk is cut short without an error; the next one tells
        rest = rest[file.write(rest) :]


def _parsed(line: bytes) -> Any:
    """The JSON of a whole line; None where it is torn."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _flat(header: Mapping[str, Any]) -> dict[str, Any]:
    """The header with each option under a key of its own, so that a difference can be named."""
    options = header.get("options") or {}
    return {k: v for k, v in header.items() if k != "options"} | {f"option {k}": v for k, v in options.items()}


def _short(value: Any) -> str:
    text = to_json(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _plain(item: Any) -> Any:
    return item.tolist() if isinstance(item, np.ndarray | np.generic) else str(item)
