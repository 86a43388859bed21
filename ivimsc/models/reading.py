"""Model files from strangers: read within the bounds of the file, and refused where anything in them is of another kind.

A file is 8 bytes with the length of the header, the header (JSON: the type, shape and place of every array, and the
metadata), and the arrays. Lengths and shapes are compared with the size of the file before memory is taken.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.regular import open_regular

__all__ = ["checksum", "read_arrays", "require_about"]

MOST_BYTES, MOST_HEADER, MOST_ARRAYS = 2**28, 2**22, 1000  # of a file; of its header; arrays in it
MOST_BVALUES = 10_000


def read_arrays(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str], str]:
    """The arrays and metadata of a safetensors file of float32 arrays, and the SHA-256 of the file.

    Raises
    ------
    InputError
        for a file that is missing, no regular one, truncated, too large, or of other arrays
    """
    with open_regular(path, "a model file") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: found {size:,} bytes, expected a model file of at most {MOST_BYTES:,}")
        data = file.read(size) or b""
        while len(data) < size and (more := file.read(size - len(data))):
            data += more
    try:
        length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or not 2 <= length <= min(len(data) - 8, MOST_HEADER):
            raise ValueError("its header is cut short")
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are no texts")
        if "ivimsc" not in metadata:
            return {}, metadata, ""  # of another program
        return _cut(header, memoryview(data)[8 + length :]), metadata, hashlib.sha256(data).hexdigest()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: found no safetensors file ({reason}), expected a model file") from None


def _cut(header: Mapping[str, Any], body: memoryview) -> dict[str, NDArray[np.float32]]:
    """The arrays, which lie one after the other and fill the body; ValueError where they do not."""
    arrays, at = {}, 0
    if len(header) > MOST_ARRAYS:
        raise ValueError(f"{len(header)} arrays")
    for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (start, stop) = about["shape"], about["data_offsets"]
        numbers = [*shape, start, stop]
        if about["dtype"] != "F32" or not all(type(n) is int and 0 <= n <= MOST_BYTES for n in numbers) or len(shape) > 8:  # fmt: skip
            raise ValueError(f"{name[:40]} of another type than float32, or with no shape")
        if start != at or stop - start != 4 * math.prod(shape) or stop > len(body):
            raise ValueError(f"{name[:40]} of another size than its shape")
        arrays[name] = np.frombuffer(body[start:stop], "<f4").reshape(shape).copy()
        at = stop
    if at != len(body):
        raise ValueError("more or fewer bytes than its arrays have")
    return arrays


def checksum(text: str, arrays: Mapping[str, NDArray]) -> str:
    """SHA-256 of the metadata and of all arrays with their names and shapes."""
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        total.update(f"\n{name} {arrays[name].shape} ".encode())
        total.update(np.ascontiguousarray(arrays[name], "<f4").tobytes())
    return total.hexdigest()


def require_about(about: Mapping[str, Any], method: Any, known_s0: Mapping[str, str]) -> None:
    """Refuse metadata of another kind than `ivimsc train` writes (ValueError).

    Parameters
    ----------
    about, method : the metadata, and the method among them
    known_s0 : what ``s0`` may be
    """
    bvalues = about["bvalues"]
    _expect(isinstance(method, str) and re.fullmatch(r"[a-z0-9_-]{1,32}", method), "method", "a word")
    n = None
    if bvalues is not None:
        _expect(_are_numbers(bvalues) and 0 < len(bvalues) <= MOST_BVALUES, "bvalues", "numbers")
        ascending = bvalues[0] >= 0 and all(a < b for a, b in pairwise(bvalues))
        _expect(ascending, "bvalues", "ascending numbers from 0 on")
        n = len(bvalues)
    s0 = about.get("s0", "known")
    _expect(isinstance(s0, str) and s0 in known_s0, "s0", " or ".join(known_s0))
    for name in ("options", "training", "range", "history"):
        _expect(isinstance(about.get(name, {}), dict), name, "an object")
    _expect(isinstance(about.get("ivimsc_version", ""), str), "ivimsc_version", "a text")
    _expect(_are_numbers(about.get("history", {}).get("validation", [])), "history", "numbers")
    reach = about.get("range", {})
    for name in ("low", "high"):
        _expect(name not in reach or (_are_numbers(reach[name]) and len(reach[name]) == n), f"range {name}", "a number per b-value")  # fmt: skip
    for name in ("f", "D", "Dstar", "SNR"):
        pair = reach.get(name, [0, 1])
        _expect(
            _are_numbers(pair) and len(pair) == 2 and pair[0] <= pair[1], f"range {name}", "the least and the largest"
        )


def _are_numbers(values: Any) -> bool:
    """A list of finite numbers that float32 holds."""
    kinds = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    return kinds and all(abs(value) < 3e38 for value in values)


def _expect(good: Any, name: str, expected: str) -> None:
    if not good:
        raise ValueError(f"{name} of another kind, expected {expected}")
