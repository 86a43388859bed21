"""b-values as text: .bval files and lists on the command line."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.physics.protocol import validated
from ivimsc.regular import read_text

__all__ = ["parse_bvalues", "parse_number", "read_bval"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf)", re.ASCII | re.IGNORECASE)


def read_bval(path: str | Path) -> NDArray[np.float64]:
    """Read a .bval file as FSL, BIDS and others have it: numbers in a row, in a column or both.

    Blanks, tabs, commas and semicolons part them; brackets around them, and lines (or their ends) after ``#`` are left
    out.

    Parameters
    ----------
    path : of the file

    Returns
    -------
    (volume,) in s/mm², in the order of the file

    Raises
    ------
    InputError
        if the file is missing, empty, not text, or holds something else than finite numbers >= 0
    """
    text = read_text(path, "a text file of b-values")
    return _numbers(" ".join(line.partition("#")[0] for line in text.splitlines()), str(path))


def parse_bvalues(text: str, source: str = "bvalues") -> NDArray[np.float64]:
    """Read b-values from text, apart by commas or blanks: ``20,50,150``.

    Parameters
    ----------
    text : the b-values in s/mm²
    source : where the text comes from, for errors

    Returns
    -------
    (b,) in s/mm², in the order of the text

    Raises
    ------
    InputError
        for anything but finite numbers >= 0, and for none
    """
    return _numbers(text, source)


def _numbers(text: str, source: str) -> NDArray[np.float64]:
    """The numbers of a text, in ASCII digits: Python's float() also takes 1_000 and the digits of other scripts."""
    values = []
    for position, word in enumerate(re.split(r"[\s,;()\[\]{}]+", text.strip(" \t\r\n,;()[]{}")), start=1):
        value = parse_number(word) if word else None
        if word and value is None:
            found = word if len(word) <= 20 else word[:20] + "…"
            raise InputError(f"{source}: found {found!r} at position {position}, expected numbers apart by blanks")
        values += [] if value is None else [value]
    return validated(values, source)


def parse_number(word: str) -> float | None:
    """A number written in ASCII digits, nan or inf; None for any other word."""
    return float(word) if _NUMBER.fullmatch(word) else None
