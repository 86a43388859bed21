"""Fitting files: a NIfTI series or a voxel store to an estimate store and maps, in four steps: open, prepare, run, maps."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import BLOCK, Launch, choose_device
from ivimsc.errors import InputError
from ivimsc.files import make_folder
from ivimsc.fit.adapt import ADAPT, Keep
from ivimsc.fit.identity import Seen, places_sha256, require_signals
from ivimsc.fit.prepare import Prepared, prepare
from ivimsc.maps import map_paths, map_stem, write_maps
from ivimsc.methods import find_method
from ivimsc.outcome import Outcome
from ivimsc.store import EstimateStore, PartFile, VoxelStore
from ivimsc.store.journal import header_difference
from ivimsc.voxels import SelectedVoxels

__all__ = ["FitJob", "FitSummary", "fit_file"]

CHUNK_SIGNALS = 2**21  # most signals per chunk: 8 MB of float32, so that a store of any size stays far below 1 GiB
FIRST_CHUNK = 4 * BLOCK  # voxels; the next are as long as QUICK and SLOW allow: slow methods show progress too
COUNTED = 2**18  # voxels read at once to count outcomes
QUICK, SLOW = 0.25, 1.0  # s per chunk: shorter ones are doubled, longer ones halved


@dataclass(frozen=True)
class FitJob:
    """One run of ``ivimsc fit``.

    Attributes
    ----------
    input : NIfTI series or voxel store (.h5)
    method, out : name of the method; folder of the results
    bval, bvec, mask : files of a NIfTI series; mask may be "auto"
    volumes : the volumes of a NIfTI series to use, numbered from 0, as in `ivimsc.nifti.read_series`
    bvalues : subset of b-values to use [s/mm²]
    device, threads : where to run
    resume, force, maps : go on with an interrupted fit; overwrite; write NIfTI maps
    settings : the method's options
    chunk : voxels per chunk; the results do not depend on it
    """

    input: Path
    method: str
    out: Path
    bval: Path | None = None
    bvec: Path | None = None
    mask: Path | str | None = None
    bvalues: NDArray[np.float64] | None = None
    device: str = "auto"
    threads: int | None = None
    resume: bool = False
    force: bool = False
    maps: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    chunk: int | None = None
    volumes: str | Path | Sequence[int] | None = None

    @property
    def stem(self) -> str:
        """How the names of the results begin."""
        name = str(self.input).removesuffix(".gz").removesuffix(".hdr").removesuffix(".img")
        return map_stem(name)

    @property
    def target(self) -> Path:
        """The estimate store."""
        return self.out / f"{self.stem}_{self.method}.h5"

    @property
    def kept_model(self) -> Path | None:
        """The model file of a network that is adapted to the data; None where none is."""
        return self.target.with_suffix(".safetensors") if self.settings.get("model") == ADAPT else None


@dataclass(frozen=True)
class FitSummary:
    """What a fit did, for the user: where the results are, what ran where, and how the voxels ended."""

    store: Path
    maps: list[Path]
    launch: Launch
    bvalues: NDArray[np.float64]
    notes: list[str]
    seconds: float
    outcomes: dict[Outcome, int]
    blank: int = 0

    @property
    def voxels(self) -> int:
        return sum(self.outcomes.values())

    @property
    def mostly_bad(self) -> bool:
        """Over half of the voxels with any signal have a bad one: exit code 3. `blank` ones, all zero, are background."""
        bad = self.outcomes.get(Outcome.BAD_SIGNAL, 0) - self.blank
        return 2 * bad > self.voxels - self.blank or self.blank == self.voxels


def fit_file(
    job: FitJob, progress: Callable[[int, int], None] | None = None, say: Callable[[str], None] | None = None
) -> FitSummary:
    """Fit a file and write the estimate store and the maps; everything is checked before anything is written.

    Parameters
    ----------
    job : what to do
    progress : called with (voxels done, voxels in all)
    say : called with each thing that was chosen, before the fit starts

    Raises
    ------
    InputError
        for bad input and for results that exist (without ``force`` or ``resume``)
    KeyboardInterrupt
        passed on; the finished chunks stay in the part file, for ``resume``
    """
    tell = _Tell(progress or _ignore, say or _ignore)
    with _opened(job) as voxels:
        ready = _prepare(job, voxels, tell)
        notes, launch = ready.prepared.notes, ready.prepared.fitter.launch
        for note in notes:
            tell.say(note)
        _run(job, ready, tell)
        blank = _count_blank(ready.voxels)
    maps = write_maps(job.target, job.out, force=job.force or job.resume, stem=job.stem) if job.maps else []
    with EstimateStore(job.target) as store:
        return FitSummary(job.target, maps, launch, store.bvalues, notes, store.seconds, _count(store), blank)


class _Tell(NamedTuple):
    """Whom to tell: progress(voxels done, voxels in all), say(note)."""

    progress: Callable[[int, int], None]
    say: Callable[[str], None]


class _Ready(NamedTuple):
    """What the third step needs: the voxels with the b-values that are used, the fit, and the part file's header."""

    voxels: Any
    prepared: Prepared
    header: dict[str, Any]


