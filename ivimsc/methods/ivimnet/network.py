"""IVIM-NET: Barbieri et al., Magn. Reson. Med. 83:312 (2020), with the settings that Kaandorp et al. found best.

Unsupervised: the network's S0, f, D and D* go through equation (1), and the loss is on the signal. IVIM-NET-optim (Magn.
Reson. Med. 86:2250 (2021)): one network per parameter, two hidden layers as wide as there are b-values, ELU, batch
normalisation, 10 % dropout, outputs bounded by sigmoids that reach a little beyond the physical bounds, S0 fitted.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from ivimsc.errors import InputError
from ivimsc.training.data import Data
from ivimsc.training.loop import Schedule
from ivimsc.training.plan import DataOptions, Plan, plan_voxels

__all__ = ["BOUNDS", "VARIANTS", "IvimNet", "Options", "biexponential", "draws_scans", "plan"]

SUPERVISED = False  # it learns from the signals alone
VARIANTS: dict[str, dict[str, Any]] = {
    # 100 steps an epoch, whatever the number of voxels, until the validation loss stops falling; measured, docs/learning.md.
    # Without `clip` the start decides: a D* below 0 makes signals explode, and Adam remembers that slope.
    "default": {"epochs": 50, "patience": 10, "rate": 3e-3, "warm_up": 1, "clip": 0.1, "epoch_voxels": 12_800}
}

# S0 over its known value, f, D and D* [µm²/ms]: the ranges of IVIM-NET-optim
BOUNDS = ((0.7, 1.3), (-0.05, 0.7), (-0.1, 5.0), (-50.0, 300.0))


@dataclass(frozen=True)
class Options:
    """How the network is built."""

    layers: int = field(default=2, metadata={"help": "hidden layers of each parameter's network"})
    width: int = field(default=0, metadata={"help": "units per hidden layer (0: as many as b-values)"})
    dropout: float = field(default=0.1, metadata={"help": "share of units dropped in training"})

    def __post_init__(self) -> None:
        if self.layers < 1 or self.width < 0:
            raise InputError(f"options of ivimnet: found {self.layers} layers of {self.width}, expected >= 1 of >= 0")
        if not 0 <= self.dropout < 1:
            raise InputError(f"option dropout of ivimnet: found {self.dropout:g}, expected 0 to below 1")


def biexponential(parameters, b):
    """Equation (1): S0, f, D, D* [µm²/ms] (voxel, 4) and b (b,) [ms/µm²] to signals (voxel, b)."""
    S0, f, D, Dstar = (p[:, None] for p in parameters.unbind(1))
    return S0 * ((1 - f) * torch.exp(-b * D) + f * torch.exp(-b * Dstar))


class Side(nn.Module):
    """One linear layer of each parameter's network, side by side: (voxel, parameter, in) to (voxel, parameter, out)."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        layers = [nn.Linear(into, out) for _ in BOUNDS]  # torch's own start
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x):
        """The layers' outputs."""
        return torch.baddbmm(self.bias[:, None], x.transpose(0, 1), self.weight.transpose(1, 2)).transpose(0, 1)


class IvimNet(nn.Module):
    """The network for one protocol. Input (voxel, b): signals over S0; output (voxel, 4): S0, f, D, D* [µm²/ms].

    The networks of the four parameters run side by side, as one product per layer: a step of training is then several
    times as fast. Batch normalisation works on every unit alone, so it is one for all.
    """

    def __init__(self, bvalues: NDArray, options: Options, seed: int = 0) -> None:
        super().__init__()
        self.options, n = options, len(bvalues)
        width = options.width or n
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = [n] + [width] * options.layers
            self.hidden = nn.ModuleList(Side(a, b) for a, b in itertools.pairwise(sizes))
            self.last = Side(width, 1)
        self.norms = nn.ModuleList(nn.BatchNorm1d(len(BOUNDS) * width) for _ in self.hidden)
        self.dropout = nn.Dropout(options.dropout)
        low, high = torch.tensor(BOUNDS).T
        self.register_buffer("low", low.clone())
        self.register_buffer("span", high - low)
        self.register_buffer("b", torch.tensor(bvalues * 1e-3, dtype=torch.float32))

    def forward(self, signals):
        """S0, f, D, D* (voxel, 4), within `BOUNDS`."""
        x = signals[:, None].expand(-1, len(BOUNDS), -1)  # (voxel, parameter, b)
        for i, (layer, norm) in enumerate(zip(self.hidden, self.norms, strict=True)):
            x = layer(x)  # (voxel, parameter, unit)
            x = nn.functional.elu(norm(x.flatten(1))).view_as(x)
            x = self.dropout(x) if i + 1 < len(self.hidden) else x
        return self.low + self.span * torch.sigmoid(self.last(x)[..., 0])

    def loss(self, signals):
        """Mean squared error of the signals."""
        return ((biexponential(self(signals), self.b) - signals) ** 2).mean()

    def arrays(self) -> dict[str, torch.Tensor]:
        """What the model file holds: layers with their batch normalisation folded in, (parameter, out, in)."""
        folded = {}
        for i, layer in enumerate([*self.hidden, self.last]):
            weight, bias = layer.weight.detach(), layer.bias.detach()
            if i < len(self.norms):
                norm = self.norms[i]
                factor = (norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)).view_as(bias)
                weight = weight * factor[..., None]
                bias = (bias - norm.running_mean.view_as(bias)) * factor + norm.bias.detach().view_as(bias)
            folded[f"weight{i}"], folded[f"bias{i}"] = weight, bias
        return folded | {"bounds": torch.tensor(BOUNDS)}


def draws_scans(options: Options) -> bool:
    """Whether the training draws its own scans, and takes no voxel stores."""
    return False


def plan(options: Options, schedule: Schedule, chosen: DataOptions, data: Data, seed: int) -> Plan:
    """The training on `data`: see `training.plan.plan_voxels`."""
    return plan_voxels(IvimNet, options, schedule, chosen, data, seed, supervised=SUPERVISED)
