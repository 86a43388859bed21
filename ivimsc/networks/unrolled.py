"""The units of a factored SCDNN as one torch function: Numba kernels on the CPU, torch operations elsewhere.

The kernels keep a block of voxels in the cache through all units, forwards and backwards, where torch writes and reads
every intermediate: a training step takes a fraction of the time. `by_torch` is the reference, and what CUDA runs.
"""

import torch

from ivimsc.kernels.launch import Launch, choose_device, run_blocks
from ivimsc.kernels.unrolled import WIDTH, backward, forward

__all__ = ["by_torch", "units"]


class _Units(torch.autograd.Function):
    """Signals and weights to the four sums of the code (Σx, Σgx of tissue, of perfusion), float32 on the CPU."""

    @staticmethod
    def forward(context, signals, w, phi, thresholds, grid, n_d, hard, launch):
        tensors = [t.detach().contiguous() for t in (signals, w, phi, thresholds, grid)]
        context.save_for_backward(*tensors)
        context.constants = n_d, hard, launch
        sums, none = torch.empty(len(signals), 4), torch.empty(0, w.shape[2])
        y, *weights, g = (t.numpy() for t in tensors)
        blocks = -(-len(y) // WIDTH)
        run_blocks(launch, forward, blocks, y, *weights, g, n_d, hard, False, sums.numpy(), none.numpy(), block=1)
        return sums

    @staticmethod
    def backward(context, slope):
        n_d, hard, launch = context.constants
        y, w, phi, thresholds, grid = (t.numpy() for t in context.saved_tensors)
        blocks = -(-len(y) // WIDTH)
        shares = [torch.empty(blocks, *like.shape) for like in (w, phi, thresholds, grid)]
        given = slope.contiguous().numpy()
        run_blocks(launch, backward, blocks, y, w, phi, thresholds, grid, n_d, hard, given, *(s.numpy() for s in shares), block=1)  # fmt: skip
        return None, *(share.sum(0) for share in shares), None, None, None


def units(signals, w, phi, thresholds, grid, n_d: int, hard: bool, launch: Launch | None = None):
    """Sums (voxel, 4) of the code after all units; see `ivimsc.kernels.unrolled.forward` for the shapes."""
    if signals.device.type == "cpu" and signals.dtype == torch.float32:
        return _Units.apply(signals, w, phi, thresholds, grid, n_d, hard, launch or choose_device("cpu"))
    return sums_of(by_torch(signals, w, phi, thresholds, hard), grid, n_d)


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
