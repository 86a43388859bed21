"""q-space MLP: Golkov et al., IEEE Trans. Med. Imaging 35:1344 (2016): signals to parameters, 3 hidden layers of 150."""

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

__all__ = ["VARIANTS", "Mlp", "Options", "draws_scans", "plan"]

SUPERVISED = True
VARIANTS: dict[str, dict[str, Any]] = {"default": {}}


@dataclass(frozen=True)
class Options:
    """How the network is built."""

    layers: int = field(default=3, metadata={"help": "hidden layers"})
    width: int = field(default=150, metadata={"help": "units per hidden layer"})
    dropout: float = field(default=0.0, metadata={"help": "share of units dropped in training"})

    def __post_init__(self) -> None:
        if self.layers < 1 or self.width < 1:
            raise InputError(f"options of mlp: found {self.layers} layers of {self.width}, expected at least 1 of each")
        if not 0 <= self.dropout < 1:
            raise InputError(f"option dropout of mlp: found {self.dropout:g}, expected 0 to below 1")


class Mlp(nn.Module):
    """The network for one protocol. Input (voxel, b): signals over S0; output (voxel, 3): f, D and D* [µm²/ms].

    Inputs and outputs are standardised by mean and SD of the training data (`standardise`).
    """

    def __init__(self, bvalues: NDArray, options: Options, seed: int = 0) -> None:
        super().__init__()
        self.options = options
        sizes = [len(bvalues)] + [options.width] * options.layers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
            self.last = nn.Linear(sizes[-1], 3)
        self.dropout = nn.Dropout(options.dropout)
        for name, n in (("in_mean", len(bvalues)), ("in_sd", len(bvalues)), ("out_mean", 3), ("out_sd", 3)):
            self.register_buffer(name, torch.zeros(n) if name.endswith("mean") else torch.ones(n))

    def standardise(self, signals: torch.Tensor, truth: torch.Tensor) -> None:
        """Take mean and SD of the training signals (voxel, b) and parameters (voxel, 3)."""
        for values, mean, sd in ((signals, self.in_mean, self.in_sd), (truth, self.out_mean, self.out_sd)):
            mean.copy_(values.mean(0))
            sd.copy_(values.std(0))

    def forward(self, signals):
        """f, D, D* (voxel, 3)."""
        x = (signals - self.in_mean) / self.in_sd
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return self.last(x) * self.out_sd + self.out_mean

    def arrays(self) -> dict[str, torch.Tensor]:
        """What the model file holds: standardisation folded into the first and the last layer."""
        layers = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in (*self.hidden, self.last)]
        weight, bias = layers[0]
        layers[0] = weight / self.in_sd, bias - (weight / self.in_sd) @ self.in_mean
        weight, bias = layers[-1]
        layers[-1] = weight * self.out_sd[:, None], bias * self.out_sd + self.out_mean
        return {
            f"{kind}{i}": a for i, layer in enumerate(layers) for kind, a in zip(("weight", "bias"), layer, strict=True)
        }


def draws_scans(options: Options) -> bool:
    """Whether the training draws its own scans, and takes no voxel stores."""
    return False


def plan(options: Options, schedule: Schedule, chosen: DataOptions, data: Data, seed: int) -> Plan:
    """The training on `data`: see `training.plan.plan_voxels`."""
    return plan_voxels(Mlp, options, schedule, chosen, data, seed, standardise=True)
