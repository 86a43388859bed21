"""The data set that a study writes: where it may lie, and the files at its root that say what it is."""

import json
import os
import time
from pathlib import Path
from typing import Any

from ivimsc import __version__
from ivimsc.errors import InputError
from ivimsc.files import make_folder, written_whole
from ivimsc.maps import describe_dataset
from ivimsc.regular import read_text
from ivimsc.text import one_line, strict_json

__all__ = ["BEP016", "RAW", "make_root", "require_place"]

RAW = "raw"  # what BIDS URIs call the source: bids:raw:sub-01/dwi/…
BEP016 = "BEP016 (diffusion derivatives), draft of 15 September 2025"
_DESCRIPTION, _TRIES, _WAIT = "dataset_description.json", 40, 0.05  # s
_IGNORED = f"""# {BEP016}: these names are not yet in BIDS
*_dwimap.nii.gz
*_dwimap.json
# estimate stores of ivimsc and their records, pages, pictures and tables
*.h5
*.h5.json
*.h5.part*
*.html
*.png
group_*
logs/
"""
_README = f"""IVIM parameter maps, made by ivimsc {__version__}.

sub-*/…/dwi/*_model-ivim_desc-METHOD_param-KEY_dwimap.nii.gz   maps, named as {BEP016}
sub-*/…/dwi/*_METHOD.h5                                        the same estimates in one file, for ivimsc roi, report and repeat
sub-*.html, group.html                                         what was fitted, and how it ended

param: s0, f (perfusion fraction), d (mm^2/s), dstar (mm^2/s), rmse, outcome (how the fit of the voxel ended), and standard errors.
Voxels that could not be fitted are NaN; outside the mask all maps are 0.
"""


def require_place(root: Path, out: Path) -> None:
    """Refuse an output folder within the data set, but for ``derivatives/NAME``, where BIDS has it.

    Parameters
    ----------
    root : of the data set that is read
    out : of the results

    Raises
    ------
    InputError
        for the data set itself and any other folder within it, for a file, and for a data set of something else
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: found a file, expected a folder for the results")
    inside, within = out.resolve(), root.resolve()
    if inside == within or (inside.is_relative_to(within) and inside.relative_to(within).parts[0] != "derivatives"):
        raise InputError(f"{out}: found a folder within the data set {root}, expected one outside, or {root / 'derivatives' / 'ivimsc'}")  # fmt: skip
    if inside == within / "derivatives":
        raise InputError(f"{out}: found the folder of all derivatives, expected one of its own: {out / 'ivimsc'}")
    about = out / _DESCRIPTION
    if about.exists():
        made = [one_line(step.get("Name", "")) for step in _listed(read_json(about).get("GeneratedBy"))]
        if "ivimsc" not in made:
            raise InputError(f"{out}: found a data set made by {', '.join(made) or 'somebody else'}, expected a new folder or one of ivimsc")  # fmt: skip


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    InputError
        for a file that cannot be read, and for JSON of another kind
    """
    try:
        content = json.loads(read_text(path, "a JSON file"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: found no JSON ({one_line(error)}), expected an object of JSON") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: found JSON of another kind, expected an object")
    return content


def make_root(root: Path, out: Path) -> list[str]:
    """Make the folder of the results, with the files that describe it; those that are there stay as they are.

    Parameters
    ----------
    root : of the data set that is read
    out : of the results

    Returns
    -------
    notes on the data set that is read

    Raises
    ------
    InputError
        for a folder that cannot be written to
    """
    make_folder(out)
    source, notes = _source(root)
    name = one_line(source.get("Name") or root.resolve().name)
    link = Path(os.path.relpath(root.resolve(), out.resolve())).as_posix()
    origin = {key: source[field] for key, field in (("DOI", "DatasetDOI"), ("Version", "DatasetVersion")) if isinstance(source.get(field), str)}  # fmt: skip
    about = describe_dataset(f"IVIM parameter maps of {name}", SourceDatasets=[{"URL": link, **origin}])
    about["GeneratedBy"][0]["Description"] = f"fits of the IVIM model; names as {BEP016}"
    about |= {"DatasetLinks": {RAW: link}}
    words = json.dumps(strict_json(about), indent=2, ensure_ascii=False) + "\n"
    for name, text in ((_DESCRIPTION, words), (".bidsignore", _IGNORED), ("README", _README)):
        _write_once(out / name, text)
    return notes


def _source(root: Path) -> tuple[dict[str, Any], list[str]]:
    """What the data set that is read says of itself; a description that is missing or damaged stops no study."""
    path = root / _DESCRIPTION
    try:
        return read_json(path), []
    except InputError as error:
        return {}, [f"{error}; the study goes on without it"]


def _write_once(path: Path, text: str) -> None:
    """Write a file where there is none; processes that start together on one folder write it once."""
    for _ in range(_TRIES):
        if path.exists():
            return
        try:
            with written_whole(path) as part:
                part.write_text(text, encoding="utf-8")
            return
        except InputError:  # another process writes it now, or has written it
            time.sleep(_WAIT)
    if not path.exists():
        with written_whole(path) as part:  # no other process: the error is of this folder
            part.write_text(text, encoding="utf-8")


def _listed(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
