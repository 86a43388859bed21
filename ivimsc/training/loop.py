"""The one training loop, for every network: Adam, cosine warm-up and decay, early stop, and a checkpoint per epoch.

A run is a function of its seed: the order of the voxels, the noise and the dropout of epoch e are keyed by (seed, e), so
that a run that was killed and goes on from its checkpoint ends in the same weights as one that was not.
"""

import hashlib
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from ivimsc.errors import InputError, IvimscError
from ivimsc.files import told, written_whole
from ivimsc.text import one_line

__all__ = ["Samples", "Schedule", "Source", "train"]

HISTORY = ("train", "validation", "rate", "seconds")  # what is kept of each epoch
Report = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Schedule:
    """How to train. The defaults are the paper's, its section on training."""

    epochs: int = field(default=10, metadata={"help": "passes over the training voxels"})
    batch: int = field(default=128, metadata={"help": "voxels per step"})
    rate: float = field(default=1e-4, metadata={"help": "learning rate of Adam, at its highest"})
    warm_up: int = field(default=3, metadata={"help": "epochs over which the rate rises from 0 (cosine)"})
    memory: float = field(default=0.999, metadata={"help": "share of the mean squared slope that Adam keeps per step"})
    clip: float = field(default=0.0, metadata={"help": "largest norm of a step's slope (0: any)"})
    patience: int = field(default=0, metadata={"help": "stop after so many epochs without a better validation loss (0: never)"})  # fmt: skip
    epoch_voxels: int = field(default=0, metadata={"help": "voxels per epoch, drawn again and again (0: each once)"})

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("warm_up", 0), ("patience", 0), ("epoch_voxels", 0)):
            if getattr(self, name) < least:
                raise InputError(f"option {name}: found {getattr(self, name)}, expected at least {least}")
        if not 0 < self.memory < 1:
            raise InputError(f"option memory: found {self.memory:g}, expected above 0 and below 1")
        if not 0 <= self.clip < math.inf:
            raise InputError(f"option clip: found {self.clip:g}, expected a number >= 0")
        if not 0 < self.rate < math.inf:
            raise InputError(f"option rate: found {self.rate:g}, expected a number > 0")

    def rate_at(self, epoch: float) -> float:
        """Learning rate after `epoch` epochs, a fraction included."""
        if epoch < self.warm_up:
            return self.rate * 0.5 * (1 - math.cos(math.pi * epoch / self.warm_up))
        part = (epoch - self.warm_up) / max(self.epochs - self.warm_up, 1e-9)
        return self.rate * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))


Batch = tuple[torch.Tensor | None, ...]


class Source(Protocol):
    """Where batches come from: what the loss is called with."""

    def __len__(self) -> int: ...

    def batches(self, schedule: Schedule, key: int) -> Iterator[tuple[int, Batch]]:
        """One epoch in an order, and with noise, that depend on `key` alone: (voxels, batch)."""
        ...

    def fixed(self) -> Iterator[tuple[int, Batch]]:
        """All there is, the same each time."""
        ...


