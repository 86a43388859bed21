"""The parts of a fit, put together: the same bytes in every dataset as a fit in one piece."""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.files import make_folder
from ivimsc.fit.job import FitSummary
from ivimsc.fit.parts import PartRange, part_range
from ivimsc.maps import map_stem, write_maps
from ivimsc.store import EstimateStore, PartFile
from ivimsc.store.same_fit import header_difference

__all__ = ["join_parts"]

BLOCK = 2**17  # voxels at once
_PART = re.compile(r"_part-\d+-of-\d+\Z")


class _Part(NamedTuple):
    """One part: its store, which part it is, and what its fit depended on."""

    store: EstimateStore
    range: PartRange
    header: dict[str, Any]


def join_parts(
    paths: Sequence[Path],
    out: Path,
    force: bool = False,
    maps: bool = True,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> FitSummary:
    """Put the parts of a fit together: the estimate store of the whole, and its maps.

    Parameters
    ----------
    paths : the estimate stores of all parts, in any order (`FitJob.part`)
    out : folder of the results
    force : replace earlier results
    maps : write the NIfTI maps, too
    progress : called with (voxels done, in all)

    Raises
    ------
    InputError
        for a part that is missing, comes twice, is damaged, or belongs to another fit; for results that exist
    """
    with ExitStack() as stack:
        parts = _in_order([_opened(stack.enter_context(EstimateStore(path))) for path in paths])
        first = parts[0].store
        stem = map_stem(_PART.sub("", first.path.stem) + ".h5", first.method)
        target = out / f"{stem}_{first.method}.h5"
        make_folder(out)
        header = {key: value for key, value in parts[0].header.items() if key != "part"}
        with PartFile.open(target, header, force=force) as joined:
            for part in parts:
                for start in range(0, len(part.store), BLOCK):
                    joined.append(_estimates(part.store, start, min(start + BLOCK, len(part.store))))
                    progress(joined.done, header["voxels"])
            about = {"device": first.device, "threads": first.threads, "notes": first.notes}
            seconds = sum(part.store.seconds for part in parts)
            joined.finish(_Whole(parts), **about, seconds=seconds, dictionary=first.dictionary)
    written = write_maps(target, out, force=force, stem=stem) if maps else []
    with EstimateStore(target) as store:
        launch = Launch(store.device, store.threads)
        return FitSummary(target, written, launch, store.bvalues, store.notes, store.seconds, store.count_outcomes())


def _opened(store: EstimateStore) -> _Part:
    """A part, if the store is one: what it says of its place must be what `part_range` says."""
    header = store.header or {}
    which, total = header.get("part"), header.get("voxels")
    if not isinstance(which, dict) or set(which) != set(PartRange._fields):
        raise InputError(f"{store.path}: found the estimates of a whole fit, expected those of a part (`ivimsc fit --part i/n`)")  # fmt: skip
    numbers = [*which.values(), total]
    if not all(type(number) is int for number in numbers):
        raise InputError(f"{store.path}: found a damaged record of its part, expected numbers")
    mine = part_range((which["number"], which["of"]), total)
    if mine._asdict() != which or len(store) != mine.stop - mine.start:
        raise InputError(f"{store.path}: found {len(store):,} voxels as part {mine.number} of {mine.of} of {total:,}, expected {mine.stop - mine.start:,}")  # fmt: skip
    return _Part(store, mine, header)


def _in_order(parts: list[_Part]) -> list[_Part]:
    """The parts by their numbers, if they are all that one fit has."""
    parts = sorted(parts, key=lambda part: part.range.number)
    if not parts:
        raise InputError("parts: found none, expected the estimate stores of all parts of a fit")
    first = parts[0]
    for one in parts[1:]:
        if one.range.of != first.range.of:
            raise InputError(f"{one.store.path}: found part {one.range.number} of {one.range.of}, expected one of {first.range.of} as in {first.store.path}")  # fmt: skip
        if differs := header_difference(
            *({k: v for k, v in part.header.items() if k != "part"} for part in (one, first))
        ):
            raise InputError(f"{one.store.path}: {differs.removesuffix(' as in this fit')} as in {first.store.path}")
    for one, other in pairwise(parts):
        if one.range.number == other.range.number:
            raise InputError(f"{other.store.path}: found part {other.range.number} twice ({one.store.path}), expected each once")  # fmt: skip
    missing = sorted(set(range(1, first.range.of + 1)) - {part.range.number for part in parts})
    if missing:
        raise InputError(f"parts: found {len(parts)} of {first.range.of}, expected all: {', '.join(map(str, missing[:10]))} missing")  # fmt: skip
    return parts


def _estimates(store: EstimateStore, start: int, stop: int) -> Estimates:
    """The estimates of the voxels start..stop of a part, with their spectrum."""
    estimates = store.read(start, stop)
    if store.spectrum is None:
        return estimates
    data, indices, indptr = store.spectrum
    rows = indptr[start : stop + 1]
    place = slice(rows[0], rows[-1])
    return replace(estimates, spectrum=Spectrum(data[place], indices[place], rows - rows[0]))


class _Whole:
    """The voxels of all parts, for the store of the whole: where they lie and what they come from."""

    def __init__(self, parts: list[_Part]) -> None:
        self._parts, first = parts, parts[0].store
        self.geometry, self.source, self.source_sha256 = first.geometry, first.source, first.source_sha256
        self.attrs, self.index = first.attrs, self

    def __len__(self) -> int:
        return self._parts[-1].range.stop

    def __getitem__(self, rows: slice) -> NDArray[np.int32]:
        """Places (voxel, 3) of the voxels rows.start..rows.stop."""
        pieces = []
        for part in self._parts:
            start, stop = max(rows.start, part.range.start), min(rows.stop, part.range.stop)
            if start < stop:
                pieces.append(part.store.index[start - part.range.start : stop - part.range.start])
        return np.concatenate(pieces)
