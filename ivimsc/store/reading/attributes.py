"""Types, shapes and attributes."""

import math
import struct
from typing import Any

import numpy as np

from ivimsc.store.reading.source import NOWHERE, Damaged, Source, number

__all__ = ["Texts", "dtype_of", "read_attribute", "shape_of"]

MOST_BYTES = 2**24  # of all texts and numbers in attributes
MOST_AXES, MOST_HEAPS = 4, 64
_TEXT, _TEXTS = 3, 9  # classes of types: fixed length, variable length


def _encodings() -> dict[bytes, np.dtype]:
    """The encodings of the numbers that there are, little-endian."""
    found = {}
    for size in (1, 2, 4, 8):
        for kind, sign in (("u", 0), ("i", 8)):
            found[struct.pack("<BBBBIHH", 0x10, sign, 0, 0, size, 0, 8 * size)] = np.dtype(f"<{kind}{size}")
    for size, sign, parts, bias in ((4, 31, (23, 8, 0, 23), 127), (8, 63, (52, 11, 0, 52), 1023)):
        encoded = struct.pack("<BBBBIHH4BI", 0x11, 0x20, sign, 0, size, 0, 8 * size, *parts, bias)
        found[encoded] = np.dtype(f"<f{size}")
    return found


_NUMBERS = _encodings()


def dtype_of(data: bytes) -> np.dtype:
    """The type of numbers that `data` encodes; Damaged for all that are not integers or floats, little-endian."""
    for length in (12, 20):
        if data[:length] in _NUMBERS:
            return _NUMBERS[data[:length]]
    raise Damaged("a type of numbers that ivimsc does not write")


def shape_of(data: bytes) -> tuple[int, ...] | None:
    """The shape that a dataspace encodes: () for one value; None for no value."""
    version, axes, flags = number(data, 0, 1), number(data, 1, 1), number(data, 2, 1)
    if version not in (1, 2) or axes > MOST_AXES or flags > 1:
        raise Damaged("a shape that ivimsc does not write")
    if version == 2 and number(data, 3, 1) > 1:
        return None
    start = 8 if version == 1 else 4
    return tuple(number(data, start + 8 * axis, 8) for axis in range(axes))


def read_attribute(data: bytes, texts: "Texts") -> tuple[str, Any]:
    """Name and value of an attribute: str, int, float or an array.

    Parameters
    ----------
    data : of the message
    texts : where texts of variable length are
    """
    version = number(data, 0, 1)
    if version not in (1, 2, 3) or (version > 1 and number(data, 1, 1)):
        raise Damaged("an attribute that ivimsc does not write")
    at, parts = 9 if version == 3 else 8, []
    for place in (2, 4, 6):
        length = number(data, place, 2)
        if at + length > len(data):
            raise Damaged("an attribute that is cut short")
        parts.append(data[at : at + length])
        at += -(-length // 8) * 8 if version == 1 else length
    name, kind, shape = parts[0].rstrip(b"\0").decode("utf-8"), parts[1], shape_of(parts[2])
    if shape is None:
        raise Damaged(f"the attribute {name} without a value")
    if kind[:1] in (bytes([0x10 + _TEXT]), bytes([0x10 + _TEXTS])):
        if shape:
            raise Damaged(f"the attribute {name} with several texts")
        return name, texts.fixed(kind, data[at:]) if kind[0] & 15 == _TEXT else texts.variable(kind, data[at:])
    dtype, count = dtype_of(kind), math.prod(shape)
    if at + count * dtype.itemsize > len(data):
        raise Damaged(f"the attribute {name} that is cut short")
    values = np.frombuffer(data, dtype, count, at).reshape(shape)
    return name, values.copy() if shape else values.item()


class Texts:
    """The texts of attributes; those of variable length lie in heaps of their own."""

    def __init__(self, source: Source) -> None:
        self._source, self._heaps, self._left = source, {}, MOST_BYTES

    def fixed(self, kind: bytes, data: bytes) -> str:
        """A text of fixed length."""
        length = number(kind, 4, 4)
        if len(data) < length:
            raise Damaged("a text that is cut short")
        return self._decoded(data[:length])

    def variable(self, kind: bytes, data: bytes) -> str:
        """A text of variable length: its length, the heap that it is in, and its number there."""
        if number(kind, 1, 1) & 15 != 1:
            raise Damaged("an attribute of variable length that is no text")
        length, address, index = number(data, 0, 4), number(data, 4, 8), number(data, 12, 4)
        if address in (0, NOWHERE) and not length:
            return ""
        if address not in self._heaps:
            if len(self._heaps) >= MOST_HEAPS:
                raise Damaged("texts in too many places")
            self._heaps[address] = self._read_heap(address)
        start, size = self._heaps[address].get(index, (0, 0))
        if not length <= size:
            raise Damaged("a text longer than its place")
        return self._decoded(self._source.bytes(start, length))

    def _decoded(self, data: bytes) -> str:
        self._left -= len(data)
        if self._left < 0:
            raise Damaged(f"more than {MOST_BYTES:,} bytes of texts")
        return data.partition(b"\0")[0].decode("utf-8")

    def _read_heap(self, address: int) -> dict[int, tuple[int, int]]:
        """Number -> place and size of the objects in a heap."""
        head = self._source.bytes(address, 16)
        size = number(head, 8, 8)
        if head[:5] != b"GCOL\1" or size < 16:
            raise Damaged("no heap where texts should be")
        self._source.require(address, size)
        objects, at, end = {}, address + 16, address + size
        while at + 16 <= end:
            one = self._source.bytes(at, 16)
            index, length = number(one, 0, 2), number(one, 8, 8)
            if index == 0:  # the space that is left
                break
            if at + 16 + length > end or index in objects:
                raise Damaged("a damaged heap of texts")
            objects[index] = at + 16, length
            at += 16 + -(-length // 8) * 8
        return objects
