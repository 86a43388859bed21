"""Fitting files: a NIfTI series or a voxel store to an estimate store and maps, in four steps: open, prepare, run, maps."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ivimsc.cluster import Cluster, opened_cluster
from ivimsc.compiling.clock import CompileClock
from ivimsc.device.launch import Launch, choose_device
from ivimsc.errors import DeviceError, InputError
from ivimsc.files import make_folder
from ivimsc.fit.adapt import Keep
from ivimsc.fit.chunks import CHUNK_SIGNALS, IN_FLIGHT, Reading, Source, Work, fit_chunks
from ivimsc.fit.identity import places_sha256, require_signals
from ivimsc.fit.job import FitJob, FitSummary
from ivimsc.fit.parts import VoxelRange, part_range
from ivimsc.fit.prepare import Prepared, prepare
from ivimsc.maps import map_paths, write_maps
from ivimsc.methods import find_method
from ivimsc.store import EstimateStore, PartFile, VoxelStore
from ivimsc.store.same_fit import header_difference
from ivimsc.voxels import SelectedVoxels

__all__ = ["fit_file"]

COUNTED = 2**18  # voxels read at once
COMPILING = "compiling kernels: this is done once, and they are kept"


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
    with _opened(job) as voxels, CompileClock(lambda: tell.say(COMPILING)) as clock:
        launch = _launch(job)
        with opened_cluster(job.cluster, job.threads, tell.say) as cluster:
            ready = _prepare(job, voxels, launch, tell)
            for note in ready.prepared.notes:
                tell.say(note)
            spent = _run(job, ready, tell, cluster, clock)
        blank = _count_blank(ready.voxels)
    return _summary(job, ready, blank, clock.seconds, spent)


def _summary(job: FitJob, ready: "_Ready", blank: int, compiling: float, spent: float) -> FitSummary:
    """The fourth step, the maps; and what was done."""
    wanted = job.maps and job.part is None
    maps = write_maps(job.target, job.out, force=job.force or job.resume, stem=job.stem) if wanted else []
    launch, notes = ready.prepared.fitter.launch, ready.prepared.notes
    with EstimateStore(job.target) as store:
        launch = Launch(store.device, store.threads, launch.notes)  # of a cluster: the threads of all its workers
        found = (store.bvalues, notes, store.seconds, store.count_outcomes())
        return FitSummary(job.target, maps, launch, *found, blank, compiling, spent)


class _Tell(NamedTuple):
    """Whom to tell: progress(voxels done, voxels in all), say(note)."""

    progress: Callable[[int, int], None]
    say: Callable[[str], None]


class _Ready(NamedTuple):
    """What the third step needs: the voxels to fit, at the b-values that are used, and what all their chunks share."""

    voxels: Any
    header: dict[str, Any]
    work: Work

    @property
    def prepared(self) -> Prepared:
        return self.work.prepared


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


def _launch(job: FitJob) -> Launch:
    """Where to run; on a cluster it is the CPU of the workers, and of this machine for what is learnt of the data."""
    method = find_method(job.method)
    if job.cluster is None:
        return choose_device(job.device, job.threads, method.name, method.on_cuda)
    if job.device not in ("auto", "cpu"):
        raise DeviceError(f"device: found {job.device} with a cluster, expected cpu: the workers fit on their CPUs")
    return choose_device("cpu")


def _prepare(job: FitJob, voxels: Any, launch: Launch, tell: _Tell) -> _Ready:
    """The second step: the method looks at the whole data set, and says what it chose."""
    method = find_method(job.method)
    chosen = voxels if job.bvalues is None else SelectedVoxels(voxels, job.bvalues)
    keep = None if job.kept_model is None else Keep(job.kept_model, job.force, job.resume)
    prepared = prepare(method, job.settings, chosen, launch, keep, tell.say)
    more = {"weights": chosen.weights.tolist(), "places_sha256": places_sha256(chosen)}
    more["device"] = "cuda" if prepared.fitter.launch.on_gpu else "cpu"  # their last digits differ
    header = PartFile.header(chosen, method.name, prepared.identity(), **more)
    source, offset = None, 0
    if isinstance(voxels, VoxelStore):
        if job.resume:
            require_signals(voxels)
        used = None if job.bvalues is None else tuple(float(b) for b in job.bvalues)
        source = Source(str(voxels.path.resolve()), voxels.signals_sha256, used)
    if job.part is not None:
        which = part_range(job.part, len(chosen))
        chosen, offset, header = (
            VoxelRange(chosen, which.start, which.stop),
            which.start,
            header | {"part": which._asdict()},
        )
    return _Ready(chosen, header, Work(prepared, source, offset))


def _run(job: FitJob, ready: _Ready, tell: _Tell, cluster: Cluster | None, clock: CompileClock) -> float:
    """The third step: chunk by chunk into the part file, then the whole into place; the seconds of CPU on workers."""
    if job.resume and not job.force and job.target.exists():  # it was stopped between the store and its maps
        _require_same(job.target, ready.header)
        PartFile.discard(job.target)
        return 0.0
    make_folder(job.out)
    fitter, notes = ready.prepared.fitter, ready.prepared.notes
    begin, compiled, told = time.perf_counter(), clock.seconds, len(fitter.launch.notes)
    with PartFile.open(job.target, ready.header, resume=job.resume, force=job.force) as part:
        if part.dropped:
            tell.say(part.dropped)
        most = CHUNK_SIGNALS if cluster is None else min(CHUNK_SIGNALS, IN_FLIGHT // cluster.most_under_way())
        spent = fit_chunks(part, Reading(ready.voxels, job.chunk, most), ready.work, tell.progress, cluster)
        seconds, late = time.perf_counter() - begin - (clock.seconds - compiled), fitter.launch.notes[told:]
        for note in late:
            tell.say(note)
        notes += late
        threads = fitter.launch.threads if cluster is None else cluster.threads * sum(cluster.slots().values())
        about = {"device": fitter.launch.device, "threads": threads, "seconds": seconds, "notes": notes}
        part.finish(ready.voxels, **about, dictionary=fitter.dictionary)
    return spent


def _check_out(job: FitJob) -> None:
    """Refuse, before any work, a folder that cannot be written to and results that would be overwritten."""
    if job.out.exists() and not job.out.is_dir():
        raise InputError(f"{job.out}: found a file, expected a folder for the results")
    parent = next(p for p in (job.out, *job.out.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"{job.out}: found {parent} not writable, expected a folder that can be written to")
    if job.part is not None:
        part_range(job.part)
    if job.force or job.resume:  # with resume, `_require_same` looks closer
        return
    if job.target.exists():
        raise InputError(f"{job.target}: found the result of an earlier fit, expected none: force=True overwrites it")
    if job.kept_model is not None and job.kept_model.exists():
        raise InputError(f"{job.kept_model}: found the model of an earlier fit, expected none: resume=True uses it, force=True replaces it")  # fmt: skip
    maps = [path for path in map_paths(job.out, job.stem, job.method) if path.exists()]
    if job.maps and job.part is None and maps:
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


def _count_blank(voxels: Any) -> int:
    """Number of voxels whose signals are all zero: the background of a volume that was cut out."""
    parts = range(0, len(voxels), COUNTED)
    return sum(int(np.sum(~voxels.read(start, min(start + COUNTED, len(voxels))).any(axis=1))) for start in parts)
