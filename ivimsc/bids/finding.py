"""The diffusion series of a data set: which of them are fit for IVIM, and why the others are left out.

IVIM needs at least four b-values, one of them between b = 0 and 200 s/mm², where blood decays, and one from there on,
where tissue is left. A series of a DTI protocol (0, 1000, 2000, 3000) has four b-values and tells nothing of f and D*.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ivimsc.bids.names import Dataset, Name
from ivimsc.errors import InputError, IvimscError
from ivimsc.nifti import read_shape
from ivimsc.physics.bvalue_text import read_bval
from ivimsc.physics.protocol import Protocol
from ivimsc.regular import read_text

__all__ = ["FEWEST", "SPLIT", "Series", "find_series", "find_subjects", "open_dataset"]

FEWEST = 4  # distinct b-values
SPLIT = 200.0  # s/mm²: below it blood adds to the signal, from there on tissue alone is left
PARTS = ("phase", "real", "imag")  # of complex images: no magnitudes


@dataclass(frozen=True)
class Series:
    """One diffusion series.

    Attributes
    ----------
    path : of the images
    relative : the same within the data set, with slashes
    entities : of its name
    bval : its b-values; None where it has none
    bvalues : the distinct ones [s/mm²]
    about : what its JSON files say
    notes : what was found while its companions were read
    reason : why it is not fitted; empty where it is fit for IVIM
    bad : the reason is a damaged file, and no protocol of another kind
    """

    path: Path
    relative: str
    entities: Mapping[str, str]
    bval: Path | None = None
    bvalues: tuple[float, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str = ""
    bad: bool = False

    @property
    def subject(self) -> str:
        return self.entities["sub"]

    @property
    def session(self) -> str:
        return self.entities.get("ses", "")

    @property
    def stem(self) -> str:
        """How the names of its maps begin: that of the series without ``desc``, which tells the method there."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items() if key != "desc")


def open_dataset(root: Path) -> Dataset:
    """The data set in a folder.

    Raises
    ------
    InputError
        for a folder that is missing, and for one without subjects
    """
    if not root.is_dir():
        raise InputError(f"{root}: found {'a file' if root.exists() else 'no such folder'}, expected a BIDS data set")
    dataset = Dataset(root)
    if not dataset.folders(root, "sub-"):
        raise InputError(f"{root}: found no folder sub-…, expected a BIDS data set with at least one subject")
    return dataset


def find_subjects(dataset: Dataset, participants: Sequence[str] = ()) -> list[str]:
    """The labels of the subjects of a data set, of those wanted, sorted; InputError for one that there is not."""
    folders = _chosen(dataset.folders(dataset.root, "sub-"), participants, "sub-", "participant_label")
    return [folder.name.removeprefix("sub-") for folder in folders]


def find_series(dataset: Dataset, participants: Sequence[str] = (), sessions: Sequence[str] = ()) -> list[Series]:
    """Every diffusion series of a data set, those that are left out among them.

    Parameters
    ----------
    dataset : to look through
    participants, sessions : labels of those wanted, with or without ``sub-`` and ``ses-``; default: all

    Returns
    -------
    the series, sorted by subject, session and name

    Raises
    ------
    InputError
        for a label that the data set does not have
    """
    subjects = [dataset.root / f"sub-{label}" for label in find_subjects(dataset, participants)]
    folders, known = [], []
    for subject in subjects:
        of_subject = dataset.folders(subject, "ses-")
        known += of_subject
        folders += of_subject if sessions else [subject, *of_subject]
    if sessions:
        folders = _chosen(folders, sessions, "ses-", "session_label")
    found = []
    for folder in folders:
        for path, name in dataset.files(folder / "dwi"):
            if name.suffix == "dwi" and name.extension in (".nii", ".nii.gz"):
                found.append(_series(dataset, path, name, folder))
    return _without_twins(found)


def _chosen(folders: list[Path], labels: Sequence[str], prefix: str, parameter: str) -> list[Path]:
    """The folders of some labels, all without labels."""
    if not labels:
        return folders
    wanted = {label.removeprefix(prefix) for label in labels}
    known = sorted({folder.name.removeprefix(prefix) for folder in folders})
    unknown = sorted(wanted - set(known))
    if unknown:
        shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "") or "none"
        raise InputError(f"{parameter}: found {', '.join(unknown)}, expected some of {shown}")
    return [folder for folder in folders if folder.name.removeprefix(prefix) in wanted]


