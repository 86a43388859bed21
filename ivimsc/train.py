"""Training: voxel stores to a model file.

scdnn and mlp learn from the truth of their stores, ivimnet from the signals alone. With ``population=data`` scdnn and mlp learn
from stores without truth: training voxels are drawn from the population that the signals themselves tell (`fit.population`).
"""

import dataclasses
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc import __version__
from ivimsc.adapting.spread import learn_spread
from ivimsc.device.launch import choose_device, parse_device
from ivimsc.errors import DeviceError, InputError
from ivimsc.files import alone, make_folder, refuse_existing, told
from ivimsc.fit.adapt import adapted_model, adapting_of
from ivimsc.fit.unlabelled import unlabelled
from ivimsc.methods import METHODS, Method
from ivimsc.models import Model, write_model
from ivimsc.options import typed_options
from ivimsc.physics.protocol import require_distinct
from ivimsc.simulate import simulate_signals
from ivimsc.training.data import Data
from ivimsc.training.read import SCALES, read_stores

__all__ = ["TrainJob", "TrainSummary", "read_data", "train_file"]


@dataclass(frozen=True)
class TrainJob:
    """One run of ``ivimsc train``.

    Attributes
    ----------
    name : a method that can be trained: scdnn, mlp or ivimnet
    stores : voxel stores to learn from (none for the general scdnn, which draws its own)
    out : model file (.safetensors) to write
    bvalues : subset of b-values [s/mm²] (default: all of the stores')
    epochs, seed : see `training.Schedule`
    device, threads : where to run
    resume, force : go on from the checkpoint beside `out`; overwrite
    settings : options of the network, of the schedule and of the data
    tensorboard : folder for TensorBoard's event files
    """

    name: str
    stores: Sequence[Path]
    out: Path
    bvalues: NDArray[np.float64] | None = None
    epochs: int | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    resume: bool = False
    force: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    tensorboard: Path | None = None

    @property
    def checkpoint(self) -> Path:
        """The file that keeps the state after each epoch, beside `out`."""
        return self.out.with_name(f".{self.out.name}.checkpoint")

    @property
    def lock(self) -> Path:
        """The file that tells a second training of the same model to keep off, beside `out`."""
        return self.out.with_name(f".{self.out.name}.lock")


@dataclass(frozen=True)
class TrainSummary:
    """What a training did: the model file, its history (numbers per epoch) and the seconds of all epochs."""

    path: Path
    model: Model
    history: dict[str, list[float]]
    seconds: float


def train_file(
    job: TrainJob, progress: Callable[[int, int], None] | None = None, say: Callable[[str], None] | None = None
) -> TrainSummary:
    """Train a network on voxel stores and write its model file.

    Raises
    ------
    InputError
        for unknown names and options, stores without what the network learns from, an empty split, a model that exists
        (without ``force``) or that another process trains, and a damaged checkpoint
    IvimscError
        for a full disk
    DeviceError
        for a device that is not there, and where torch is missing
    """
    method = _method_of(job.name)
    say = say or (lambda _: None)
    if _population(job) == "data":
        return _train_on_population(job, method, say)
    network = _load_network(method)
    from ivimsc.training.device import torch_device

    settings = _options(job, network)
    _check_out(job)
    device = torch_device(job.device)
    with alone(job.lock, job.out):
        refuse_existing(job.out, job.force)  # another training may have ended since the first look
        plan = _plan(job, network, settings, say)
        plan.about["training"] |= {"stores": [Path(path).name for path in job.stores], "device": str(device)}
        say(f"{job.name}: {_of_plan(plan)}, on {device}")
        history = _train(job, plan, device, progress, say)
        arrays = {name: tensor.detach().numpy() for name, tensor in plan.network.cpu().arrays().items()}
        arrays |= _spread(plan, network, job.seed)
        model = Model(job.name, arrays, plan.about | {"history": history, "ivimsc_version": __version__}, str(job.out))
        write_model(job.out, model, job.force)
        job.checkpoint.unlink(missing_ok=True)
    return TrainSummary(job.out, model, history, sum(history["seconds"]))


