"""Masks and labels that another pipeline made: found in its derivatives by the entities of their names."""

from collections.abc import Mapping
from pathlib import Path

from ivimsc.bids.finding import Series
from ivimsc.bids.names import Dataset, Name
from ivimsc.errors import InputError

__all__ = ["find_derived", "labels_of"]

OF_THE_RESULT = {"desc", "label", "space", "seg", "res", "den", "atlas"}  # entities that a source need not have
NATIVE = {"dwi", "orig", "native", "individual", "ACPC", "scanner"}  # spaces that may be that of the series


def find_derived(derivatives: Dataset, series: Series, suffix: str, parameter: str) -> Path:
    """The one file of a derivative that belongs to a series.

    It lies in the folder of the subject, or of the session, and every entity of its name that tells a source is one of the
    series. Of several, that with the most of these entities is taken, and of several masks the one of the brain.

    Parameters
    ----------
    derivatives : the derivative
    series : what the file is for
    suffix : ``mask`` or ``dseg``
    parameter : what names the derivative, for errors

    Raises
    ------
    InputError
        where there is none, or more than one
    """
    found: dict[int, list[tuple[Path, Name]]] = {}
    for folder in _folders(derivatives, series):
        for path, name in derivatives.files(folder):
            if name.suffix == suffix and name.extension in (".nii", ".nii.gz") and _belongs(name, series.entities):
                found.setdefault(len(name.entities.keys() - OF_THE_RESULT), []).append((path, name))
    best = found[max(found)] if found else []
    brain = [pair for pair in best if pair[1].entities.get("desc") == "brain"]
    best = brain if len(best) > 1 and len(brain) == 1 else best
    if len(best) != 1:
        names = ", ".join(path.name for path, _ in best) or "none"
        raise InputError(f"{parameter}: found {names} in {derivatives.root} for {series.relative}, expected one file …_{suffix}.nii.gz")  # fmt: skip
    return best[0][0]


def labels_of(series: Series, derivatives: Dataset | None) -> tuple[Path | None, Path | None, str]:
    """The labels of a series.

    Parameters
    ----------
    series : what the labels are for
    derivatives : where they are; None where none are asked for

    Returns
    -------
    the labels, the table of their names that applies by inheritance, and why there are none though they were asked for; None and an
    empty text for what there is not
    """
    if derivatives is None:
        return None, None, ""
    try:
        labels = find_derived(derivatives, series, "dseg", "labels_from")
        tables = derivatives.inherited(labels, ".tsv")
    except InputError as error:
        return None, None, str(error)
    return labels, tables[-1] if tables else None, ""


def _folders(derivatives: Dataset, series: Series) -> list[Path]:
    """Where files of a series may lie: beside images of any kind of its session, or of its subject."""
    subject = derivatives.root / f"sub-{series.subject}"
    levels = [subject / f"ses-{series.session}", subject] if series.session else [subject]
    return [folder for level in levels if level.is_dir() for folder in derivatives.folders(level, "") if not folder.name.startswith("ses-")]  # fmt: skip


def _belongs(name: Name, of: Mapping[str, str]) -> bool:
    """Whether a result of this name can be one of a series with the entities `of`."""
    space = name.entities.get("space")
    if space is not None and space not in NATIVE and space != of.get("space"):
        return False
    source = {key: value for key, value in name.entities.items() if key not in OF_THE_RESULT}
    return source.items() <= of.items() and name.entities.get("sub") == of["sub"]