def _ignore(*_: object) -> None:
    pass


@contextmanager
def _opened(job: FitJob) -> Iterator[Any]:
    """The first step: names and places are checked, and the voxels are opened."""
    find_method(job.method)
    _check_out(job)
    voxels = _open(job)
    try:
        yield voxels
    finally:
        if isinstance(voxels, VoxelStore):
            voxels.close()


def _open(job: FitJob) -> Any:
    if job.input.suffix == ".h5":
        for name in ("bval", "bvec", "mask", "volumes"):
            if getattr(job, name) is not None:
                raise InputError(f"{name}: found {getattr(job, name)}, expected none: {job.input} is a voxel store, which has its own b-values and voxels")  # fmt: skip
        return VoxelStore(job.input)
    from ivimsc.nifti import read_series  # nibabel is loaded only where NIfTI is read

    if job.bval is None:
        raise InputError(f"bval: found none, expected the .bval file of {job.input}")
    return read_series(job.input, job.bval, mask=job.mask, bvec=job.bvec, volumes=job.volumes)


def _prepare(job: FitJob, voxels: Any, tell: _Tell) -> _Ready:
    """The second step: the method looks at the whole data set, and says what it chose."""
    method = find_method(job.method)
    launch = choose_device(job.device, job.threads, method.name, method.on_cuda)
    chosen = voxels if job.bvalues is None else SelectedVoxels(voxels, job.bvalues)
    keep = None if job.kept_model is None else Keep(job.kept_model, job.force, job.resume)
    prepared = prepare(method, job.settings, chosen, launch, keep, tell.say)
    more = {"weights": chosen.weights.tolist(), "places_sha256": places_sha256(chosen)}
    more["device"] = "cuda" if prepared.fitter.launch.on_gpu else "cpu"  # their last digits differ
    header = PartFile.header(chosen, method.name, prepared.identity(), **more)
    if job.resume and isinstance(voxels, VoxelStore):
        require_signals(voxels)
    return _Ready(chosen, prepared, header)


def _run(job: FitJob, ready: _Ready, tell: _Tell) -> None:
    """The third step: chunk by chunk into the part file, then the whole into place."""
    if job.resume and not job.force and job.target.exists():  # it was stopped between the store and its maps
        _require_same(job.target, ready.header)
        return PartFile.discard(job.target)
    make_folder(job.out)
    voxels, fitter, notes = ready.voxels, ready.prepared.fitter, ready.prepared.notes
    begin, told = time.perf_counter(), len(fitter.launch.notes)
    with PartFile.open(job.target, ready.header, resume=job.resume, force=job.force) as part:
        if part.dropped:
            tell.say(part.dropped)
        _fit_chunks(part, job.chunk, ready, tell)
        seconds, late = time.perf_counter() - begin, fitter.launch.notes[told:]
        for note in late:
            tell.say(note)
        notes += late
        about = {"device": fitter.launch.device, "threads": fitter.launch.threads, "seconds": seconds, "notes": notes}
        part.finish(voxels, **about, dictionary=fitter.dictionary)


