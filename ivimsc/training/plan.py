"""A training made ready: from options and voxels to the network, its loss and its samples."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.training.data import Data
from ivimsc.training.loop import Samples, Schedule, Source

__all__ = ["DataOptions", "Plan", "parameter_loss", "plan_voxels", "seen_again", "signal_loss"]

SEEN = 100_000  # voxels that tell how large the errors of a trained network are
LEAST = 50_000  # voxels per epoch where there are fewer: each is then seen several times, with fresh noise


@dataclass(frozen=True)
class DataOptions:
    """What of the voxels is learned from."""

    validation: float = field(default=0.1, metadata={"help": "share of voxels kept for validation"})
    fraction: float = field(default=1.0, metadata={"help": "share of all voxels that is used"})
    noise: str = field(default="auto", metadata={"help": "fresh (drawn anew at each sight, equation (11)), store (the stored signals) or auto"})  # fmt: skip
    snr: float | None = field(default=None, metadata={"help": "SNR of fresh noise (none: the stores')"})

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise InputError(f"option validation: found {self.validation:g}, expected above 0 and below 1")
        if not 0 < self.fraction <= 1:
            raise InputError(f"option fraction: found {self.fraction:g}, expected above 0 to 1")
        if self.noise not in ("auto", "fresh", "store"):
            raise InputError(f"option noise: found {self.noise!r}, expected auto, fresh or store")
        if self.snr is not None and not 0 < self.snr < np.inf:
            raise InputError(f"option snr: found {self.snr:g}, expected a number > 0")


@dataclass
class Plan:
    """A training made ready: network, loss of (network, signals, truth), samples, schedule, and what the model file says."""

    network: torch.nn.Module
    loss: Callable[..., torch.Tensor]
    training: Source
    validation: Source
    schedule: Schedule
    about: dict[str, Any]


def plan_voxels(
    make: Callable[..., torch.nn.Module],
    options: Any,
    schedule: Schedule,
    chosen: DataOptions,
    data: Data,
    seed: int,
    supervised: bool = True,
    standardise: bool = False,
) -> Plan:
    """The training of a network for the protocol of `data`.

    Parameters
    ----------
    make : makes the network from (b-values [s/mm²], options, seed)
    options, schedule, chosen : of the network, of the training and of the data
    data : voxels of one protocol
    seed : keys the split and the start
    supervised : the network learns from the truth; else from the signals alone
    standardise : the network has ``standardise(signals, truth)``, to be called with the training voxels

    Raises
    ------
    InputError
        for an empty split, and for fresh noise without truth or noise level
    """
    held, used = _split(chosen, len(data), seed)
    fresh = _fresh(chosen, data, supervised)
    sigma = data.sigma if chosen.snr is None else np.full(len(data), 1 / chosen.snr, np.float32)
    training = _samples(data, used, sigma if fresh else None, supervised)
    validation = _samples(data, held, None, supervised)
    if not schedule.epoch_voxels:
        schedule = replace(schedule, epoch_voxels=max(len(used), LEAST if fresh else 0))
    network = make(data.bvalues, options, seed)
    if standardise:
        network.standardise(torch.from_numpy(data.signals[used]), training.truth)
    loss = parameter_loss(training.truth.std(0)) if supervised else signal_loss
    about = {
        "bvalues": data.bvalues.tolist(),
        "s0": "known",
        "options": asdict(options),
        "training": {"voxels": len(used), "validation": len(held), "seed": seed, "noise": "fresh" if fresh else "store"}
        | dict(asdict(schedule).items()),
        "range": _range(data, used, supervised),
    }
    return Plan(network, loss, training, validation, schedule, about)


@torch.no_grad()
def seen_again(plan: Plan, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Signals (voxel, b), what the trained network gives for them, and their truth (voxel, 3): f, D, D* [1, µm²/ms].

    Training voxels with noise that the network has not seen, where noise is drawn anew, else the validation voxels.
    """
    source = plan.training if plan.training.sigma is not None else plan.validation
    generator = torch.Generator().manual_seed((seed << 20) + SEEN)
    places = torch.randint(len(source), (max(SEEN, len(source)),), generator=generator)[:SEEN]
    signals, truth = source._take(places, generator) if source.sigma is not None else (source.signals, source.truth)
    network = plan.network.eval()
    outputs = torch.cat([network(part) for part in signals.split(8192)])
    return signals.numpy(), outputs.numpy(), truth.numpy()


def _split(chosen: DataOptions, n: int, seed: int) -> tuple[NDArray, NDArray]:
    """The numbers of the voxels that validate, and of those that are trained on."""
    order = np.random.Generator(np.random.Philox(seed)).permutation(n)
    order = order[: round(chosen.fraction * n)]
    held = round(chosen.validation * len(order))
    if not held or held == len(order):
        raise InputError(f"training: found {len(order):,} voxels, {held} of them to validate, expected some to train on and some to validate")  # fmt: skip
    return np.sort(order[:held]), np.sort(order[held:])


def parameter_loss(sd: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Squared error of f, D and D*, each over the variance sd² of the training truth: 1 is what a constant reaches."""

    def loss(network, signals, truth):
        return (((network(signals) - truth) / sd.to(signals.device)) ** 2).mean()

    return loss


def signal_loss(network, signals, truth):
    """Squared error of the signals that the network's parameters give; the truth is not used."""
    return network.loss(signals)


def _fresh(chosen: DataOptions, data: Data, supervised: bool) -> bool:
    """Whether noise is drawn anew: possible with truth and a noise level; learning without truth learns from what is there."""
    possible = data.clean is not None and (chosen.snr is not None or bool(np.all(data.sigma > 0)))
    if chosen.noise == "fresh" and not possible:
        raise InputError("option noise: found fresh, expected store: the stores have no truth or no noise level (snr=… gives one)")  # fmt: skip
    return possible and (chosen.noise == "fresh" or (chosen.noise == "auto" and supervised))


def _samples(data: Data, places: NDArray, sigma: NDArray | None, supervised: bool) -> Samples:
    signals = data.signals if sigma is None else data.clean
    truth = torch.from_numpy(data.truth[places]) if supervised else None
    noise = None if sigma is None else torch.from_numpy(sigma[places])
    return Samples(torch.from_numpy(signals[places]), truth, noise, data.rician)


def _range(data: Data, used: NDArray, supervised: bool) -> dict[str, Any]:
    """What the training voxels span: signals per b (over S0), and parameters where these were learned from."""
    signals = data.signals[used]
    reach: dict[str, Any] = {"low": signals.min(0).tolist(), "high": signals.max(0).tolist()}
    if supervised:
        low, high = data.truth[used].min(0).tolist(), data.truth[used].max(0).tolist()
        reach |= {key: [a, b] for key, a, b in zip(("f", "D", "Dstar"), low, high, strict=True)}
    return reach
