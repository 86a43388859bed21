"""Fitting: arrays in memory (`fit_signals`), and whole files to estimate stores and maps (`FitJob`, `fit_file`)."""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.device.launch import BLOCK, ON_CUDA, Launch, choose_device, is_on_gpu
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.files import make_folder
from ivimsc.inputs import inputs_of
from ivimsc.maps import map_paths, map_stem, write_maps
from ivimsc.methods import load_method, make_options
from ivimsc.outcome import Outcome
from ivimsc.physics.protocol import Protocol, select_bvalues
from ivimsc.store import EstimateStore, PartFile, VoxelStore
from ivimsc.store.journal import to_json
from ivimsc.voxels import Geometry, Voxels

__all__ = ["FitJob", "FitSummary", "fit_file", "fit_signals"]

CHUNK_SIGNALS = 2**21  # most signals per chunk: 8 MB of float32, so that a store of any size stays far below 1 GiB
FIRST_CHUNK = 4 * BLOCK  # voxels; the next are as long as QUICK and SLOW allow: slow methods show progress too
COUNTED = 2**18  # voxels read at once to count outcomes
QUICK, SLOW = 0.25, 1.0  # s per chunk: shorter ones are doubled, longer ones halved


def fit_signals(
    signals: ArrayLike,
    bvalues: ArrayLike,
    method: str = "nlls",
    device: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> Estimates:
    """Fit the IVIM model to signals in memory.

    Parameters
    ----------
    signals : (…, b) of any real dtype, in any unit; computed in float32. An array on a GPU (CuPy, torch, anything with
        ``__cuda_array_interface__``) is fitted there, and the fields of the result stay there: no copy
    bvalues : (b,) in s/mm², in any order; repeats are averaged
    method : name of the method, one of `ivimsc.methods.METHODS`
    device : "cpu", "cuda", "cuda:1" and so on, or "auto"; default: where the signals are
    threads : CPU threads; default: all cores
    options : the method's options, as for ``ivimsc fit --set``

    Returns
    -------
    Estimates with fields shaped (…): S0 and rmse in the unit of the signals, D and Dstar in mm²/s

    Raises
    ------
    InputError
        for signals and b-values that do not fit together, and for unknown methods and options

    Examples
    --------
    >>> import ivimsc
    >>> b = [0, 10, 20, 50, 80, 100, 150, 200, 300, 500]
    >>> signals = ivimsc.simulate_signals(1.0, 0.3, 1.6e-3, 45e-3, b)
    >>> estimates = ivimsc.fit_signals(signals, b)
    >>> round(float(estimates.f), 3), round(float(estimates.D), 6), round(float(estimates.Dstar), 4)
    (0.3, 0.0016, 0.045)
    """
    module = load_method(method)
    array = signals if is_on_gpu(signals) else np.asarray(signals)
    launch = _launch(array, device, threads, method)
    if array.dtype.kind not in "fiub":
        raise InputError(f"signals: found dtype {array.dtype}, expected real numbers")
    protocol = Protocol.from_volumes(bvalues, "bvalues")
    shape = tuple(array.shape)
    if not shape or shape[-1] != len(protocol.shell):
        raise InputError(f"signals: found shape {shape}, expected (…, {len(protocol.shell)}), one per b-value")
    if is_on_gpu(array):
        from ivimsc.device.arrays import rows_of

        rows = rows_of(launch, array, protocol.shell, len(protocol.bvalues))
    else:
        rows = np.ascontiguousarray(protocol.average(array.reshape(-1, shape[-1])))
    index = np.zeros((len(rows), 3), np.int32)
    index[:, 0] = np.arange(len(rows))
    voxels = Voxels(rows, protocol.bvalues, index, Geometry((max(len(rows), 1), 1, 1), np.eye(4)))
    chosen = make_options(module, options)
    fitter = module.prepare(voxels, chosen, launch, **inputs_of(chosen, voxels, launch))
    launch = getattr(fitter, "launch", launch)  # its options may not allow for a GPU
    told = len(launch.notes)
    estimates = fitter.fit(rows, 0).reshape(shape[:-1])
    for note in launch.notes[told:]:
        warnings.warn(note, stacklevel=2)
    return estimates


def _launch(array: Any, device: str | None, threads: int | None, method: str) -> Launch:
    """Where to fit: where it is asked for; where it is not, where the array is."""
    if not is_on_gpu(array):
        return choose_device(device or "cpu", threads, method)
    from ivimsc.device.arrays import gpu_of

    here = gpu_of(array)
    if method not in ON_CUDA:
        raise InputError(f"signals: found on {here}, expected in host memory: {method} has no CUDA kernels")
    launch = choose_device(here if device in (None, "auto", "cuda") else device, threads, method)
    if launch.device != here:
        raise InputError(f"signals: found on {here}, expected on {launch.device}, which was asked for; copy them there, or leave device out")  # fmt: skip
    return launch


@dataclass(frozen=True)
class FitJob:
    """One run of ``ivimsc fit``.

    Attributes
    ----------
    input : NIfTI series or voxel store (.h5)
    method, out : name of the method; folder of the results
    bval, bvec, mask : files of a NIfTI series
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
    mask: Path | None = None
    bvalues: NDArray[np.float64] | None = None
    device: str = "auto"
    threads: int | None = None
    resume: bool = False
    force: bool = False
    maps: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    chunk: int | None = None


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

    @property
    def voxels(self) -> int:
        return sum(self.outcomes.values())

    @property
    def mostly_bad(self) -> bool:
        """Over half of the voxels have a bad signal: exit code 3."""
        return 2 * self.outcomes.get(Outcome.BAD_SIGNAL, 0) > self.voxels


class _Selected:
    """Voxels with a subset of their b-values; the checksum stays that of the whole, which the estimates belong to."""

    def __init__(self, voxels: Any, wanted: NDArray[np.float64], source: str) -> None:
        self._voxels, self._columns = voxels, select_bvalues(voxels.bvalues, wanted, source)
        self.bvalues = voxels.bvalues[self._columns]

    @property
    def whole(self) -> Any:
        """The voxels with all their b-values: learned methods read S0 from b = 0."""
        return self._voxels

    def __len__(self) -> int:
        return len(self._voxels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._voxels, name)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._voxels.read(start, stop)[:, self._columns])


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
    module = load_method(job.method)
    launch = choose_device(job.device, job.threads, job.method)
    options = make_options(module, job.settings)
    stem = map_stem(job.input)
    target = job.out / f"{stem}_{job.method}.h5"
    _check_out(job, target, stem)
    voxels = _open(job)
    try:
        chosen = voxels if job.bvalues is None else _Selected(voxels, job.bvalues, "--bvalues")
        fitter = module.prepare(chosen, options, launch, **inputs_of(options, chosen, launch))
        launch = getattr(fitter, "launch", launch)  # its options may not allow for a GPU
        notes = [*voxels.attrs.get("notes", []), *launch.notes, *fitter.notes]
        for note in notes:
            (say or _ignore)(note)
        header = PartFile.header(chosen, job.method, vars(options) | _model_of(fitter))
        if not (job.resume and not job.force and target.exists()):
            make_folder(job.out)
            notes += _run(job, target, chosen, fitter, header, launch, notes, progress or _ignore, say or _ignore)
        else:  # stopped between the store and its maps
            _require_same(target, header)
    finally:
        if isinstance(voxels, VoxelStore):
            voxels.close()
    maps = write_maps(target, job.out, force=job.force or job.resume, stem=stem) if job.maps else []
    with EstimateStore(target) as store:
        return FitSummary(target, maps, launch, chosen.bvalues, notes, store.seconds, _count(store))


def _model_of(fitter: Any) -> dict[str, str]:
    """The checksum of a learned method's model: its name alone does not tell it from another."""
    model = getattr(fitter, "model", None)
    return {} if model is None or not hasattr(model, "sha256") else {"model_sha256": model.sha256}


def _ignore(*_: object) -> None:
    pass


def _open(job: FitJob) -> Any:
    if job.input.suffix == ".h5":
        for name in ("bval", "bvec", "mask"):
            if getattr(job, name) is not None:
                raise InputError(f"--{name}: found {getattr(job, name)}, expected none: {job.input} is a voxel store, which has its own b-values and voxels")  # fmt: skip
        return VoxelStore(job.input)
    from ivimsc.nifti import read_series  # nibabel is loaded only where NIfTI is read

    if job.bval is None:
        raise InputError(f"--bval: found none, expected the .bval file of {job.input}")
    return read_series(job.input, job.bval, mask=job.mask, bvec=job.bvec)


def _check_out(job: FitJob, target: Path, stem: str) -> None:
    """Refuse, before any work, a folder that cannot be written to and results that would be overwritten."""
    if job.out.exists() and not job.out.is_dir():
        raise InputError(f"{job.out}: found a file, expected a folder for the results")
    parent = next(p for p in (job.out, *job.out.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"{job.out}: found {parent} not writable, expected a folder that can be written to")
    if job.force or job.resume:  # with resume, `_require_same` looks closer
        return
    if target.exists():
        raise InputError(f"{target}: found the result of an earlier fit, expected none: --force overwrites it")
    maps = [path for path in map_paths(job.out, stem, job.method) if path.exists()]
    if job.maps and maps:
        raise InputError(f"{maps[0]}: found {len(maps)} maps of an earlier fit, expected none: --force overwrites them")


def _run(job, target, voxels, fitter, header, launch, notes, progress, say) -> list[str]:
    """Chunk by chunk into the part file, then the whole into place; returns what there was to note on the way."""
    begin, told = time.perf_counter(), len(launch.notes)
    most = max(BLOCK, CHUNK_SIGNALS // len(voxels.bvalues) // BLOCK * BLOCK)
    chunk = job.chunk or min(FIRST_CHUNK, most)
    with PartFile.open(target, header, resume=job.resume, force=job.force) as part:
        progress(part.done, len(voxels))
        while part.done < len(voxels):
            chunk_begin = time.perf_counter()
            stop = min(part.done + chunk, len(voxels))
            part.append(fitter.fit(voxels.read(part.done, stop), part.done))
            progress(stop, len(voxels))
            took = time.perf_counter() - chunk_begin
            if not job.chunk:
                chunk = min(2 * chunk, most) if took < QUICK else max(chunk // 2, BLOCK) if took > SLOW else chunk
        seconds, late = time.perf_counter() - begin, launch.notes[told:]
        for note in late:
            say(note)
        part.finish(voxels, device=launch.device, threads=launch.threads, seconds=seconds, notes=[*notes, *late], dictionary=fitter.dictionary)  # fmt: skip
    return late


def _require_same(target: Path, header: Mapping[str, Any]) -> None:
    """With ``resume``, a store that is there already must be the result of this very fit."""
    with EstimateStore(target) as store:
        found = {"method": store.method, "options": store.options, "bvalues": store.bvalues, "voxels": len(store)}
        found |= {"signals_sha256": store.signals_sha256, "ivimsc_version": store.version}
    differ = [name for name in found if to_json(found[name]) != to_json(header[name])]
    if differ:
        raise InputError(f"{target}: found the result of another fit ({', '.join(differ)} differ), expected that of this one: --force overwrites it")  # fmt: skip


def _count(store: EstimateStore) -> dict[Outcome, int]:
    """Voxels per outcome, those that occur; streamed, for `np.bincount` takes 8 bytes per voxel."""
    counts = np.zeros(len(Outcome), np.int64)
    for start in range(0, len(store), COUNTED):
        counts += np.bincount(store.read(start, start + COUNTED).outcome, minlength=len(Outcome))
    return {outcome: int(counts[outcome]) for outcome in Outcome if counts[outcome]}