@dataclass
class Samples:
    """Voxels of one protocol to learn from, on the device of the network: a `Source` of (signals, truth).

    signals (voxel, b) over S0; truth (voxel, parameter) f, D, D* [µm²/ms], or None; sigma (voxel,): SD of the noise to
    draw anew whenever a voxel is seen, over S0, where `signals` are free of noise, else None; rician: kind of noise.
    """

    signals: torch.Tensor
    truth: torch.Tensor | None
    sigma: torch.Tensor | None = None
    rician: bool = True

    def __len__(self) -> int:
        return len(self.signals)

    def to(self, device: torch.device) -> "Samples":
        """The same samples on `device`."""
        truth, sigma = (None if t is None else t.to(device) for t in (self.truth, self.sigma))
        return Samples(self.signals.to(device), truth, sigma, self.rician)

    def batches(self, schedule: Schedule, key: int) -> Iterator[tuple[int, Batch]]:
        """Every voxel once, or as often as `schedule.epoch_voxels` asks."""
        generator, n = torch.Generator().manual_seed(key), len(self)
        size = schedule.epoch_voxels or n
        order = torch.cat([torch.randperm(n, generator=generator) for _ in range(-(-size // n))])[:size]
        for places in order.to(self.signals.device).split(schedule.batch):
            if len(places) > 1:  # batch normalisation has no variance of one voxel
                yield len(places), self._take(places, generator)

    def fixed(self) -> Iterator[tuple[int, Batch]]:
        """All voxels in order, as they are."""
        for places in torch.arange(len(self), device=self.signals.device).split(8192):
            yield len(places), (self.signals[places], None if self.truth is None else self.truth[places])

    def _take(self, places: torch.Tensor, generator: torch.Generator) -> Batch:
        """Signals, with noise by equation (11), and truth of the voxels at `places`."""
        signals = self.signals[places]
        if self.sigma is not None:
            noise = torch.randn((2, *signals.shape), generator=generator).to(signals.device)
            noise *= self.sigma[places, None]
            signals = torch.hypot(signals + noise[0], noise[1]) if self.rician else signals + noise[0]
        return signals, None if self.truth is None else self.truth[places]


def train(
    network: torch.nn.Module,
    loss: Callable[..., torch.Tensor],
    training: Source,
    validation: Source,
    schedule: Schedule,
    seed: int,
    checkpoint: Path,
    fingerprint: str,
    resume: bool = False,
    report: Report | None = None,
) -> dict[str, list[float]]:
    """Train `network` in place, down to the weights of its best epoch; returns the history, one number per epoch.

    Parameters
    ----------
    loss : of (network, *batch), a mean over voxels
    checkpoint : file for the state after each epoch; removed by the caller when the model is written
    fingerprint : what makes this run the same as an earlier one; a checkpoint of another run is refused
    resume : go on from `checkpoint` where there is one
    report : called with (epochs done, epochs in all, {"train", "validation", "rate"})

    Raises
    ------
    InputError
        for an empty split, and a checkpoint that is damaged or of another run
    IvimscError
        if the loss becomes NaN, or the disk is full
    """
    if not len(training) or not len(validation):
        raise InputError(f"training: found {len(training)} voxels to train and {len(validation)} to validate, expected some of each")  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.rate, betas=(0.9, schedule.memory), fused=True)
    history: dict[str, list[float]] = {name: [] for name in HISTORY}
    best, kept, first = math.inf, None, 0
    if resume and checkpoint.is_file():
        history, best, kept, first = _restore(checkpoint, fingerprint, network, optimiser)
    for epoch in range(first, schedule.epochs):
        if schedule.patience and _waited(history["validation"]) >= schedule.patience:
            break
        begin = time.perf_counter()
        total = _epoch(network, loss, training, schedule, optimiser, seed, epoch)
        checked = _validate(network, loss, validation)
        if not math.isfinite(total + checked):
            raise IvimscError(f"training: found a loss of {total:g} in epoch {epoch + 1}, expected a number: a lower rate may help")  # fmt: skip
        if checked < best:
            best, kept = checked, {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        values = (total, checked, schedule.rate_at(epoch + 1), time.perf_counter() - begin)
        for name, value in zip(history, values, strict=True):
            history[name].append(value)
        state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "history": history, "best": best}
        _save(checkpoint, state | {"kept": kept, "epoch": epoch + 1, "fingerprint": fingerprint})
        if report:
            report(epoch + 1, schedule.epochs, {name: history[name][-1] for name in history})
    network.load_state_dict(kept)
    network.eval()
    return history


def _epoch(network, loss, training, schedule, optimiser, seed, epoch) -> float:
    """One epoch; the mean training loss."""
    network.train()
    key = (seed << 20) + epoch
    size = schedule.epoch_voxels or len(training)
    total, seen = 0.0, 0
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(key)  # dropout
        for n, batch in training.batches(schedule, key):
            seen += n
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate_at(epoch + min(seen / size, 1.0))
            value = loss(network, *batch)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            if schedule.clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
            optimiser.step()
            total += value.detach() * n
    return float(total) / max(seen, 1)


@torch.no_grad()
def _validate(network, loss, validation) -> float:
    """Mean loss over the validation voxels, whose noise is fixed."""
    network.eval()
    pairs = [(float(loss(network, *batch)) * n, n) for n, batch in validation.fixed()]
    return sum(value for value, _ in pairs) / sum(n for _, n in pairs)


def _waited(losses: list[float]) -> int:
    """Epochs since the best one."""
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def _save(path: Path, state: dict[str, Any]) -> None:
    data = io.BytesIO()  # torch tells a full disk by an error of its own, so it does not write the file itself
    torch.save(state, data)
    content = data.getvalue()
    with written_whole(path, force=True) as temporary:
        temporary.write_bytes(_head(content) + content)


def _head(content: bytes) -> bytes:
    """The line before the state in a checkpoint: what it is, and the state's SHA-256."""
    return f"ivimsc-checkpoint {hashlib.sha256(content).hexdigest()}\n".encode()


def _restore(path: Path, fingerprint: str, network: Any, optimiser: Any) -> tuple[dict, float, dict, int]:
    """Network and optimiser as the checkpoint has them; history, best loss, weights of the best epoch, epochs done."""
    with told(path, "a checkpoint"):
        head, _, content = path.read_bytes().partition(b"\n")
    try:
        if head + b"\n" != _head(content):
            raise ValueError("wrong checksum")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if state["fingerprint"] == fingerprint:
            kept = {name: state["kept"][name].to(tensor) for name, tensor in network.state_dict().items()}
            history = {name: [float(v) for v in state["history"][name]] for name in HISTORY}
            found = history, float(state["best"]), kept, int(state["epoch"])
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            return found
    except Exception as error:  # torch raises what the damage makes of it
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise InputError(f"{path}: found no readable checkpoint ({one_line(why)[:80]}), expected that of a training: without resume it starts anew") from None  # fmt: skip
    raise InputError(f"{path}: found the checkpoint of another training, expected that of this one: without resume it starts anew")  # fmt: skip