def _series(dataset: Dataset, path: Path, name: Name, folder: Path) -> Series:
    """A series with its companions, or why it is left out."""
    series = Series(path, path.relative_to(dataset.root).as_posix(), name.entities)
    own = folder.name.partition("-")[::2]
    if name.entities.get(own[0]) != own[1] or "sub" not in name.entities:
        subject = next(part for part in path.relative_to(dataset.root).parts if part.startswith("sub-"))
        series = replace(series, entities={"sub": subject[4:], **name.entities})
        return replace(series, reason=f"its name does not say that it is of {folder.name}", bad=True)
    try:
        series = replace(series, **_described(dataset, path))
        return _with_bvalues(dataset, series)
    except InputError as error:
        return replace(series, reason=str(error), bad=True)
    except IvimscError as error:  # of the hardware
        return replace(series, reason=str(error), bad=True)


def _described(dataset: Dataset, path: Path) -> dict[str, Any]:
    """What the JSON files of a series say, the nearer ones last; one that cannot be read is told, for no fit needs it."""
    about: dict[str, Any] = {}
    notes = []
    for file in dataset.inherited(path, ".json"):
        try:
            content = json.loads(read_text(file, "a JSON file"))
            if not isinstance(content, dict):
                raise ValueError("no object")
            about |= content
        except (InputError, ValueError, RecursionError) as error:
            found = str(error).removeprefix(f"{file}: ")
            notes.append(f"{file.relative_to(dataset.root)}: cannot be read ({found}); the series is used without it")
    return {"about": about, "notes": tuple(notes)}


def _with_bvalues(dataset: Dataset, series: Series) -> Series:
    """The series with its b-values, or the reason why they are not fit for IVIM."""
    part = series.entities.get("part", "")
    if part in PARTS:
        return replace(series, reason=f"part-{part}: no magnitude images")
    shape = [n for k, n in enumerate(read_shape(series.path)) if k < 3 or n > 1]
    if len(shape) < 4:
        return replace(series, reason="one image, no series")
    files = dataset.inherited(series.path, ".bval")
    if not files:
        return replace(series, reason="no .bval file")
    values = read_bval(files[-1])
    if len(values) != shape[3]:
        raise InputError(f"{files[-1]}: found {len(values)} b-values, expected {shape[3]}, the volumes in {series.path.name}")  # fmt: skip
    bvalues = Protocol.from_volumes(values, str(files[-1])).bvalues
    series = replace(series, bval=files[-1], bvalues=tuple(float(b) for b in bvalues))
    return replace(series, reason=_unfit(bvalues))


def _unfit(bvalues: np.ndarray) -> str:
    """Why these b-values are not fit for IVIM; empty where they are."""
    listed = ", ".join(f"{b:g}" for b in bvalues)
    if len(bvalues) < FEWEST:
        return f"{len(bvalues)} b-values ({listed} s/mm²), fewer than {FEWEST}"
    if not np.any((bvalues[1:] > 0) & (bvalues[1:] < SPLIT)):
        return f"no b-value between the smallest and {SPLIT:g} s/mm² ({listed}): nothing tells f and D*"
    if not np.any(bvalues >= SPLIT):
        return f"no b-value of {SPLIT:g} s/mm² or more ({listed}): nothing tells D from D*"
    return ""


def _without_twins(found: list[Series]) -> list[Series]:
    """Two series whose results would have one name (.nii beside .nii.gz, desc-a beside desc-b) are refused, both."""
    times: dict[tuple[str, str], list[str]] = {}
    for series in found:
        times.setdefault((series.path.parent.as_posix(), series.stem), []).append(series.path.name)
    result = []
    for series in found:
        names = times[series.path.parent.as_posix(), series.stem]
        if len(names) > 1 and not series.reason:
            others = " and ".join(name for name in names if name != series.path.name)
            series = replace(series, reason=f"its results would have the same names as those of {others}", bad=True)
        result.append(series)
    return result
