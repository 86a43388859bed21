"""One SCDNN for any scan: its dictionaries, steps and thresholds are functions of the b-values and of the noise.

In the coordinates of `general.canonical`, a scan is ẑ = P y with the context ln E. The units are those of the factored
SCDNN, x <- H(x + W_t (ẑ - A Φ_t x), λ_t), where A = P Ψ is the scan's own. W_t, Φ_t and λ_t are sums of learned matrices,
whose weights are features of the context; a small network makes these. Scans and voxels are drawn anew at every step from
wide priors. S0 is unknown, so ẑ is divided by the linear estimate of S0.

Errors differ by orders of magnitude between scans. A second small network learns the squared error to expect from the
context, and the loss is the squared error over that, so that every scan counts the same.
"""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from ivimsc.device.launch import Launch, choose_device, run_blocks
from ivimsc.errors import InputError
from ivimsc.methods.scdnn.general.canonical import (
    DSTAR,
    LARGEST_B,
    RANK,
    SNR,
    Basis,
    D,
    F,
    Projection,
    draw_parameters,
    make_basis,
    signals_of,
)
from ivimsc.methods.scdnn.network import Options, by_torch, in_numpy, sums_of
from ivimsc.methods.scdnn.slopes import Slopes, backward_sets
from ivimsc.methods.scdnn.units import WIDTH, forward_sets
from ivimsc.training.loop import Batch, Schedule
from ivimsc.training.plan import Plan

__all__ = ["plan_general", "General", "Stream", "draw_bvalues", "normalised", "relative_loss"]

FEATURES = 48  # of the context
MIXED = 8  # of them weigh matrices; all of them move thresholds
POOL, HELD = 20_000, 512  # protocols and noise levels, to train and to validate
FEWEST = 4  # b-values
UNIT = (0.1, 0.2, 0.8, 40.0)  # of S0, f, D, D*, about the SDs of the prior: keep the numbers of the loss near 1


class General(nn.Module):
    """The network. Input: ẑ over S0 (scan, voxel, r), contexts (scan, c) and A (scan, r, r); output (scan, voxel, 4)."""

    def __init__(self, options: Options, seed: int = 0) -> None:
        super().__init__()
        atoms, units = options.atoms, options.units
        self.options, self.basis, self.half = options, make_basis(), atoms // 2
        self.launch: Launch | None = None
        grid = np.concatenate([np.geomspace(low / 2, high * 1.5, self.half) for low, high in (D, DSTAR)])
        b = np.linspace(0, LARGEST_B, 400)
        atoms_of = np.linalg.lstsq(self.basis.at(b), np.exp(-np.outer(b, grid)), rcond=None)[0]  # (r, atom)
        phi, L = torch.tensor(atoms_of, dtype=torch.float32), float(np.linalg.norm(atoms_of, 2) ** 2)
        contexts = RANK * (RANK + 1) // 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.features = nn.Sequential(nn.Linear(contexts, 64), nn.SiLU(), nn.Linear(64, FEATURES), nn.Tanh())
            self.error = nn.Sequential(nn.Linear(contexts, 64), nn.SiLU(), nn.Linear(64, 4))
        sets = units + 1
        self.w = nn.Parameter((phi / L).repeat(sets, 1, 1))
        self.phi = nn.Parameter(phi.repeat(sets, 1, 1))
        self.w_mix = nn.Parameter(torch.zeros(MIXED, sets, RANK, atoms))
        self.phi_mix = nn.Parameter(torch.zeros(MIXED, sets, RANK, atoms))
        self.thresholds = nn.Parameter(torch.zeros(sets, atoms))
        self.threshold_mix = nn.Parameter(torch.zeros(FEATURES, sets, atoms))
        self.register_buffer("grid", torch.tensor(grid, dtype=torch.float32))
        self.register_buffer("unit", torch.tensor(UNIT))
        self.register_buffer("mean", torch.zeros(contexts))
        self.register_buffer("sd", torch.ones(contexts))

    def standardise(self, contexts: torch.Tensor) -> None:
        """Take mean and SD of the contexts (scan, c)."""
        self.mean.copy_(contexts.mean(0))
        self.sd.copy_(contexts.std(0))

    def weights(self, contexts, mixes):
        """W, A Φ (scan, unit, r, atom) and thresholds (scan, unit, atom)."""
        features = self.features((contexts - self.mean) / self.sd)
        few = features[:, :MIXED]
        w = self.w + torch.einsum("sq,qtra->stra", few, self.w_mix)
        phi = self.phi + torch.einsum("sq,qtra->stra", few, self.phi_mix)
        cuts = self.thresholds + torch.einsum("sq,qta->sta", features, self.threshold_mix)
        return w, torch.einsum("srk,stka->stra", mixes, phi), cuts

    def expected(self, contexts):
        """Logarithm of the squared errors of S0, f, D, D* to expect (scan, 4), in units of `UNIT`²."""
        return self.error((contexts - self.mean) / self.sd)

    def forward(self, z, contexts, mixes):
        """S0 over its linear estimate, f, D, D* [µm²/ms]: the code is in units of the signal."""
        w, phi, cuts = self.weights(contexts, mixes)
        if z.device.type == "cpu" and z.dtype == torch.float32:
            sums = _Sets.apply(z, w, phi, cuts, self.grid, self.half, self.launch)
        else:
            codes = (by_torch(*each, hard=False) for each in zip(z, w, phi, cuts, strict=True))
            sums = torch.stack([sums_of(x, self.grid, self.half) for x in codes])
        tissue, d, blood, dstar = sums.unbind(-1)
        S0, small = tissue + blood, 1e-12
        return torch.stack(
            [S0, blood / S0.clamp_min(small), d / tissue.clamp_min(small), dstar / blood.clamp_min(small)], dim=-1
        )

    def arrays(self) -> dict[str, torch.Tensor]:
        """What the model file holds; `general.levels` makes the weights of a scan from it."""
        own = {name: tensor.detach() for name, tensor in self.state_dict().items() if not name.startswith("error.")}
        basis = {"diffusivities": self.basis.diffusivities, "basis": self.basis.mix}
        return own | {name: torch.tensor(array, dtype=torch.float32) for name, array in basis.items()}


