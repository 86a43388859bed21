"""From estimate stores to tables of repeats: whose they are, which voxels they have in common, and which of them count."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.nifti import require_same_place
from ivimsc.regions import ALL, regions_of, usable
from ivimsc.regular import read_text
from ivimsc.store import EstimateStore
from ivimsc.text import one_line

__all__ = ["Repeat", "Subject", "by_names", "read_table", "require_repeats"]


class Repeat(NamedTuple):
    """One measurement: whose it is, its estimate store, and the labels of its regions."""

    subject: str
    estimates: Path
    labels: Path | None = None


def by_names(estimates: Sequence[Path], labels: Sequence[Path] = ()) -> list[Repeat]:
    """The measurements behind estimate stores: one subject's, or each that of the ``sub-LABEL`` that its name begins with.

    Parameters
    ----------
    estimates : stores, the repeats of a subject in their order
    labels : none, one for all, or one for each

    Raises
    ------
    InputError
        for another number of labels
    """
    if len(labels) not in (0, 1, len(estimates)):
        raise InputError(f"labels: found {len(labels)} files, expected one, or one for each of the {len(estimates)} estimate stores")  # fmt: skip
    given = [None] * len(estimates) if not labels else list(labels) * (len(estimates) if len(labels) == 1 else 1)
    names = [path.name.partition("_")[0] for path in estimates]
    told = all(name.startswith("sub-") for name in names)
    return [Repeat(name if told else "", path, one) for name, path, one in zip(names, estimates, given, strict=True)]


def read_table(path: Path) -> list[Repeat]:
    """Read which measurements belong together.

    Parameters
    ----------
    path : table with the columns ``subject``, ``estimates`` and perhaps ``labels``, apart by commas (.csv) or tabs (.tsv); files
        are named as seen from the table

    Raises
    ------
    InputError
        for a table without these columns, and for empty cells
    """
    text = read_text(path, "a table of repeats")
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    columns = set(rows[0]) if rows else set()
    if not {"subject", "estimates"} <= columns:
        found = ", ".join(one_line(name) for name in columns if name) or "no rows"
        raise InputError(f"{path}: found {found}, expected a table with the columns subject and estimates")
    repeats = []
    for number, row in enumerate(rows, 2):
        subject, estimates, labels = ((row.get(name) or "").strip() for name in ("subject", "estimates", "labels"))
        if not subject or not estimates:
            raise InputError(f"{path}: found an empty cell in row {number}, expected a subject and its estimates")
        repeats.append(Repeat(subject, path.parent / estimates, path.parent / labels if labels else None))
    return repeats


def require_repeats(fits: Sequence[EstimateStore]) -> list[str]:
    """Refuse fits whose differences would tell of something else than repeatability; sentences on what differs and may.

    Raises
    ------
    InputError
        for another method or other b-values, and for one scan that comes twice
    """
    first, notes = fits[0], []
    seen: dict[str, Path] = {}
    for fit in fits:
        if fit.method != first.method:
            raise InputError(f"{fit.path}: found a fit by {fit.method}, expected {first.method} as in {first.path}: repeats are fitted in one way")  # fmt: skip
        if len(fit.bvalues) != len(first.bvalues) or not np.allclose(fit.bvalues, first.bvalues, rtol=0.01, atol=1):
            listed = [", ".join(f"{b:g}" for b in one.bvalues) for one in (fit, first)]
            raise InputError(f"{fit.path}: found b = {listed[0]} s/mm², expected {listed[1]} as in {first.path}")
        if fit.signals_sha256 and fit.signals_sha256 in seen:
            raise InputError(f"{fit.path}: found the signals of {seen[fit.signals_sha256]} again, expected another measurement")  # fmt: skip
        seen[fit.signals_sha256] = fit.path
        differ = sorted(key for key in {**fit.options, **first.options} if fit.options.get(key) != first.options.get(key))  # fmt: skip
        if differ:
            notes.append(f"{fit.path.name} was fitted with another {', '.join(differ)} than {first.path.name}")
        if fit.version != first.version:
            notes.append(f"{fit.path.name} is of ivimsc {fit.version}, {first.path.name} of {first.version}")
    return notes


@dataclass(frozen=True)
class Subject:
    """The measurements of one subject.

    Attributes
    ----------
    name : of the subject
    fits : open estimate stores, one for each repeat
    labels : of each repeat, or None
    names : table of the labels' names
    """

    name: str
    fits: Sequence[EstimateStore]
    labels: Sequence[Path | None]
    names: Path | None = None

    @cached_property
    def differs(self) -> str:
        """Why the voxels of the repeats are not the same ones; empty where they are."""
        first = self.fits[0]
        for fit in self.fits[1:]:
            try:
                require_same_place(fit.path, fit.geometry.shape, fit.geometry, first.path, first.geometry)
            except InputError as error:
                return str(error)
        return ""

    @cached_property
    def rows(self) -> list[NDArray[np.intp] | slice]:
        """The voxels that all repeats have, as rows of each store."""
        if len({len(fit) for fit in self.fits}) == 1:  # mostly they are the same ones: told part by part
            parts = zip(*(fit.places() for fit in self.fits), strict=True)
            if all(np.array_equal(one, part[0][1]) for part in parts for _, one in part[1:]):
                return [slice(None)] * len(self.fits)
        places = [np.concatenate([part for _, part in fit.places()]) for fit in self.fits]
        common = places[0]
        for one in places[1:]:
            common = np.intersect1d(common, one, assume_unique=True)
        orders = [np.argsort(one, kind="stable") for one in places]
        return [order[np.searchsorted(one, common, sorter=order)] for order, one in zip(orders, places, strict=True)]

    @cached_property
    def regions(self) -> list[dict[str, NDArray[np.bool_]]]:
        """The regions of each repeat, name -> (voxel,) of its store."""
        return [regions_of(fit, one, self.names) for fit, one in zip(self.fits, self.labels, strict=True)]

    def table(self, key: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """A map in every repeat, at the voxels that all have.

        Parameters
        ----------
        key : of the map

        Returns
        -------
        values (voxel, repeat), and (voxel,) whether a voxel counts: usable and finite in every repeat
        """
        values = np.stack([fit[key][rows] for fit, rows in zip(self.fits, self.rows, strict=True)], axis=1)
        good = [usable(key, fit["outcome"][rows]) for fit, rows in zip(self.fits, self.rows, strict=True)]
        return values.astype(np.float64), np.all(good, axis=0) & np.isfinite(values).all(axis=1)

    def inside(self) -> dict[str, NDArray[np.bool_]]:
        """The regions at the voxels that all repeats have, by the labels of the first."""
        return {name: here[self.rows[0]] for name, here in self.regions[0].items()}

    def medians(self, key: str) -> Mapping[str, tuple[NDArray[np.float64], int]]:
        """The median of a map in each region and repeat, (repeat,), and the fewest voxels that it is of.

        Each repeat's own voxels count, as in a measurement that is not repeated; a region without any is left out.
        """
        found = {}
        counted = [usable(key, fit["outcome"]) & np.isfinite(fit[key]) for fit in self.fits]
        for region in [ALL, *(name for name in self.regions[0] if name != ALL)]:
            if not all(region in one for one in self.regions):
                continue
            parts = [fit[key][one[region] & good] for fit, one, good in zip(self.fits, self.regions, counted, strict=True)]  # fmt: skip
            if all(len(part) for part in parts):
                found[region] = (np.array([np.median(part.astype(np.float64)) for part in parts]), min(map(len, parts)))
        return found
