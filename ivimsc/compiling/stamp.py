"""What a compiled kernel depends on: versions, the source of all functions that it calls, and the constants that they use."""

import hashlib
import platform
from collections.abc import Sequence
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

__all__ = ["MAGIC", "Stamp", "types_text"]

MAGIC = b"ivimsc-kernel-1\n"
_SIMPLE = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype)


class Stamp:
    """What a compiled function depends on beside its types: computed when it is first asked for.

    When a function is decorated, those that come after it in the file are not there yet. `ahead`: more folders that its kernels
    may be read from.
    """

    def __init__(self, function: FunctionType, ahead: Sequence[Path] = ()) -> None:
        self._function, self.ahead = function, ahead
        self._digest = b""

    def digest(self) -> bytes:
        """SHA-256 of the versions, and of the source and the constants that the function refers to."""
        if not self._digest:
            total = hashlib.sha256(_versions())
            _add_function(total, self._function, self._function.__globals__.get(self._function.__name__), set())
            self._digest = total.digest()
        return self._digest


@cache
def _versions() -> bytes:
    found = [MAGIC.decode(), platform.python_version(), platform.python_implementation()]
    for name in ("numba", "llvmlite", "numpy", "numba-cuda"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return "\n".join(found).encode()


def _add_function(total: Any, function: FunctionType, compiled: Any, seen: set[int]) -> None:
    """Add a function of this package, how it is compiled, and all that it refers to."""
    if id(function.__code__) in seen:
        return
    seen.add(id(function.__code__))
    total.update(
        f"{function.__module__}.{function.__qualname__} {_text(getattr(compiled, 'targetoptions', None))}".encode()
    )
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names = (code.co_names, code.co_varnames, code.co_freevars)
        total.update(code.co_code + repr(names).encode())
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        total.update(_text([c for c in code.co_consts if not isinstance(c, CodeType)]).encode())
        for name in code.co_names:
            if name in function.__globals__:
                _add_value(total, name, function.__globals__[name], code.co_names, seen)
    for name, held in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        _add_value(total, name, held.cell_contents, (), seen)
    total.update(_text(function.__defaults__).encode())


def _add_value(total: Any, name: str, value: Any, names: tuple[str, ...], seen: set[int]) -> None:
    """Add a global that a function refers to: a function, a module of this package, or a constant."""
    total.update(name.encode())
    function = getattr(value, "py_func", value)
    if isinstance(function, FunctionType):
        if (function.__module__ or "").startswith("ivimsc"):
            _add_function(total, function, value, seen)
    elif isinstance(value, ModuleType):
        if value.__name__.startswith("ivimsc"):
            for part in names:
                if hasattr(value, part):
                    _add_value(total, part, getattr(value, part), (), seen)
    elif isinstance(value, np.ndarray):
        total.update(f"{value.dtype.str} {value.shape}".encode() + value.tobytes())
    else:
        total.update(_text(value).encode())


def _text(value: Any) -> str:
    """A constant as text that is the same in every process; of what is no constant, the kind."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}={value.value!r}"
    if isinstance(value, type) and issubclass(value, Enum):
        return f"{value.__name__}{[_text(member) for member in value]}"
    if isinstance(value, _SIMPLE):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(_text, value))})"
    if isinstance(value, set | frozenset):
        return f"set({', '.join(sorted(map(_text, value)))})"
    if isinstance(value, dict):
        return f"dict({', '.join(sorted(f'{_text(k)}: {_text(v)}' for k, v in value.items()))})"
    return getattr(value, "__qualname__", type(value).__qualname__)


def types_text(item: Any) -> str:
    """Types of arguments as text; of named tuples with the order of their fields, which machine code relies on."""
    if isinstance(item, tuple | list):
        return f"({', '.join(map(types_text, item))})"
    inner = [*getattr(item, "args", ()), *getattr(item, "types", ())]
    fields = getattr(getattr(item, "instance_class", None), "_fields", "")
    return f"{item!r}{fields}{types_text(inner) if inner else ''}"