def _population(job: TrainJob) -> str:
    """Where the training voxels come from: ``truth``, that of the stores, or ``data``, the population of their signals."""
    chosen = job.settings.get("population", "truth")
    if chosen not in ("truth", "data"):
        raise InputError(f"option population: found {chosen!r}, expected truth or data")
    return chosen


def _train_on_population(job: TrainJob, method: Method, say: Callable[[str], None]) -> TrainSummary:
    """Train on voxels drawn from the population of the stores' signals; no torch, and seconds, so that nothing is resumed."""
    if not method.adapts:
        raise InputError(f"option population of train {job.name}: found data, expected none: {job.name} learns from signals without truth in any case")  # fmt: skip
    for name, given in (("epochs", job.epochs), ("resume", job.resume or None), ("tensorboard", job.tensorboard)):
        if given is not None:
            raise InputError(f"{name}: found {given}, expected none: population=data learns in seconds, as long as the option sights says")  # fmt: skip
    if parse_device(job.device)[0] == "cuda":
        raise DeviceError(f"device: found {job.device!r}, expected cpu or auto: population=data learns on the CPU")
    wanted = adapting_of(
        {k: v for k, v in job.settings.items() if k != "population"}, f"train {job.name} with population=data", job.seed
    )
    _check_out(job)
    launch = choose_device("cpu", job.threads)
    with alone(job.lock, job.out):
        refuse_existing(job.out, job.force)
        voxels, begin = unlabelled(job.stores, job.bvalues), time.perf_counter()
        model, notes = adapted_model(method, voxels, launch, wanted, None, say)
        for note in notes:
            say(note)
        model.about["training"]["stores"] = [Path(path).name for path in job.stores]
        write_model(job.out, model, job.force)
    return TrainSummary(job.out, model, model.about["history"], time.perf_counter() - begin)


def _spread(plan: Any, network: Any, seed: int) -> dict[str, NDArray[np.float32]]:
    """How large the errors of a network are that learned from truth for one protocol (`models.spread`); else nothing."""
    if not network.SUPERVISED or plan.about["bvalues"] is None:
        return {}
    from ivimsc.training.plan import seen_again

    signals, outputs, truth = seen_again(plan, seed)
    return learn_spread(np.column_stack([signals, outputs]), outputs, truth, seed)


def _method_of(name: str) -> Method:
    trained = [method.name for method in METHODS.values() if method.trained]
    if name not in trained:
        raise InputError(f"train: found {name!r}, expected one of {', '.join(trained)}")
    return METHODS[name]


def _check_out(job: TrainJob) -> None:
    if job.out.suffix != ".safetensors":
        raise InputError(f"{job.out}: found the name of a model without .safetensors, expected MODEL.safetensors")
    refuse_existing(job.out, job.force)
    make_folder(job.out.absolute().parent)


def _plan(job: TrainJob, network: Any, settings: tuple[Any, Any, Any], say: Callable[[str], None]) -> Any:
    """The training made ready, on the data of the stores, or on scans that it draws itself (variant=general)."""
    options, schedule, chosen = settings
    if network.draws_scans(options):
        if job.stores or job.bvalues is not None:
            raise InputError("train scdnn: found voxel stores or bvalues, expected none: variant=general draws its own scans")  # fmt: skip
        return network.plan(options, schedule, chosen, None, job.seed)
    data = read_data(job.stores, job.bvalues, supervised=network.SUPERVISED)
    require_distinct(data.bvalues, 3, f"train {job.name}")  # for f, D and D*
    out, all_of_them = sum(data.left_out.values()), len(data) + sum(data.left_out.values())
    if out:
        words = ", ".join(f"{n:,} {why}" for why, n in data.left_out.items())
        say(f"left out: {out:,} of {all_of_them:,} voxels: {words}")
    if 2 * out > all_of_them:
        warnings.warn(
            f"{out:,} of {all_of_them:,} voxels cannot teach and are left out: is a mask missing?", stacklevel=3
        )
    plan = network.plan(options, schedule, chosen, data, job.seed)
    plan.about["training"] |= {"left_out": out}
    return plan


