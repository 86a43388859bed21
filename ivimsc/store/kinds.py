"""What files of ivimsc have to hold: types, shapes, checksums; and the one line for what does not hold."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import Spectrum
from ivimsc.outcome import Outcome
from ivimsc.store.reading import Damaged, File, Table
from ivimsc.store.reading.tables import Checksum

__all__ = [
    "CHECKSUMS",
    "Attributes",
    "Damaged",
    "checked",
    "checksum_of_attributes",
    "damaged",
    "expect_checksums",
    "first_line",
    "require_attrs",
    "require_bvalues",
    "require_kind",
    "require_known",
    "require_spectrum",
]

CHECKSUMS = "checksums"  # attribute: JSON, the checksum of every table, and of the other attributes under "attributes"
MOST_BVALUES = 10_000  # of a scan
SMALL = 2**16  # bytes of tables that are compared with their checksum when a file is opened


class Attributes(dict):
    """Name -> value of what a file says of itself, with the kind that is expected."""

    def of_kind(self, name: str, *kinds: type) -> Any:
        """The value of that name; Damaged for one of another kind."""
        value = self[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise Damaged(f"{name} of another kind, expected {' or '.join(kind.__name__ for kind in kinds)}")
        return value

    def text(self, name: str) -> str:
        """A text."""
        return self.of_kind(name, str)

    def numbers(self, name: str, *shape: int) -> NDArray[np.float64]:
        """Finite numbers of a shape."""
        values = np.asarray(self.of_kind(name, np.ndarray), np.float64)
        if values.shape != shape or not np.isfinite(values).all():
            raise Damaged(f"{name} of shape {values.shape}, expected finite numbers {shape}")
        return values

    def json(self, name: str, kind: type) -> Any:
        """A list or an object that is written as JSON."""
        try:
            value = json.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            raise Damaged(f"{name} that is no JSON text") from error
        if not isinstance(value, kind):
            raise Damaged(f"{name} of another kind, expected a {kind.__name__}")
        return value


def require_kind(table: Any, kind: str, shape: tuple[int | None, ...]) -> None:
    """Refuse what is no table of a kind (i, u, f) and shape, of which None may be any length (Damaged)."""
    if not isinstance(table, Table):
        raise Damaged("a group where a table should be")
    fits = table.ndim == len(shape) and all(n in (None, found) for n, found in zip(shape, table.shape, strict=True))
    if table.dtype.kind not in kind or not fits:
        raise Damaged(f"{table.name} of type {table.dtype} and shape {table.shape}")


def require_bvalues(bvalues: NDArray) -> NDArray[np.float64]:
    """b-values (b,) as stores have them: finite, not below 0, ascending and distinct; else Damaged."""
    ascending = bvalues.ndim == 1 and len(bvalues) <= MOST_BVALUES and (np.diff(bvalues) > 0).all()
    if not ascending or not np.isfinite(bvalues).all() or (bvalues < 0).any():
        raise Damaged(f"b-values that are not ascending numbers from 0 on, at most {MOST_BVALUES:,}")
    return bvalues


def require_attrs(attrs: Mapping[str, Any]) -> None:
    """Refuse what methods and stages read among the attrs of a store where it is of another kind (Damaged)."""
    notes, sigma, repeats = attrs.get("notes", []), attrs.get("sigma", 0.0), attrs.get("repeats")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise Damaged("notes of another kind, expected a list of texts")
    if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not np.isfinite(sigma):
        raise Damaged("sigma of another kind, expected a finite number")
    if repeats is not None and not (isinstance(repeats, list) and all(isinstance(n, int | float) for n in repeats)):
        raise Damaged("repeats of another kind, expected a list of numbers")
    if not isinstance(attrs.get("noise", ""), str):
        raise Damaged("noise of another kind, expected a text")


def require_known(outcome: NDArray[np.uint8]) -> None:
    """Refuse outcomes (voxel,) that there are not (Damaged)."""
    if outcome.max() >= len(Outcome):
        raise Damaged(f"an outcome {outcome.max()}, expected 0 to {len(Outcome) - 1}")


def require_spectrum(file: Any, n: int) -> None:
    """Refuse a spectrum of `n` voxels or a dictionary whose tables are not those of one (Damaged)."""
    if "dictionary" in file:
        for name in ("d", "dstar"):
            require_kind(file["dictionary"][name], "f", (None,))
        if "atoms" in file["dictionary"]:
            require_kind(file["dictionary"]["atoms"], "f", (None, None))
    if "spectrum" in file:
        data, indices, indptr = (file["spectrum"][name] for name in Spectrum._fields)
        for table, kind, length in ((data, "f", None), (indices, "i", len(data)), (indptr, "i", n + 1)):
            require_kind(table, kind, (length,))
        if "dictionary" not in file:
            raise Damaged("a spectrum without its dictionary")


def checksum_of_attributes(attributes: Mapping[str, Any]) -> str:
    """The checksum of attributes, of all but the checksums themselves."""
    plain = {name: getattr(value, "tolist", lambda v=value: v)() for name, value in attributes.items()}
    plain.pop(CHECKSUMS, None)
    return Checksum.of([json.dumps(plain, sort_keys=True).encode()])


def expect_checksums(file: File) -> bool:
    """Compare the checksum of the attributes, and let all tables know theirs; False for files that have none.

    Raises
    ------
    Damaged
        where they do not agree, and where a table has none
    """
    if CHECKSUMS not in file.attrs:
        return False
    sums, tables = Attributes(file.attrs).json(CHECKSUMS, dict), file.tables()
    if sums.pop("attributes", None) != checksum_of_attributes(file.attrs):
        raise Damaged("attributes that do not agree with their checksum")
    if odd := sorted(sums.keys() ^ tables.keys()):
        raise Damaged(f"{odd[0]}, which {'was not written' if odd[0] in tables else 'is not there'}")
    for name, table in tables.items():
        table.expect(Attributes(sums).text(name))
        if table.nbytes <= SMALL:
            table.verify()
    return True


def damaged(path: Path, text: str) -> InputError:
    """The error for a damaged store."""
    return InputError(f"{path}: found a damaged store ({text[:200]}), expected a whole one")


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """Tell in one line what cannot be found or read in a store; use as a context manager.

    Parameters
    ----------
    path : of the store

    Raises
    ------
    InputError
        for a damaged store
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, OSError, ValueError, RuntimeError, TypeError, AttributeError, ArithmeticError) as error:
        raise damaged(path, first_line(error)) from error


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error.args[-1] if error.args else error).splitlines() or [type(error).__name__])[0]
