"""Text from strangers: names in files and words in stores, made harmless where they are printed, written or become file names."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ivimsc.errors import InputError

__all__ = ["cell", "one_line", "printable", "readable_name", "require_name", "strict_json"]

# control characters (what steers a terminal), marks that turn the direction of text, and halves of characters
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for the beginning of a formula
_LONGEST = 150  # characters of a name that becomes part of a file name, whose limit is 255 bytes


def printable(text: str) -> str:
    r"""The text with control characters written out, as ``\x1b``; line ends and tabs stay."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def one_line(value: Any) -> str:
    """A value as printable text on one line: line ends and tabs are written out too."""
    return printable(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def cell(text: Any) -> str:
    """A name for a table that spreadsheets open: one that they would take for a formula begins with an apostrophe."""
    text = one_line(text)
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)  # a number is no formula
    except ValueError:
        return f"'{text}"
    return text


def readable_name(path: str | PurePath) -> str:
    r"""The name of a file as text that can be stored: bytes that are no UTF-8 are written out, as ``\xff``."""
    return os.fsencode(PurePath(path).name).decode("utf-8", "backslashreplace")


def require_name(name: Any, what: str, where: Any) -> str:
    """Refuse a word of a store that cannot be part of a file name.

    Parameters
    ----------
    name : the word
    what, where : what it is, and the file that has it, for the message

    Returns
    -------
    the word

    Raises
    ------
    InputError
        for one that leads into another folder, begins with a dot, is empty or long, or has control characters
    """
    good = isinstance(name, str) and 0 < len(name) <= _LONGEST and name[0] != "."
    if not good or set(name) & set('/\\:*?"<>|') or _CONTROLS.search(name) or set(name) & set("\t\n"):
        raise InputError(f"{where}: found the {what} {one_line(repr(name)[:80])}, expected a word that can be part of a file name")  # fmt: skip
    return name


def strict_json(value: Any) -> Any:
    """A value as strict JSON in UTF-8 has it: NaN and Inf become null, and what is no character is written out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {strict_json(str(key)): strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(item) for item in value]
    return value
