"""The compiled kernels on disk: checked before they are used, and never in the way where there is no place for them.

Numba keeps compiled kernels in files that it reads back unseen: one changed byte may end the process or give wrong numbers, and
a kernel whose helper in another file changed is taken for fresh. So kernels of this package are kept in files of their own:

- a file begins with the SHA-256 of the rest, and what does not match is compiled anew and written over;
- a kernel is fresh only if its source, that of all functions and the values of all constants that it refers to, and the versions of
  Python, Numba and what Numba needs are the same;
- where no folder can be written to, kernels are kept in a temporary folder of this user, or not at all.

The checksum finds damage, not malice: whoever may write to the cache folder may run code here, as with the package itself.
"""

import hashlib
import os
import pickle
import platform
import stat
import sys
import tempfile
from contextlib import suppress
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numba.core import caching
from numba.core.serialize import dumps

__all__ = ["CheckedFile", "Stamp", "cache_folder", "cache_note", "guard"]

PACKAGE = Path(__file__).resolve().parents[1]
_MAGIC = b"ivimsc-kernel-1\n"
_DIGEST = 32  # bytes of a SHA-256
_SIMPLE = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype)


@cache
def cache_folder() -> tuple[Path | None, str]:
    """Where kernels are kept, None for nowhere, and which kind of place that is: given, package, user, temporary or none.

    Beside the package, every kernel lies in the ``__pycache__`` of its own folder.
    """
    given = numba.config.CACHE_DIR
    places = [(Path(given) if given else None, "given"), (PACKAGE / "__pycache__", "package"), (_user_folder(), "user")]
    for folder, kind in places:
        if folder is not None and _is_writable(folder):
            return folder, kind
    folder = Path(tempfile.gettempdir()) / f"ivimsc-kernels-{getattr(os, 'getuid', lambda: 0)()}"
    return (folder, "temporary") if _is_private(folder) and _is_writable(folder) else (None, "none")


def cache_note() -> str:
    """A sentence for the user where compiled kernels are not kept as usual; else empty."""
    folder, kind = cache_folder()
    if kind == "temporary":
        return (
            f"no cache folder can be written to: compiled kernels are kept in {folder}; NUMBA_CACHE_DIR names another"
        )
    if kind == "none":
        return "no cache folder can be written to: kernels are compiled anew each time; NUMBA_CACHE_DIR names a folder"
    return ""


def _user_folder() -> Path | None:
    with suppress(RuntimeError, KeyError):  # no home
        if sys.platform in ("win32", "darwin"):
            return Path.home() / ("AppData/Local" if sys.platform == "win32" else "Library/Caches") / "ivimsc"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ivimsc"
    return None


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # a file system that is read-only tells so only when one tries
    except OSError:
        return False
    return True


def _is_private(folder: Path) -> bool:
    """Whether a folder in a place that everybody writes to is ours alone; it is made where it is not there."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = os.lstat(folder)
    except OSError:
        return False
    if os.name == "nt":  # the temporary folder is the user's own there
        return stat.S_ISDIR(found.st_mode)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


class Stamp:
    """What a compiled function depends on beside its types: computed when it is first asked for.

    When a function is decorated, those that come after it in the file are not there yet.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function
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
    found = [_MAGIC.decode(), platform.python_version(), platform.python_implementation()]
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


def _types_text(item: Any) -> str:
    """Types of arguments as text; of named tuples with the order of their fields, which machine code relies on."""
    if isinstance(item, tuple | list):
        return f"({', '.join(map(_types_text, item))})"
    inner = [*getattr(item, "args", ()), *getattr(item, "types", ())]
    fields = getattr(getattr(item, "instance_class", None), "_fields", "")
    return f"{item!r}{fields}{_types_text(inner) if inner else ''}"


class CheckedFile:
    """What Numba keeps of one function: a file for each set of types, whose checksum is verified before it is unpickled.

    It takes the place of Numba's ``IndexDataCacheFile``, and has no index that could be damaged or stale.
    """

    def __init__(self, folder: str, base: str, stamp: Stamp) -> None:
        self._base, self._stamp = Path(folder) / base, stamp

    def load(self, key: Any) -> Any:
        """What was saved under `key`; None where there is nothing, it is damaged, or it is not fresh."""
        with suppress(Exception):  # whatever is wrong with it: the kernel is compiled anew
            content = self._path(key).read_bytes()
            head, body = content[: len(_MAGIC) + _DIGEST], content[len(_MAGIC) + _DIGEST :]
            if head == _MAGIC + hashlib.sha256(body).digest() and body[:_DIGEST] == self._stamp.digest():
                return pickle.loads(body[_DIGEST:])
        return None

    def save(self, key: Any, data: Any) -> None:
        """Keep `data` under `key` if there is a place for it: a full disk stops no fit."""
        path = self._path(key)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            body = self._stamp.digest() + dumps(data)
            try:
                with open(temporary, "xb") as file:  # new, and so no link
                    file.write(_MAGIC + hashlib.sha256(body).digest() + body)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def flush(self) -> None:
        """Numba's way to forget what was saved: the next load compiles anew."""
        for path in self._base.parent.glob(self._base.name + ".*.kernel"):
            path.unlink(missing_ok=True)

    def _path(self, key: Any) -> Path:
        return self._base.with_name(
            f"{self._base.name}.{hashlib.sha256(_types_text(key).encode()).hexdigest()[:20]}.kernel"
        )


def guard(module: Any) -> None:
    """Let a caching module of Numba, that of the CPU or that of CUDA, keep kernels of this package in a `CheckedFile`.

    Functions of other packages are kept as before. Where Numba is built in another way than is known here, nothing changes.
    """
    if not (hasattr(module, "IndexDataCacheFile") and hasattr(module.CacheImpl, "_locator_classes")):
        return
    plain = module.IndexDataCacheFile
    if getattr(plain, "checks_ivimsc", False):
        return

    class Place(module._CacheLocator):
        """Where the kernels of one source file of this package are kept."""

        def __init__(self, function: FunctionType, source: str) -> None:
            self._function = function
            folder, kind = cache_folder()
            self._path = Path(source).parent / "__pycache__" if kind == "package" else folder
            if self._path is None:
                self._path = Path(os.devnull) / "none"  # nothing can be read or written there
            elif kind != "package":
                self._path /= "_".join(Path(source).resolve().parent.relative_to(PACKAGE.parent).parts)

        def ensure_cache_path(self) -> None:
            """Nothing: `CheckedFile.save` makes the folder, if it can."""

        def get_cache_path(self) -> str:
            return str(self._path)

        def get_source_stamp(self) -> Stamp:
            return Stamp(self._function)

        def get_disambiguator(self) -> str:
            return str(self._function.__code__.co_firstlineno)

        @classmethod
        def from_function(cls, function: FunctionType, source: str) -> Any:
            return cls(function, source) if PACKAGE in Path(source).resolve().parents else None

    def make_file(cache_path: str, filename_base: str, source_stamp: Any) -> Any:
        kind = CheckedFile if isinstance(source_stamp, Stamp) else plain
        return kind(cache_path, filename_base, source_stamp)

    make_file.checks_ivimsc = True
    module.IndexDataCacheFile = make_file
    module.CacheImpl._locator_classes = [Place, *module.CacheImpl._locator_classes]


guard(caching)
