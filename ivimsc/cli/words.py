"""From the words of the library to those of the command line: parameters become options.

Errors and notes of the library name its parameters, as Python writes them: ``bvalues: found …``, ``force=True overwrites
it``, ``device='cpu' takes the CPU``. A command says the same of its own options. So its parameters are called as in the
library, whatever its options are called.
"""

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["error_in_options", "in_options"]

_NAME = re.compile(r"[A-Za-z_]\w*")
_LEADING = re.compile(r"[A-Za-z_]\w*(?:(?:, | and )[A-Za-z_]\w*)*(?=: )")
_SET = re.compile(r"\b([A-Za-z_]\w*)=(?:(True)\b|'([^']*)')")


def in_options(message: str, parameters: Sequence[Any]) -> str:
    """A note of the library in the words of a command.

    Parameters
    ----------
    message : one line, as in ``force=True overwrites it``
    parameters : of the command, each with `name` and `opts`, as typer has them

    Returns
    -------
    the line with ``--force`` and ``--device cpu`` where it says so in Python
    """
    options = _options(parameters)
    return _SET.sub(lambda found: _as_option(found, options), message)


def error_in_options(message: str, parameters: Sequence[Any], given: Sequence[str] = ()) -> str:
    """An error of the library in the words of a command: as `in_options`, and its beginning names an option.

    Parameters
    ----------
    message : one line, as in ``bvalues: found …``
    parameters : of the command, as for `in_options`
    given : the words of the command line: a path that is called like a parameter stays as it is

    Returns
    -------
    the line with ``--bvalues:`` at its beginning
    """
    options, leading = _options(parameters), _LEADING.match(message)
    if leading and leading[0] not in given:
        names = _NAME.sub(lambda name: options.get(name[0], name[0]), leading[0])
        message = names + message[leading.end() :]
    return in_options(message, parameters)


def _options(parameters: Sequence[Any]) -> dict[str, str]:
    """Name -> option, ``no_maps`` -> ``--no-maps``; arguments have none."""
    return {p.name: p.opts[0] for p in parameters if p.opts[0].startswith("--")}


def _as_option(found: re.Match, options: dict[str, str]) -> str:
    """``NAME=True`` or ``NAME='VALUE'`` as an option, where the command has it."""
    name, flag, value = found.groups()
    if name not in options:
        return found[0]
    return options[name] if flag else f"{options[name]} {value}"
