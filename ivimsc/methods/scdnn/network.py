"""SCDNN in torch, for training: the paper's section 2, a sparse-coding network whose layers are dictionaries that it learns.

    y -> A -> [threshold -> B -> + A y] × T -> threshold -> f from the two halves' sums, D and D* from their moments

A layer B that is free is any N × N matrix, as in the paper. A factored one, the default, is B = I - W_t Φ_t, where W_t
(N × K) and Φ_t (K × N) are each unit's own. A unit is then x + W_t (y - Φ_t x): equation (6) with a dictionary that is
learned, in K·N instead of N² operations. Where it starts from the physical dictionary, with Φ_t = Φ and W_t = Φᵀ/L, the
untrained network is the iteration of `ista`.

The factored units are one torch function, `units`. On the CPU it runs Numba kernels, forwards and backwards, which keep a
block of voxels in the cache through all units. Elsewhere it is torch operations, `by_torch`, which is also the reference.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ivimsc.device.launch import Launch, choose_device, run_blocks
from ivimsc.errors import InputError
from ivimsc.methods.scdnn.slopes import Slopes, backward
from ivimsc.methods.scdnn.units import Weights, blocks_of, forward
from ivimsc.physics.dictionary import make_dictionary
from ivimsc.physics.parameters import BY_KEY
from ivimsc.training.data import Data
from ivimsc.training.loop import Schedule
from ivimsc.training.plan import DataOptions, Plan, plan_voxels

__all__ = [
    "SUPERVISED",
    "VARIANTS",
    "Options",
    "Scdnn",
    "by_torch",
    "draws_scans",
    "in_numpy",
    "plan",
    "sums_of",
    "threshold",
    "units",
]

SUPERVISED = True
VARIANTS: dict[str, dict[str, Any]] = {  # what a variant sets unless the user does
    "default": {"rate": 5e-4},
    "paper": {"form": "free", "threshold": "hard", "units": 4},
    "general": {
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

LOWEST_D = 1e-5  # mm²/s: a logarithmic grid cannot start at 0
SMALL = 1e-12  # keeps the quotients of (8) to (10) finite in training where a part is empty


@dataclass(frozen=True)
class Options:
    """How the network is built; each default was measured (docs/learning.md)."""

    variant: str = field(default="default", metadata={"help": "default, paper (the paper's own choices) or general"})
    atoms: int = field(default=600, metadata={"help": "N, even: half of them D, half D*"})
    units: int = field(default=8, metadata={"help": "T, number of iteration units"})
    threshold: str = field(default="soft", metadata={"help": "soft or hard"})
    residual: str = field(default="encoded", metadata={"help": "encoded (+ A y, equation (6)) or input (the text)"})
    form: str = field(default="factored", metadata={"help": "factored (B = I - W Φ) or free (B any N × N)"})
    shared: bool = field(default=False, metadata={"help": "one set of weights for all units"})
    start: str = field(default="physical", metadata={"help": "physical (the fixed dictionary) or random"})
    grids: str = field(default="fixed", metadata={"help": "fixed or learned diffusivities in (9) and (10)"})
    beta: float = field(default=0.0, metadata={"help": "β of (5) that the thresholds start from"})

    def __post_init__(self) -> None:
        choices = {
            "variant": ("default", "paper", "general"),
            "threshold": ("soft", "hard"),
            "residual": ("encoded", "input"),
            "form": ("factored", "free"),
            "start": ("physical", "random"),
            "grids": ("fixed", "learned"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"option {name} of scdnn: found {getattr(self, name)!r}, expected {' or '.join(allowed)}"
                )
        if self.atoms < 4 or self.atoms % 2:
            raise InputError(f"option atoms of scdnn: found {self.atoms}, expected an even number >= 4")
        if self.units < 1:
            raise InputError(f"option units of scdnn: found {self.units}, expected at least 1")
        if not 0 <= self.beta < np.inf:
            raise InputError(f"option beta of scdnn: found {self.beta:g}, expected a number >= 0")


class Scdnn(nn.Module):
    """The network for one protocol. Input (voxel, b): signals over S0; output (voxel, 3): f, D and D* [µm²/ms]."""

    def __init__(self, bvalues: NDArray[np.float64], options: Options, seed: int = 0) -> None:
        super().__init__()
        self.options, half = options, options.atoms // 2
        self.launch: Launch | None = None  # threads of the kernels; None: all
        d, dstar = BY_KEY["d"], BY_KEY["dstar"]
        dictionary = make_dictionary(bvalues, "log", (half, half), (LOWEST_D, d.upper), (dstar.lower, dstar.upper))
        L = dictionary.lipschitz
        sets = 2 if options.shared else options.units + 1  # layer A is its own where the units share
        if options.start == "physical":
            phi = torch.tensor(dictionary.matrix, dtype=torch.float32)
            w = phi / L
        else:
            generator = torch.Generator().manual_seed(seed)
            phi = torch.rand(dictionary.matrix.shape, generator=generator)
            w = phi / np.linalg.norm(phi.numpy(), 2) ** 2
        self.half = half
        self.w = nn.Parameter(w.repeat(sets if options.form == "factored" else 1, 1, 1))
        if options.form == "factored":
            self.phi = nn.Parameter(phi.repeat(sets, 1, 1))
        else:
            self.b = nn.Parameter((torch.eye(options.atoms) - w.T @ phi).repeat(sets - 1, 1, 1))
        self.thresholds = nn.Parameter(torch.full((sets, options.atoms), options.beta / (2 * L)))
        grid = torch.tensor(np.concatenate([dictionary.D, dictionary.Dstar]) * 1e3, dtype=torch.float32)
        if options.grids == "learned":
            self.log_grid = nn.Parameter(torch.log(grid))
        else:
            self.register_buffer("log_grid", torch.log(grid))

    @property
    def grid(self):
        """Diffusivities (atom,) [µm²/ms]: N/2 of D, then N/2 of D*."""
        return torch.exp(self.log_grid)

    def weights(self):
        """W, Φ (unit, b, atom) and thresholds (unit, atom), one for each unit, of the factored form."""
        return tuple(self._of_units(p) for p in (self.w, self.phi, self.thresholds))

    def _of_units(self, parameter):
        if not self.options.shared:
            return parameter
        return torch.cat([parameter[:1], parameter[1:].expand(self.options.units, *parameter.shape[1:])])

    def code(self, signals):
        """Coefficients x (voxel, atom) after the last unit."""
        options = self.options
        hard, onto_input = options.threshold == "hard", options.residual == "input"
        if options.form == "factored":
            return by_torch(signals, *self.weights(), hard, onto_input)
        cuts, encoded = self._of_units(self.thresholds), signals @ self.w[0]
        u = encoded
        x = threshold(u, cuts[0], hard)
        for t in range(options.units):
            u = x @ self.b[min(t, len(self.b) - 1)] + (u if onto_input else encoded)
            x = threshold(u, cuts[t + 1], hard)
        return x

    def sums(self, signals):
        """Σx and Σgx of tissue and of perfusion part (voxel, 4)."""
        hard = self.options.threshold == "hard"
        if self.options.form == "factored" and self.options.residual == "encoded":
            return units(signals, Weights(*self.weights(), self.grid, self.half, hard, False), self.launch)
        return sums_of(self.code(signals), self.grid, self.half)

    def forward(self, signals):
        """f, D, D* (voxel, 3) by (8) to (10)."""
        tissue, d, blood, dstar = self.sums(signals).unbind(1)
        f = blood / (tissue + blood).clamp_min(SMALL)
        return torch.stack([f, d / tissue.clamp_min(SMALL), dstar / blood.clamp_min(SMALL)], dim=1)

    def arrays(self) -> dict[str, torch.Tensor]:
        """What the model file holds: w, phi (or b) and thresholds of every unit, the grid and the number of D in it."""
        arrays = {"thresholds": self._of_units(self.thresholds).detach(), "grid": self.grid.detach()}
        if self.options.form == "factored":
            w, phi, _ = self.weights()
            return arrays | {"w": w.detach(), "phi": phi.detach()}
        b = self.b.detach().expand(self.options.units, *self.b.shape[1:])
        return arrays | {"w": self.w.detach(), "b": b}


class _Kernels(NamedTuple):
    """What the kernels are told beside tensors; launch: the threads to run on."""

    n_d: int
    hard: bool
    launch: Launch


class _Units(torch.autograd.Function):
    """Signals and weights to the four sums of the code (Σx, Σgx of tissue, of perfusion), float32 on the CPU."""

    @staticmethod
    def forward(context, signals, w, phi, thresholds, grid, told):
        tensors = [t.detach().contiguous() for t in (signals, w, phi, thresholds, grid)]
        context.save_for_backward(*tensors)
        context.told = told
        sums, none = torch.empty(len(signals), 4), torch.empty(0, w.shape[2])
        y, weights = in_numpy(tensors, told.n_d, told.hard)
        run_blocks(told.launch, forward, blocks_of(len(y)), y, weights, sums.numpy(), none.numpy(), block=1)
        return sums

    @staticmethod
    def backward(context, slope):
        told = context.told
        y, weights = in_numpy(context.saved_tensors, told.n_d, told.hard)
        blocks = blocks_of(len(y))
        shares = [torch.empty(blocks, *like.shape) for like in context.saved_tensors[1:]]
        slopes = Slopes(*(share.numpy() for share in shares))
        run_blocks(told.launch, backward, blocks, y, weights, slope.contiguous().numpy(), slopes, block=1)
        return None, *(share.sum(0) for share in shares), None


def in_numpy(tensors, n_d: int, hard: bool):
    """Signals and `Weights` as arrays, from the tensors signals, w, phi, thresholds and grid."""
    signals, *weights = (tensor.numpy() for tensor in tensors)
    return signals, Weights(*weights, n_d, hard, False)


def units(signals, weights: Weights, launch: Launch | None = None):
    """The sums (voxel, 4) of the code after all units.

    Parameters
    ----------
    signals : (voxel, b)
    weights : `units.Weights` of tensors, with `onto_input` false
    launch : the threads of the kernels; by default all
    """
    if signals.device.type == "cpu" and signals.dtype == torch.float32:
        told = _Kernels(weights.n_d, weights.hard, launch or choose_device("cpu"))
        return _Units.apply(signals, weights.w, weights.phi, weights.thresholds, weights.grid, told)
    return sums_of(by_torch(signals, weights.w, weights.phi, weights.thresholds, weights.hard), weights.grid, weights.n_d)  # fmt: skip


def by_torch(signals, w, phi, thresholds, hard: bool, onto_input: bool = False):
    """The code (voxel, atom) after all units, in torch operations on any device and of any type."""
    u = signals @ w[0]
    x = threshold(u, thresholds[0], hard)
    for t in range(1, len(w)):
        u = (u + x - (x @ phi[t].T) @ w[t]) if onto_input else x + (signals - x @ phi[t].T) @ w[t]
        x = threshold(u, thresholds[t], hard)
    return x


def threshold(u, cut, hard: bool):
    """H of (7) or the soft threshold; the hard one's cut learns by the soft one's slope: its own is zero."""
    if not hard:
        return torch.relu(u - cut)
    active = (u >= cut) & (u > 0)
    return torch.where(active, u + (cut.detach() - cut), torch.zeros_like(u))


def sums_of(x, grid, n_d: int):
    """Σx and Σgx of the tissue part, then of the perfusion part, (voxel, 4)."""
    moment = x * grid
    return torch.stack([x[:, :n_d].sum(1), moment[:, :n_d].sum(1), x[:, n_d:].sum(1), moment[:, n_d:].sum(1)], dim=1)


def draws_scans(options: Options) -> bool:
    """Whether the training draws its own scans, and takes no voxel stores."""
    return options.variant == "general"


def plan(options: Options, schedule: Schedule, chosen: DataOptions, data: Data | None, seed: int) -> Plan:
    """The training on `data`, or of the general model, which draws its own scans (`data` is None)."""
    if data is None:
        from ivimsc.methods.scdnn.general.network import plan_general

        return plan_general(options, schedule, seed)
    return plan_voxels(Scdnn, options, schedule, chosen, data, seed)