class _Sets(torch.autograd.Function):
    """As `scdnn.network.units`, with soft thresholds and with weights of their own for every scan of `WIDTH` voxels."""

    @staticmethod
    def forward(context, z, w, phi, cuts, grid, n_d, launch):
        tensors = [t.detach().contiguous() for t in (z, w, phi, cuts, grid)]
        context.save_for_backward(*tensors)
        context.told = n_d, launch or choose_device("cpu")
        sums = torch.empty(*z.shape[:2], 4)
        y, weights = in_numpy(tensors, n_d, False)
        run_blocks(context.told[1], forward_sets, len(y), y, weights, sums.numpy(), block=_share_of(len(y)))
        return sums

    @staticmethod
    def backward(context, slope):
        n_d, launch = context.told
        y, weights = in_numpy(context.saved_tensors, n_d, False)
        shares = [torch.empty(like.shape) for like in context.saved_tensors[1:4]]
        slopes = Slopes(*(s.numpy() for s in shares), np.empty((len(y), len(weights.grid)), np.float32))
        run_blocks(launch, backward_sets, len(y), y, weights, slope.contiguous().numpy(), slopes, block=_share_of(len(y)))  # fmt: skip
        return None, *shares, None, None, None


def _share_of(n: int) -> int:
    """Sets per call of a kernel: an eighth of all n."""
    return -(-n // 8)


def draw_bvalues(generator: np.random.Generator) -> np.ndarray:
    """b-values [ms/µm²] of a random protocol: 4 to 20, from 0 (in five of six) to 0.3..1, dense where IVIM scans are."""
    n, top = int(generator.integers(4, 21)), generator.uniform(0.3, LARGEST_B)
    first = 0.0 if generator.random() < 5 / 6 else generator.uniform(0, 0.03)
    while True:
        low = generator.random(n - 2) < generator.uniform(0.2, 0.8)
        inner = np.where(low, generator.uniform(0, 0.2, n - 2), generator.uniform(0.1, top, n - 2))
        b = np.unique(np.round(np.concatenate([[first, top], inner]), 3))
        if len(b) >= 4 and b[1] < 0.2:
            return b


class Stream:
    """Random scans, a `Source` of (ẑ, contexts, mixes, truth) with `WIDTH` voxels per scan.

    Protocols and noise levels are a pool made once, keyed by `seed`; voxels and noise are drawn at every step.
    """

    def __init__(self, basis: Basis, seed: int, pool: int, voxels: int) -> None:
        generator = np.random.Generator(np.random.Philox(seed))
        self.seed, self.voxels, self.scans = seed, voxels, []
        for _ in range(pool):
            b, snr = draw_bvalues(generator), np.exp(generator.uniform(*np.log(SNR)))
            self.scans.append((b, 1 / snr, Projection.of(basis, b, 1 / snr)))
        self.contexts = torch.tensor(np.array([scan.context for _, _, scan in self.scans]), dtype=torch.float32)
        self.origin = basis.at([0.0])[0]

    def __len__(self) -> int:
        return self.voxels

    def to(self, device: torch.device) -> "Stream":
        """The same stream; what it draws goes to `device`."""
        self.device = device
        return self

    def batches(self, schedule: Schedule, key: int) -> Iterator[tuple[int, Batch]]:
        """`schedule.epoch_voxels` voxels of random scans."""
        generator = np.random.Generator(np.random.Philox([self.seed, key]))
        scans = max(schedule.batch // WIDTH, 1)
        for _ in range(schedule.epoch_voxels // (scans * WIDTH)):
            yield scans * WIDTH, self._take(generator, scans)

    def fixed(self) -> Iterator[tuple[int, Batch]]:
        """The same scans each time."""
        generator = np.random.Generator(np.random.Philox([self.seed, 2**40]))
        for _ in range(self.voxels // (16 * WIDTH)):
            yield 16 * WIDTH, self._take(generator, 16)

    def _take(self, generator: np.random.Generator, scans: int) -> Batch:
        chosen = generator.integers(0, len(self.scans), scans)
        parameters = draw_parameters(scans * WIDTH, generator).reshape(scans, WIDTH, 3)
        z, truth = np.empty((scans, WIDTH, len(self.origin)), np.float32), np.empty((scans, WIDTH, 4), np.float32)
        for i, place in enumerate(chosen):
            b, sigma, scan = self.scans[place]
            clean = signals_of(parameters[i], b)
            noise = sigma * generator.standard_normal((2, *clean.shape))
            # A fit knows σ over the linear estimate of S0, not over S0: that is what `sigma` stands for here.
            linear = scan.project.T @ self.origin
            noise *= ((clean @ linear) / np.clip(1 - noise[0] @ linear, 0.4, 2.5))[:, None]
            z[i], s0 = normalised(np.hypot(clean + noise[0], noise[1]), scan, self.origin)
            truth[i, :, 0], truth[i, :, 1:] = 1 / s0, parameters[i]
        mixes = np.array([self.scans[place][2].mix for place in chosen], np.float32)
        tensors = torch.from_numpy(z), self.contexts[chosen], torch.from_numpy(mixes), torch.from_numpy(truth)
        return tuple(tensor.to(self.device) for tensor in tensors)

    device = torch.device("cpu")


def relative_loss(network: General, z, contexts, mixes, truth):
    """Squared errors over those to expect of the scan, and, for the small network, how well these are expected.

    Where nothing is learned (validation): the mean logarithm of the squared errors, in which no single scan stands out.
    """
    squares = (((network(z, contexts, mixes) - truth) / network.unit) ** 2).mean(1)
    if not network.training:
        return torch.log(squares).mean()
    expected = network.expected(contexts)
    known = expected.detach().clamp(-12, 3)
    return (squares * torch.exp(-known)).mean() + (squares.detach() * torch.exp(-expected) + expected).mean()


def normalised(y, scan: Projection, origin):
    """ẑ over the linear estimate of S0 (voxel, r), and that estimate (voxel,), of signals y (voxel, b)."""
    z = y @ scan.project.T
    s0 = z @ origin
    return z / s0[:, None], s0


def plan_general(options: Options, schedule: Schedule, seed: int) -> Plan:
    """The general scdnn, which draws scans and voxels itself."""
    chosen = {name: getattr(options, name) for name in ("threshold", "residual", "form", "start", "grids", "shared")}
    usual = {name: getattr(Options(), name) for name in chosen}
    if chosen != usual:
        name = next(name for name in chosen if chosen[name] != usual[name])
        raise InputError(
            f"option {name} of scdnn: found {chosen[name]}, expected {usual[name]}: variant=general has no other"
        )
    network = General(options, seed)
    training = Stream(network.basis, seed, POOL, schedule.epoch_voxels)
    validation = Stream(network.basis, seed + 2**32, HELD, 65536)
    network.standardise(training.contexts)
    reach = {
        "b": f"{FEWEST} to 20 b-values within 0..{1e3 * LARGEST_B:g} s/mm², the smallest at most 30, the largest at least 300"
    }
    reach |= {"SNR": list(SNR), "f": list(F), "D": list(D), "Dstar": list(DSTAR)}
    about = {
        "bvalues": None,
        "s0": "free",
        "options": asdict(options),
        "training": {"seed": seed, "scans": POOL} | asdict(schedule),
    }
    return Plan(network, relative_loss, training, validation, schedule, about | {"range": reach})