def _of_plan(plan: Any) -> str:
    """What is learned from, in words."""
    if plan.about["bvalues"] is None:
        return "random protocols, noise levels and voxels"
    done = plan.about["training"]
    return f"b = {_listed(plan.about['bvalues'])} s/mm², {done['voxels']:,} voxels to train, {done['validation']:,} to validate, noise: {done['noise']}"  # fmt: skip


def _train(job: TrainJob, plan: Any, device: Any, progress: Callable | None, say: Callable) -> dict[str, list[float]]:
    """Train the plan's network on `device`; the history, one number per epoch."""
    from ivimsc.training import loop
    from ivimsc.training.device import event_writer

    if not job.resume:
        with told(job.checkpoint):
            job.checkpoint.unlink(missing_ok=True)
    fingerprint = json.dumps([job.name, plan.about, __version__], sort_keys=True)
    with told(job.tensorboard or job.out):
        log = event_writer(job.tensorboard)

    def report(done: int, total: int, values: dict[str, float]) -> None:
        say(f"epoch {done} of {total}: loss {values['train']:.5g}, validation {values['validation']:.5g}, {values['seconds']:.1f} s")  # fmt: skip
        if log:
            with told(job.tensorboard):  # its files are written by a thread of its own, which tells of a full disk late
                for name in ("train", "validation", "rate"):
                    log.add_scalar(name, values[name], done)
        if progress:
            progress(done, total)

    network = plan.network.to(device)
    network.launch = choose_device("cpu", job.threads)
    parts = plan.training.to(device), plan.validation.to(device)
    keep = job.checkpoint, fingerprint, job.resume
    try:
        return loop.train(network, plan.loss, *parts, plan.schedule, job.seed, *keep, report)
    finally:
        if log:
            with told(job.tensorboard):
                log.close()


def read_data(stores: Sequence[Path], bvalues: NDArray | None, supervised: bool) -> Data:
    """All voxels of the stores that can teach, over S0; the others are left out and counted.

    Raises
    ------
    InputError
        see `training.read.read_stores`
    """
    parts = read_stores(stores, bvalues, supervised)
    signals, sigma = (np.concatenate([getattr(part, name) for part in parts]) for name in ("signals", "sigma"))
    truth = clean = None
    if all(part.truth is not None for part in parts):
        truth = np.concatenate([part.truth for part in parts])
        f, D, Dstar = (truth / np.array(SCALES, np.float32)).T
        clean = np.ascontiguousarray(simulate_signals(1.0, f, D, Dstar, parts[0].bvalues), np.float32)
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part.left_out)
    rician = any(part.rician for part in parts)
    return Data(
        parts[0].bvalues, np.ascontiguousarray(signals, np.float32), truth, clean, sigma, rician, dict(left_out)
    )


def _options(job: TrainJob, network: Any) -> tuple[Any, Any, Any]:
    """The options of the network, of the schedule and of the data from the job's settings."""
    from ivimsc.training.loop import Schedule
    from ivimsc.training.plan import DataOptions

    kinds = (network.Options, Schedule, DataOptions)
    settings = dict(job.settings) | ({} if job.epochs is None else {"epochs": job.epochs})
    settings = network.VARIANTS.get(settings.get("variant", "default"), {}) | settings
    settings.pop("population", None)
    known = {f.name: kind for kind in kinds for f in dataclasses.fields(kind)}
    for key in settings:
        if key not in known:
            raise InputError(f"option of train {job.name}: found {key!r}, expected one of {', '.join(known)}")
    return tuple(typed_options(kind, {k: v for k, v in settings.items() if known[k] is kind}, f"train {job.name}") for kind in kinds)  # fmt: skip


def _load_network(method: Method) -> Any:
    """The module of a method's network; DeviceError where torch is missing."""
    try:
        return method.load_network()
    except ImportError as error:
        if "torch" not in (error.name or str(error)):
            raise
        raise DeviceError("train: found no torch, expected it for training: pip install 'ivimsc[learn]'") from None


def _listed(values: NDArray) -> str:
    return ", ".join(f"{b:g}" for b in values)
