"""The compiled kernels on disk: checked before they are used, and never in the way where there is no place for them.

Numba keeps compiled kernels in files that it reads back unseen: one changed byte may end the process or give wrong numbers, and
a kernel whose helper in another file changed is taken for fresh. So kernels of this package are kept in files of their own:

- a file begins with the SHA-256 of the rest, and what does not match is compiled anew and written over;
- a kernel is fresh only if its source, that of all functions and the values of all constants that it refers to, and the versions of
  Python, Numba and what Numba needs are the same;
- where no folder can be written to, kernels are kept in a temporary folder of this user, or not at all;
- kernels that were compiled ahead (``ivimsc warm-up``) are used from a folder that can be read but not written to.

The checksum finds damage, not malice: whoever may write to the cache folder may run code here, as with the package itself.
"""

import hashlib
import os
import pickle
import stat
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core import caching
from numba.core.serialize import dumps

from ivimsc.compiling.stamp import MAGIC, Stamp, types_text

__all__ = ["CheckedFile", "cache_folder", "cache_note", "guard", "kept_here", "private_folder"]

PACKAGE = Path(__file__).resolve().parents[1]
_DIGEST = 32  # bytes of a SHA-256
_kept: list[str] = []  # kernels that this process has compiled


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
    folder = private_folder()
    return (None, "none") if folder is None else (folder, "temporary")


def private_folder() -> Path | None:
    """A folder of this user alone among the temporary files, for what finds no other place; None where there is none."""
    folder = Path(tempfile.gettempdir()) / f"ivimsc-kernels-{getattr(os, 'getuid', lambda: 0)()}"
    return folder if _is_private(folder) and _is_writable(folder) else None


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


def kept_here() -> bool:
    """Whether this process has compiled a kernel that is to be kept; it may have taken all that it needs from disk."""
    return bool(_kept)


def _folder_of(source: Path, folder: Path | None, kind: str) -> Path:
    """Where the kernels of a source file lie in the place `folder` of that kind (see `cache_folder`)."""
    if folder is None:
        return Path(os.devnull) / "none"  # nothing can be read or written there
    if kind == "package":
        return source.parent / "__pycache__"
    return folder / "_".join(source.resolve().parent.relative_to(PACKAGE.parent).parts)


def _ahead(source: Path) -> list[Path]:
    """Where kernels of a source file may have been kept ahead: in the folder that is given, and with the package.

    A folder that is given and can be written to is the only one.
    """
    if cache_folder()[1] == "given":
        return []
    given = numba.config.CACHE_DIR
    return [_folder_of(source, Path(given) if given else None, "given"), _folder_of(source, PACKAGE, "package")]


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


class CheckedFile:
    """What Numba keeps of one function: a file for each set of types, whose checksum is verified before it is unpickled.

    It takes the place of Numba's ``IndexDataCacheFile``, and has no index that could be damaged or stale.
    """

    def __init__(self, folder: str, base: str, stamp: Stamp) -> None:
        self._base, self._stamp = Path(folder) / base, stamp

    def load(self, key: Any) -> Any:
        """What was saved under `key`; None where there is nothing, it is damaged, or it is not fresh."""
        path = self._path(key)
        for one in (path, *(folder / path.name for folder in self._stamp.ahead if folder != path.parent)):
            if (found := self._load(one)) is not None:
                return found
        return None

    def _load(self, path: Path) -> Any:
        with suppress(Exception):  # whatever is wrong with it: the kernel is compiled anew
            content = path.read_bytes()
            head, body = content[: len(MAGIC) + _DIGEST], content[len(MAGIC) + _DIGEST :]
            if head == MAGIC + hashlib.sha256(body).digest() and body[:_DIGEST] == self._stamp.digest():
                return pickle.loads(body[_DIGEST:])
        return None

    def save(self, key: Any, data: Any) -> None:
        """Keep `data` under `key` if there is a place for it: a full disk stops no fit."""
        path = self._path(key)
        _kept.append(path.name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            body = self._stamp.digest() + dumps(data)
            try:
                with open(temporary, "xb") as file:  # new, and so no link
                    file.write(MAGIC + hashlib.sha256(body).digest() + body)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def flush(self) -> None:
        """Numba's way to forget what was saved: the next load compiles anew."""
        for path in self._base.parent.glob(self._base.name + ".*.kernel"):
            path.unlink(missing_ok=True)

    def _path(self, key: Any) -> Path:
        return self._base.with_name(
            f"{self._base.name}.{hashlib.sha256(types_text(key).encode()).hexdigest()[:20]}.kernel"
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
            self._function, self._source = function, Path(source)
            self._path = _folder_of(self._source, *cache_folder())

        def ensure_cache_path(self) -> None:
            """Nothing: `CheckedFile.save` makes the folder, if it can."""

        def get_cache_path(self) -> str:
            return str(self._path)

        def get_source_stamp(self) -> Stamp:
            return Stamp(self._function, _ahead(self._source))

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
