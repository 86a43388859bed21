"""How good files become bad ones."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["1_000", "１２３", "nan", "inf", "-1", "1e999", "9" * 400, "\x00", "\ufeff", "=1+1", "\x1b[2J", "0x10", "1e-400",
         "[", "{", '"', "0-99999999", ",", "\n", "#", "é" * 50]  # fmt: skip
NUMBERS = [0, 1, 2, 7, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip
VALUES: list[Any] = [0, -1, 2**70, 1e308, float("nan"), float("inf"), "", "x" * 3000, "\x1b[31m", "../../x", None, True, [], {}, [[1]],
                     ["a"], [1, "a"], {"a": {}}, [0.5, -1, 3], list(range(50))]  # fmt: skip


def mutate(good: Path, target: Path, kind: Any, random: np.random.Generator) -> str:
    """Write a changed copy of `good` to `target`, and those beside it unchanged; says how."""
    for beside in good.parent.iterdir():
        if beside != good and beside.name.split(".")[0] == good.name.split(".")[0]:
            (target.parent / beside.name).write_bytes(beside.read_bytes())
    if kind.rewrite is not None and random.random() < 0.5:
        return "meant: " + kind.rewrite(good, target, random)
    data = bytearray(good.read_bytes())
    names = [flip, flip, put_byte, put_number, put_number, cut, add, remove, repeat, swap, blank]
    names += [put_word] * 6 if kind.text else []
    hows = []
    for _ in range(1 if random.random() < 0.7 else int(random.integers(2, 6))):
        one = names[int(random.integers(len(names)))]
        data = one(data, random, kind.head)
        hows.append(one.__name__)
    target.write_bytes(data)
    return " ".join(hows)


def _place(data: bytearray, random: np.random.Generator, head: int) -> int:
    """A place in the file, half of the time in its head."""
    most = min(len(data), head) if random.random() < 0.5 else len(data)
    return int(random.integers(max(most, 1)))


def flip(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Flip a bit."""
    if data:
        data[_place(data, random, head)] ^= 1 << int(random.integers(8))
    return data


def put_byte(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Put a byte."""
    if data:
        data[_place(data, random, head)] = int(random.choice([0, 1, 127, 128, 255, int(random.integers(256))]))
    return data


def put_number(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Put a number of 2, 4 or 8 bytes, an integer or a float."""
    length = int(random.choice([2, 4, 8]))
    at = _place(data, random, head) // length * length
    value = NUMBERS[int(random.integers(len(NUMBERS)))] % 256**length
    new = value.to_bytes(length, "little")
    if length == 4 and random.random() < 0.3:
        new = struct.pack("<f", random.choice([np.nan, np.inf, -np.inf, -1.0, 1e38, 1e-40, 2.5e9]))
    data[at : at + length] = new
    return data


def cut(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Cut the end off."""
    return data[: _place(data, random, head)]


def add(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Add bytes at the end."""
    return data + random.bytes(int(random.integers(1, 200)))


def remove(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Remove a piece."""
    at = _place(data, random, head)
    del data[at : at + int(random.integers(1, 64))]
    return data


def repeat(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Put a piece twice."""
    at = _place(data, random, head)
    data[at:at] = data[at : at + int(random.integers(1, 64))]
    return data


def swap(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Copy a piece over another one."""
    at, to, n = _place(data, random, head), _place(data, random, head), int(random.choice([1, 2, 4, 8, 16, 40]))
    piece = data[at : at + n]
    data[to : to + len(piece)] = piece
    return data


def blank(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Blank a piece out."""
    at = _place(data, random, head)
    piece = data[at : at + int(random.integers(1, 64))]
    data[at : at + len(piece)] = bytes(len(piece))
    return data


def put_word(data: bytearray, random: np.random.Generator, head: int) -> bytearray:
    """Put a word, in place of some bytes or between them."""
    at, word = _place(data, random, head), WORDS[int(random.integers(len(WORDS)))].encode()
    data[at : at + int(random.choice([0, 1, len(word)]))] = word
    return data


def changed_json(value: Any, random: np.random.Generator) -> Any:
    """JSON with one of its values replaced, or gone."""
    paths: list[list[Any]] = []

    def walk(node: Any, path: list[Any]) -> None:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            paths.append([*path, key])
            if isinstance(child, dict | list) and len(paths) < 3000:
                walk(child, [*path, key])

    value = json.loads(json.dumps(value))
    walk(value, [])
    if not paths:
        return VALUES[int(random.integers(len(VALUES)))]
    *path, last = paths[int(random.integers(len(paths)))]
    node = value
    for key in path:
        node = node[key]
    if random.random() < 0.2:
        del node[last]
    else:
        node[last] = VALUES[int(random.integers(len(VALUES)))]
    return value
