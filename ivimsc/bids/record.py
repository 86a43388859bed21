"""Whether a fit of a study is complete: told by content, and not by the existence of files alone.

A record lies beside each estimate store, ``NAME_METHOD.h5.json``. It is written last. It holds the checksums of all that the fit
was made from (images, b-values, mask, files that options name), the method, every option, and the version; and the checksums of
all that it made. A fit is complete where all of them are as they would be now.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ivimsc import __version__
from ivimsc.bids.dataset import read_json
from ivimsc.errors import InputError
from ivimsc.files import written_whole
from ivimsc.methods import find_method, make_options
from ivimsc.regular import open_regular
from ivimsc.store.journal import to_json

__all__ = ["difference", "expected_record", "read_record", "record_path", "write_record"]

FORMAT = 1


def record_path(store: Path) -> Path:
    """Where the record of an estimate store lies."""
    return store.with_name(store.name + ".json")


def expected_record(inputs: Mapping[str, Path | str], method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of a complete fit says of where it came from.

    Parameters
    ----------
    inputs : what each is -> the file, or a word in its place (``auto``)
    method, settings : its name, and its options

    Raises
    ------
    InputError
        for files that cannot be read, and for bad options
    """
    options = vars(make_options(find_method(method).load(), settings))
    named = {f"option {key}": Path(value) for key, value in options.items() if isinstance(value, str) and Path(value).is_file()}  # fmt: skip
    sums = {what: sha256_of(file) if isinstance(file, Path) else file for what, file in {**inputs, **named}.items()}
    about = {"format": FORMAT, "method": method, "options": options, "ivimsc_version": __version__, "inputs": sums}
    return json.loads(to_json(about))  # as the file has it: tuples are lists there


def sha256_of(path: Path) -> str:
    """SHA-256 of the content of a regular file; InputError where it cannot be read."""
    with open_regular(path, "a file that can be read") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_record(store: Path) -> dict[str, Any] | None:
    """The record of an estimate store; None where there is none, or none that ivimsc writes."""
    try:
        record = read_json(record_path(store))
    except InputError:
        return None
    found = record.get("found")
    kinds = {"series": str, "notes": list, "outcomes": dict, "seconds": float | int, "about": dict}
    good = isinstance(found, dict) and all(isinstance(found.get(key), kind) for key, kind in kinds.items())
    return record if good and record.get("format") == FORMAT and isinstance(record.get("method"), str) else None


def write_record(
    store: Path, expected: Mapping[str, Any], made: Sequence[Path], found: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the record of a fit, the last of its files.

    Parameters
    ----------
    store : the estimate store
    expected : from `expected_record`
    made : all files of the fit, in the folder of the store
    found : what there is to tell of the fit; JSON types

    Returns
    -------
    the record
    """
    record = {**expected, "found": dict(found), "made": {path.name: sha256_of(path) for path in made}}
    with written_whole(record_path(store), force=True) as part:
        part.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return record


def difference(record: Mapping[str, Any], expected: Mapping[str, Any], folder: Path) -> tuple[str, bool]:
    """What sets a fit apart from the one that is wanted.

    Parameters
    ----------
    record : of the fit
    expected : of the one that is wanted
    folder : of its files

    Returns
    -------
    words
        what differs; empty where the fit is complete
    other
        it is a fit of other data, options or version; False where it is the same fit and a file of it is gone or damaged
    """
    for key in ("method", "ivimsc_version", "options", "inputs"):
        found, wanted = record.get(key), expected[key]
        if found != wanted:
            return _words(key, found, wanted), True
    made = record.get("made")
    for name, checksum in made.items() if isinstance(made, dict) else [("its list of files", "")]:
        path = folder / name
        if not path.is_file():
            return f"{name} is gone", False
        if sha256_of(path) != checksum:
            return f"{name} was changed", False
    return "", False


def _words(key: str, found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
        if key == "inputs":
            return f"the result of another {' and '.join(names)}"
        pairs = ", ".join(f"{name} = {found.get(name)} and not {wanted.get(name)}" for name in names)
        return f"the result of other options: {pairs}"
    return f"the result of {key.removeprefix('ivimsc_')} {found} and not {wanted}"
