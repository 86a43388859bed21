"""Repeatability of fits: of voxels where the grids of the repeats match, and of the medians of regions.

A target is what stays the same between repeats. There are two kinds of rows. ``voxel``: the targets are the voxels of a region, of
all subjects together. ``region``: the targets are the subjects, and each value is the median of the region's voxels.

D* is told of logarithms. Its standard error grows in proportion to it, and its distribution over noise has a long tail to the
right; so a difference of two D* means nothing without its size, and a factor does. f and D keep their scale: f can be 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import make_folder, refuse_existing, written_together
from ivimsc.physics.parameters import BY_KEY
from ivimsc.regions import ALL
from ivimsc.repeat.matching import Repeat, Subject, require_repeats
from ivimsc.repeat.statistics import Agreement, Repeatability, agreement, repeatability
from ivimsc.store import EstimateStore
from ivimsc.tables import fill_table

__all__ = ["LOGARITHMIC", "RepeatJob", "RepeatResult", "RepeatRow", "run_repeat"]

LOGARITHMIC = ("dstar", "dstar2")  # maps whose errors are in proportion to the value
VOXEL, REGION = "voxel", "region"
COLUMNS = ("level", "region", "map", "unit", "scale", "subjects", "repeats", "voxels", "targets", "mean",
           *(f"{name}{end}" for name in ("wsd", "wcv", "rc", "icc") for end in ("", "_low", "_high")), "cv_targets")  # fmt: skip
PAIR_COLUMNS = ("level", "region", "map", "unit", "scale", "first", "second", "targets", "bias", "sd", "limit_low", "limit_high")  # fmt: skip


@dataclass(frozen=True)
class RepeatJob:
    """One run of ``ivimsc repeat``.

    Attributes
    ----------
    repeats : the measurements, those of a subject in their order
    out : folder of the results; default: that of the first estimate store
    names : table of the labels' names; default: one that is called like the labels
    force : overwrite earlier results
    """

    repeats: Sequence[Repeat]
    out: Path | None = None
    names: Path | None = None
    force: bool = False

    @property
    def paths(self) -> list[Path]:
        """The table, the table of pairs, and the two pictures."""
        first = self.repeats[0].estimates
        folder = first.parent if self.out is None else self.out
        ends = ("repeat.csv", "repeat_pairs.csv", "repeat_voxels.png", "repeat_regions.png")
        return [folder / f"{first.stem}_{end}" for end in ends]


class RepeatRow(NamedTuple):
    """One map in one region.

    voxels : that all repeats have, or the fewest behind a median; values : (target, repeat), kept for pictures
    pairs : the first repeat beside each later one, as (first, later, agreement)
    """

    level: str
    region: str
    key: str
    subjects: tuple[str, ...]
    voxels: int
    found: Repeatability
    values: NDArray[np.floating]
    pairs: list[tuple[int, int, Agreement]]


class RepeatResult(NamedTuple):
    """What repeats tell, sentences on them, and the files."""

    rows: list[RepeatRow]
    notes: list[str]
    files: list[Path]


def run_repeat(job: RepeatJob) -> RepeatResult:
    """Tell how well fits repeat: tables and Bland-Altman pictures.

    Parameters
    ----------
    job : what to do

    Raises
    ------
    InputError
        for fewer than two repeats, another number of them for some subjects, fits of different kinds, grids that do not match and
        no labels, and files that exist (without `force`); nothing is written then
    """
    if len(job.repeats) < 2:
        raise InputError(f"estimates: found {len(job.repeats)} estimate store, expected two repeats at least")
    for path in job.paths:
        refuse_existing(path, job.force)
    with ExitStack() as stack:
        subjects = _opened(job, stack)
        notes = require_repeats([fit for subject in subjects for fit in subject.fits])
        keys = [key for key in BY_KEY if all(key in fit.keys for subject in subjects for fit in subject.fits)]
        if not keys:
            raise InputError(f"{job.repeats[0].estimates}: found no map that all fits have, expected one at least")
        rows, more = _all_rows(subjects, keys)
    return RepeatResult(rows, notes + more, _write(job, rows))


def _opened(job: RepeatJob, stack: ExitStack) -> list[Subject]:
    """The subjects of a job, their stores open."""
    ordered = sorted(job.repeats, key=lambda repeat: repeat.subject)  # stable: repeats keep their order
    groups = {name: list(members) for name, members in groupby(ordered, key=lambda repeat: repeat.subject)}
    counts = {name: len(members) for name, members in groups.items()}
    if len(set(counts.values())) > 1 or 1 in counts.values():
        listed = ", ".join(f"{name or 'subject'} {n}" for name, n in counts.items())
        raise InputError(f"estimates: found {listed} repeats, expected the same number for every subject, and two at least")  # fmt: skip
    return [
        Subject(
            name,
            [stack.enter_context(EstimateStore(one.estimates)) for one in members],
            [one.labels for one in members],
            job.names,
        )
        for name, members in groups.items()
    ]


def _all_rows(subjects: list[Subject], keys: list[str]) -> tuple[list[RepeatRow], list[str]]:
    """The rows of voxels, where grids match, and those of regions, where there is more than one target or a region."""
    matching = [subject for subject in subjects if not subject.differs]
    labelled = any(label is not None for subject in subjects for label in subject.labels)
    notes = [f"no voxelwise comparison: {subject.differs}" for subject in subjects if subject.differs]
    if not matching and not labelled:
        raise InputError(f"{subjects[0].differs}; or labels, whose regions can be compared")
    rows = [row for key in keys for row in _voxel_rows(matching, key)] if matching else []
    if labelled or len(subjects) > 1:
        rows += [row for key in keys for row in _region_rows(subjects, key)]
    if not any(row.found.targets for row in rows):
        notes.append("no voxel counts in every repeat: see the map outcome")
    return rows, notes


def _voxel_rows(subjects: list[Subject], key: str) -> Iterator[RepeatRow]:
    """One map: a row for each region, of the voxels of all subjects together."""
    parts: dict[str, list[NDArray]] = {}
    voxels: dict[str, int] = {}
    whose: dict[str, list[str]] = {}
    for subject in subjects:
        values, counted = subject.table(key)
        counted = counted & (values > 0).all(axis=1) if key in LOGARITHMIC else counted
        for region, here in subject.inside().items():
            parts.setdefault(region, []).append(values[here & counted])
            voxels[region] = voxels.get(region, 0) + int(here.sum())
            whose.setdefault(region, []).append(subject.name)
    for region, tables in parts.items():
        yield _row(VOXEL, region, key, tuple(whose[region]), voxels[region], np.concatenate(tables))


def _region_rows(subjects: list[Subject], key: str) -> Iterator[RepeatRow]:
    """One map: a row for each region, of the medians of the subjects."""
    found: dict[str, dict[str, tuple[NDArray, int]]] = {}
    for subject in subjects:
        for region, told in subject.medians(key).items():
            found.setdefault(region, {})[subject.name] = told
    for region, of in found.items():
        if region == ALL and len(subjects) == 1:
            continue  # the voxels of one subject tell it already
        values = np.stack([medians for medians, _ in of.values()])
        yield _row(REGION, region, key, tuple(of), min(n for _, n in of.values()), values)


def _row(level: str, region: str, key: str, subjects: tuple[str, ...], voxels: int, values: NDArray) -> RepeatRow:
    log = key in LOGARITHMIC
    pairs = [(0, j, agreement(values[:, 0], values[:, j], log)) for j in range(1, values.shape[1])]
    kept = values if level == REGION else values.astype(np.float32)  # as stores have them, at half the size
    return RepeatRow(level, region, key, subjects, voxels, repeatability(values, log), kept, pairs)


def _write(job: RepeatJob, rows: list[RepeatRow]) -> list[Path]:
    """The tables, and a picture of voxels and one of regions where there are such rows."""
    from ivimsc.repeat.figure import draw_regions, draw_voxels  # matplotlib is loaded only where something is drawn

    drawers: Mapping[str, Any] = {VOXEL: draw_voxels, REGION: draw_regions}
    levels = [level for level in drawers if any(row.level == level and row.found.targets for row in rows)]
    table, pairs, *pictures = job.paths
    paths = [table, pairs, *(picture for picture, level in zip(pictures, drawers, strict=True) if level in levels)]
    make_folder(table.absolute().parent)
    with written_together(paths, job.force) as temporary:
        fill_table(temporary[0], COLUMNS, map(_cells, rows))
        fill_table(temporary[1], PAIR_COLUMNS, (cells for row in rows for cells in _pair_cells(row)))
        for level, path in zip(levels, temporary[2:], strict=True):
            drawers[level]([row for row in rows if row.level == level], path)
    return paths


def _about(row: RepeatRow) -> list[Any]:
    p = BY_KEY[row.key]
    return [row.level, row.region, row.key, p.unit, "log" if row.key in LOGARITHMIC else "linear"]


def _digits(value: float) -> float:
    return float(f"{value:.7g}")


def _cells(row: RepeatRow) -> list[Any]:
    found = row.found
    numbers = [part for interval in (found.wsd, found.wcv, found.rc, found.icc) for part in interval]
    sizes = [len(row.subjects), found.repeats, row.voxels, found.targets]
    return [*_about(row), *sizes, *map(_digits, [found.mean, *numbers]), found.cv_targets]


def _pair_cells(row: RepeatRow) -> Iterator[list[Any]]:
    for first, second, told in row.pairs:
        numbers = map(_digits, (told.bias, told.sd, told.low, told.high))
        yield [*_about(row), first + 1, second + 1, told.n, *numbers]
