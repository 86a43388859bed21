"""Options: frozen dataclasses whose fields carry their help, made from values that are typed (Python) or text (``--set``)."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from ivimsc.errors import InputError

__all__ = ["OptionHelp", "expect", "expect_positive", "list_options", "option", "typed_options"]


def option(default: Any, help: str) -> Any:
    """A field of an options dataclass: its default, and the sentence that users read about it."""
    return dataclasses.field(default=default, metadata={"help": help})


def expect(good: bool, name: str, who: str, found: object, expected: str) -> None:
    """Refuse the value of one option.

    Parameters
    ----------
    good : whether the value is right
    name, who : the option, and the method that it belongs to
    found, expected : what the value is, and what it may be

    Raises
    ------
    InputError
        where `good` is False
    """
    if not good:
        shown = f"{found:g}" if isinstance(found, float) else found
        raise InputError(f"option {name} of {who}: found {shown}, expected {expected}")


def expect_positive(options: Any, names: tuple[str, ...], who: str) -> None:
    """Refuse options that are neither None nor a finite number above 0; InputError names the first of them."""
    for name in names:
        value = getattr(options, name)
        if value is not None:
            expect(0 < value < math.inf, name, who, value, "a number > 0 or none")


def typed_options(kind: type, settings: Mapping[str, Any], who: str) -> Any:
    """An options dataclass from settings.

    Parameters
    ----------
    kind : the dataclass; every field has a default
    settings : option -> value, of the field's type or as text
    who : whose options they are, for messages

    Raises
    ------
    InputError
        for an option that there is not, text that cannot be read, and whatever ``kind.__post_init__`` refuses
    """
    kinds, values = typing.get_type_hints(kind), {}
    for key, value in settings.items():
        if key not in kinds:
            raise InputError(f"option of {who}: found {key!r}, expected one of {', '.join(kinds)}")
        values[key] = _from_text(who, key, value, kinds[key]) if isinstance(value, str) else value
    return dataclasses.replace(kind(), **values)


def _from_text(who: str, key: str, text: str, kind: Any) -> Any:
    """`text` as `kind`: str, int, float, bool, (float, float) written ``a,b``, or one of these or None (``none``)."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in kinds and text.lower() == "none":
        return None
    for choice in kinds:
        try:
            if choice is bool:
                return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
            if typing.get_origin(choice) is tuple:
                lower, upper = text.split(",")
                return float(lower), float(upper)
            if choice in (int, float, str):
                return choice(text)
        except (ValueError, KeyError):
            continue
    raise InputError(f"option {key} of {who}: found {text!r}, expected {_in_words(kind)}")


def _in_words(kind: Any) -> str:
    """A type as users write its values: ``float``, ``A,B`` for a pair, ``int or none``."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    names = " or ".join("A,B" if typing.get_origin(c) is tuple else getattr(c, "__name__", str(c)) for c in kinds)
    return names.replace("NoneType", "none")


class OptionHelp(NamedTuple):
    """An option in words: its name, what kind of value it takes, its default as ``--set`` would have it, and its help."""

    name: str
    kind: str
    default: str
    help: str


def list_options(kind: type) -> list[OptionHelp]:
    """Every option of an options dataclass, in its order."""
    kinds = typing.get_type_hints(kind)
    return [OptionHelp(one.name, _in_words(kinds[one.name]), _as_text(one.default), one.metadata.get("help", "")) for one in dataclasses.fields(kind)]  # fmt: skip


def _as_text(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, tuple):
        return ",".join(_as_text(part) for part in value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
