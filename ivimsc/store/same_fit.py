"""Headers of fits, which say what a fit depended on: as JSON, and what tells two of them apart."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ivimsc.text import one_line

__all__ = ["header_difference", "to_json"]


def to_json(value: Any) -> str:
    """One line of JSON; numpy scalars and arrays as numbers and lists, anything else (paths) as text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def header_difference(found: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    """What tells two headers apart, in words: the first key that differs, as ``found …, expected …``; empty: nothing."""
    found, mine = _flat(found), _flat(mine)
    for key in sorted(mine.keys() | found.keys()):
        was, now = (to_json(header.get(key)) for header in (found, mine))
        if was != now:
            return f"found {key} {_short(was)}, expected {_short(now)} as in this fit"
    return ""


def _flat(header: Mapping[str, Any]) -> dict[str, Any]:
    """The header with each option under a key of its own, so that a difference can be named."""
    options = header.get("options")
    options = options if isinstance(options, dict) else {}
    return {k: v for k, v in header.items() if k != "options"} | {f"option {k}": v for k, v in options.items()}


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= 70 else text[:67] + "…"


def _plain(item: Any) -> Any:
    return item.tolist() if isinstance(item, np.ndarray | np.generic) else str(item)
