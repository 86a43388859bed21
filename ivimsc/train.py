"""Training: voxel stores with truth (or, for ivimnet, without) to a model file."""

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc import __version__
from ivimsc.device.launch import choose_device, parse_device
from ivimsc.errors import DeviceError, InputError
from ivimsc.files import make_folder, refuse_existing
from ivimsc.methods import typed_options
from ivimsc.models import Model, write_model
from ivimsc.physics.protocol import require_distinct, select_bvalues
from ivimsc.simulate import simulate_signals
from ivimsc.store import VoxelStore
from ivimsc.training.data import Data

__all__ = ["NETWORKS", "TrainJob", "TrainSummary", "read_data", "train_file"]

NETWORKS = ("scdnn", "mlp", "ivimnet")
KEYS = ("f", "d", "dstar")
VARIANTS: dict[tuple[str, str], dict[str, Any]] = {  # what a variant sets unless the user does
    ("scdnn", "default"): {"rate": 5e-4},
    ("scdnn", "paper"): {"form": "free", "threshold": "hard", "units": 4},
    ("scdnn", "general"): {
        "atoms": 256,
        "units": 4,
        "epochs": 25,
        "batch": 1024,
        "rate": 2e-3,
        "memory": 0.99,
        "clip": 10.0,
        "warm_up": 1,
        "epoch_voxels": 1_024_000,
    },
}
SCALES = (1.0, 1e3, 1e3)  # networks think in µm²/ms


@dataclass(frozen=True)
class TrainJob:
    """One run of ``ivimsc train``.

    Attributes
    ----------
    name : one of `NETWORKS`
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
        for unknown names and options, stores without what the network learns from, NaN in them, an empty split, and a
        model that exists (without ``force``)
    DeviceError
        for a device that is not there, and where torch is missing
    """
    if job.name not in NETWORKS:
        raise InputError(f"train: found {job.name!r}, expected one of {', '.join(NETWORKS)}")
    torch = _torch()
    from ivimsc.training import loop
    from ivimsc.training.build import build, build_general

    say = say or (lambda _: None)
    options, schedule, chosen = _options(job)
    if job.out.suffix != ".safetensors":
        raise InputError(f"{job.out}: found the name of a model without .safetensors, expected MODEL.safetensors")
    refuse_existing(job.out, job.force)
    make_folder(job.out.absolute().parent)
    device = _device(torch, job)
    if getattr(options, "variant", "") == "general":
        if job.stores or job.bvalues is not None:
            raise InputError(
                "train scdnn: found voxel stores or --bvalues, expected none: variant=general draws its own scans"
            )
        plan = build_general(options, schedule, job.seed)
        say(f"{job.name}: random protocols, noise levels and voxels, on {device}")
    else:
        data = read_data(job.stores, job.bvalues, supervised=job.name != "ivimnet")
        require_distinct(data.bvalues, 3, f"train {job.name}")  # for f, D and D*
        plan = build(job.name, options, schedule, chosen, data, job.seed)
        trained = plan.about["training"]
        say(f"{job.name}: b = {_listed(data.bvalues)} s/mm², {trained['voxels']:,} voxels to train, {trained['validation']:,} to validate, noise: {trained['noise']}, on {device}")  # fmt: skip
    plan.about["training"] |= {"stores": [Path(path).name for path in job.stores], "device": str(device)}
    checkpoint = job.out.with_name(f".{job.out.name}.checkpoint")
    if not job.resume:
        with suppress(FileNotFoundError):
            checkpoint.unlink()
    fingerprint = json.dumps([job.name, plan.about, __version__], sort_keys=True)
    log = _tensorboard(job)

    def report(done: int, total: int, values: dict[str, float]) -> None:
        say(f"epoch {done} of {total}: loss {values['train']:.5g}, validation {values['validation']:.5g}, {values['seconds']:.1f} s")  # fmt: skip
        if log:
            for name in ("train", "validation", "rate"):
                log.add_scalar(name, values[name], done)
        if progress:
            progress(done, total)

    network = plan.network.to(device)
    network.launch = choose_device("cpu", job.threads)
    parts = plan.training.to(device), plan.validation.to(device)
    try:
        history = loop.train(network, plan.loss, *parts, plan.schedule, job.seed, checkpoint, fingerprint, job.resume, report)  # fmt: skip
    finally:
        if log:
            log.close()
    arrays = {name: tensor.detach().numpy() for name, tensor in network.cpu().arrays().items()}
    model = Model(job.name, arrays, plan.about | {"history": history, "ivimsc_version": __version__}, str(job.out))
    write_model(job.out, model, job.force)
    with suppress(FileNotFoundError):
        checkpoint.unlink()
    return TrainSummary(job.out, model, history, sum(history["seconds"]))