def _fit_chunks(part: PartFile, fixed: int | None, ready: _Ready, tell: _Tell) -> None:
    """Fit what is left of the voxels; chunks have `fixed` voxels, or as many as take between `QUICK` and `SLOW` seconds."""
    voxels, prepared, seen = ready.voxels, ready.prepared, Seen()
    for start, stop, checksum in part.chunks:
        seen.add(voxels.read(start, stop), voxels.read_s0(start, stop))
        if seen.sha256() != checksum:
            raise InputError(f"{part.path}: found chunks fitted to other signals (voxels {start} to {stop}), expected those of this fit: force=True starts anew")  # fmt: skip
    most = max(BLOCK, CHUNK_SIGNALS // len(voxels.bvalues) // BLOCK * BLOCK)
    chunk = fixed or min(FIRST_CHUNK, most)
    tell.progress(part.done, len(voxels))
    while part.done < len(voxels):
        begin = time.perf_counter()
        start, stop = part.done, min(part.done + chunk, len(voxels))
        signals, s0 = voxels.read(start, stop), voxels.read_s0(start, stop)
        seen.add(signals, s0)
        part.append(prepared.fit(signals, start, s0), seen.sha256())
        tell.progress(stop, len(voxels))
        took = time.perf_counter() - begin
        if not fixed:
            chunk = min(2 * chunk, most) if took < QUICK else max(chunk // 2, BLOCK) if took > SLOW else chunk


def _check_out(job: FitJob) -> None:
    """Refuse, before any work, a folder that cannot be written to and results that would be overwritten."""
    if job.out.exists() and not job.out.is_dir():
        raise InputError(f"{job.out}: found a file, expected a folder for the results")
    parent = next(p for p in (job.out, *job.out.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"{job.out}: found {parent} not writable, expected a folder that can be written to")
    if job.force or job.resume:  # with resume, `_require_same` looks closer
        return
    if job.target.exists():
        raise InputError(f"{job.target}: found the result of an earlier fit, expected none: force=True overwrites it")
    if job.kept_model is not None and job.kept_model.exists():
        raise InputError(f"{job.kept_model}: found the model of an earlier fit, expected none: resume=True uses it, force=True replaces it")  # fmt: skip
    maps = [path for path in map_paths(job.out, job.stem, job.method) if path.exists()]
    if job.maps and maps:
        raise InputError(
            f"{maps[0]}: found {len(maps)} maps of an earlier fit, expected none: force=True overwrites them"
        )


def _require_same(target: Path, header: Mapping[str, Any]) -> None:
    """With ``resume``, a store that is there already must be the result of this very fit."""
    with EstimateStore(target) as store:
        found = store.header
    unknown = "found the result of a fit that keeps no record of what it depended on, expected that of this one"
    if differs := unknown if found is None else header_difference(found, header):
        raise InputError(f"{target}: {differs}; force=True overwrites it")


def _count(store: EstimateStore) -> dict[Outcome, int]:
    """Voxels per outcome, those that occur; streamed, for `np.bincount` takes 8 bytes per voxel."""
    counts = np.zeros(len(Outcome), np.int64)
    for start in range(0, len(store), COUNTED):
        counts += np.bincount(store.read(start, start + COUNTED).outcome, minlength=len(Outcome))
    return {outcome: int(counts[outcome]) for outcome in Outcome if counts[outcome]}


def _count_blank(voxels: Any) -> int:
    """Number of voxels whose signals are all zero: the background of a volume that was cut out."""
    parts = range(0, len(voxels), COUNTED)
    return sum(int(np.sum(~voxels.read(start, min(start + COUNTED, len(voxels))).any(axis=1))) for start in parts)
