"""Numbers in a page: rounded to what is shown, compressed, and written as text that a browser unpacks.

A value x is kept as the whole number round(k asinh(x / (k step))). Near 0 its steps are `step` wide; far from 0 they are 1/k
of the value, so that one outlier costs no precision elsewhere. The codes are packed as gzip of their low bytes and of their
high bytes, after one another: the low bytes are noise, and the high bytes cost next to nothing. Where neighbours are alike
their differences are kept instead. What does the way back is static/codec.js.
"""

import base64
from typing import Any, NamedTuple

import numpy as np
from isal import igzip
from numpy.typing import NDArray

__all__ = ["Packed", "Precision", "pack_codes", "pack_values"]

_LEVEL = 2  # of ISA-L's 0..3
_MOST = 65535  # codes 1 to this are values; 0 is a value that is not finite
_TRIED = 65536  # values that tell whether differences are smaller


class Precision(NamedTuple):
    """How finely values are kept: to half of `step` near 0, and to 1 / (2 k) of the value far from 0."""

    step: float
    k: float


class Packed(NamedTuple):
    """One array in a page: the text, and what is needed to unpack it."""

    text: str
    about: dict[str, Any]


def pack_values(values: NDArray, precision: Precision) -> Packed:
    """Pack numbers, rounded.

    Parameters
    ----------
    values : any shape, C order; NaN and Inf become NaN
    precision : how finely
    """
    flat = np.asarray(values, np.float32).ravel()
    finite = np.isfinite(flat)
    k = precision.k
    while True:
        scale = np.float32(1 / (k * precision.step))
        with np.errstate(invalid="ignore", over="ignore"):
            rounded = np.rint(np.float32(k) * np.arcsinh(flat * scale))
        known = rounded[finite] if not finite.all() else rounded
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        if high - low < _MOST:
            break
        k /= 2
    codes = (rounded - np.float32(low - 1) if finite.all() else np.where(finite, rounded - np.float32(low - 1), 0)).astype(np.uint16)  # fmt: skip
    return _pack(codes, {"low": low - 1, "step": precision.step, "k": k})


def pack_codes(codes: NDArray) -> Packed:
    """Pack whole numbers of 0 to 65535, exactly, in C order."""
    return _pack(np.asarray(codes).astype(np.uint16).ravel(), {})


def _pack(codes: NDArray[np.uint16], about: dict[str, Any]) -> Packed:
    some = codes[:_TRIED]
    delta = len(some) > 1 and len(_compressed(_differences(some))) < 0.97 * len(_compressed(some))
    kept = _differences(codes) if delta else codes
    planes = 1 if not len(kept) or kept.max() < 256 else 2
    text = base64.b64encode(_compressed(kept)).decode("ascii")
    return Packed(text, about | {"n": len(codes), "planes": planes, "delta": bool(delta)})


def _differences(codes: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Each code less the one before it, modulo 2^16; small negative ones are interleaved with small positive ones."""
    d = np.diff(codes, prepend=np.uint16(0)).astype(np.int16).astype(np.int32)
    return ((d << 1) ^ (d >> 31)).astype(np.uint16)


def _compressed(codes: NDArray[np.uint16]) -> bytes:
    low = (codes & 255).astype(np.uint8).tobytes()
    planes = low if not len(codes) or codes.max() < 256 else low + (codes >> 8).astype(np.uint8).tobytes()
    return igzip.compress(planes, _LEVEL, mtime=0)