def read_data(stores: Sequence[Path], bvalues: NDArray | None, supervised: bool) -> Data:
    """All voxels of the stores, over S0.

    S0 is the truth's where there is one, else the signal at b = 0.

    Raises
    ------
    InputError
        for no store, stores of different b-values, without truth (supervised) or b = 0 (else), NaN, or no voxel
    """
    if not stores:
        raise InputError("train: found no voxel store, expected at least one")
    parts, all_b, kinds = [], None, set()
    for path in stores:
        with VoxelStore(path) as store:
            if supervised and store.truth is None:
                raise InputError(f"{path}: found a store without truth, expected one to learn from: `ivimsc simulate` makes them")  # fmt: skip
            columns = np.arange(len(store.bvalues)) if bvalues is None else select_bvalues(store.bvalues, bvalues)
            b = store.bvalues[columns]
            if all_b is not None and not np.array_equal(b, all_b):
                raise InputError(
                    f"{path}: found b = {_listed(b)} s/mm², expected those of {stores[0]}: {_listed(all_b)}"
                )
            all_b, whole = b, store.read(0, len(store))
            zero = np.flatnonzero(store.bvalues == 0)
            if store.truth is not None:
                s0 = store.truth["s0"]
            elif len(zero):
                s0 = whole[:, zero[0]]
            else:
                raise InputError(f"{path}: found neither truth nor b = 0, expected one of them to supply S0")
            truth = None
            if store.truth is not None:
                truth = np.stack([store.truth[k] * np.float32(c) for k, c in zip(KEYS, SCALES, strict=True)], axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                signals = whole[:, columns] / s0[:, None]
                sigma = np.float32(store.attrs.get("sigma", np.nan)) / s0
            bad = ~np.isfinite(signals).all(1) | (False if truth is None else ~np.isfinite(truth).all(1))
            if bad.any():
                raise InputError(f"{path}: found {bad.sum():,} voxels with NaN, Inf or S0 = 0, expected finite signals and truth to learn from")  # fmt: skip
            kinds.add(store.attrs.get("noise", "rician"))
            parts.append((signals, truth, sigma))
    signals, sigma = (np.concatenate([part[i] for part in parts]) for i in (0, 2))
    truths = [part[1] for part in parts]
    truth = None if any(t is None for t in truths) else np.concatenate(truths)
    if not len(signals):
        raise InputError(f"{stores[0]}: found no voxel, expected some to learn from")
    clean = None
    if truth is not None:
        f, D, Dstar = (truth / np.array(SCALES, np.float32)).T
        clean = np.ascontiguousarray(simulate_signals(1.0, f, D, Dstar, all_b), np.float32)
    return Data(all_b, np.ascontiguousarray(signals, np.float32), truth, clean, sigma, kinds != {"gaussian"})


def _options(job: TrainJob) -> tuple[Any, Any, Any]:
    """The network's options, the schedule and the options of the data from the job's settings."""
    from ivimsc.training.build import DataOptions
    from ivimsc.training.loop import Schedule

    module = importlib.import_module(f"ivimsc.methods.{job.name}.network")
    kinds = (module.Options, Schedule, DataOptions)
    settings = dict(job.settings) | ({} if job.epochs is None else {"epochs": job.epochs})
    variant = settings.get("variant", "default")
    settings = VARIANTS.get((job.name, variant), {}) | settings
    known = {f.name: kind for kind in kinds for f in dataclasses.fields(kind)}
    for key in settings:
        if key not in known:
            raise InputError(f"option of train {job.name}: found {key!r}, expected one of {', '.join(known)}")
    return tuple(typed_options(kind, {k: v for k, v in settings.items() if known[k] is kind}, f"train {job.name}") for kind in kinds)  # fmt: skip


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise DeviceError("train: found no torch, expected it for training: pip install 'ivimsc[learn]'") from None
    return torch


def _device(torch: Any, job: TrainJob) -> Any:
    """The torch device; on the CPU torch runs on one thread, the kernels on `job.threads`."""
    kind, index = parse_device(job.device)
    gpus = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cuda" and not gpus:
        raise DeviceError(f"--device: found {job.device!r}, expected a GPU that torch can use: this torch ({torch.__version__}) finds none")  # fmt: skip
    if index and index >= gpus:
        raise DeviceError(f"--device: found {job.device!r}, expected cuda:0 to cuda:{gpus - 1}, which torch finds")
    if gpus:
        return torch.device("cuda", index)
    # Networks this small gain little from torch's own threads, and lose a lot where other programs run.
    torch.set_num_threads(1)
    return torch.device("cpu")


def _tensorboard(job: TrainJob) -> Any:
    if job.tensorboard is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DeviceError("--tensorboard: found no tensorboard, expected it: pip install 'ivimsc[learn]'") from None
    return SummaryWriter(str(job.tensorboard))


def _listed(values: NDArray) -> str:
    return ", ".join(f"{b:g}" for b in values)
