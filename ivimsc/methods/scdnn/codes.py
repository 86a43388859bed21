"""Codes on the CPU: from the signals of voxels to the code of each, its sums, and f, D and D*.

The code of a voxel is one coefficient per atom, 2.4 kB for 600 atoms. So it is summed at once to the four numbers that
equations (8) to (10) need. Where users want the codes as well (option `spectrum`), they are made for some thousand voxels
at a time and kept as sparse rows.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch, run_blocks
from ivimsc.estimates import Spectrum
from ivimsc.methods.scdnn.units import Weights, blocks_of, forward
from ivimsc.models import Model
from ivimsc.models.products import in_fixed_blocks

__all__ = ["decode", "in_order", "parts_of", "run_free_layers", "run_units", "scaled", "to_rows", "weights_of"]

PART = 8192  # voxels whose dense codes are in memory at a time
BLOCKS = 32  # blocks of voxels per call of the kernel


def weights_of(model: Model, layers: Sequence[NDArray] | None = None) -> Weights:
    """The weights of a factored network; `layers` (w, phi, thresholds) stand for the model's own where they are given."""
    arrays, options = model.arrays, model.about["options"]
    w, phi, thresholds = layers or (arrays["w"], arrays["phi"], arrays["thresholds"])
    grid = arrays["grid"]
    return Weights(w, phi, thresholds, grid, len(grid) // 2, options["threshold"] == "hard", options["residual"] == "input")  # fmt: skip


def run_units(
    launch: Launch, y: NDArray[np.float32], weights: Weights, dense: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run the units of a factored network.

    Parameters
    ----------
    launch : threads to run on
    y : (voxel, input) float32
    weights : of the units
    dense : the codes are wanted

    Returns
    -------
    sums : (voxel, 4) Σx and Σgx of the tissue part, then of the perfusion part
    codes : (voxel, atom), or (0, atom) without `dense`
    """
    sums = np.empty((len(y), 4), np.float32)
    codes = np.empty((len(y) if dense else 0, len(weights.grid)), np.float32)
    run_blocks(launch, forward, blocks_of(len(y)), y, weights, sums, codes, block=BLOCKS)
    return sums, codes


def run_free_layers(
    y: NDArray[np.float32], model: Model, first: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As `run_units` with `dense`, for a network with free layers B (unit, atom, atom).

    `first` is the number of the first voxel in the data set: it sees to it that chunks do not matter.
    """
    x, grid = in_fixed_blocks(y, lambda part: _free_code(part, model), first), model.arrays["grid"]
    half, moment = len(grid) // 2, x * grid
    sums = [x[:, :half].sum(1), moment[:, :half].sum(1), x[:, half:].sum(1), moment[:, half:].sum(1)]
    return np.stack(sums, axis=1).astype(np.float32), x


def _free_code(y: NDArray[np.float32], model: Model) -> NDArray[np.float32]:
    """The code (voxel, atom) of signals y (voxel, b) by matrix products."""
    arrays, options = model.arrays, model.about["options"]
    cuts, hard = arrays["thresholds"], options["threshold"] == "hard"

    def threshold(u: NDArray, cut: NDArray) -> NDArray:
        return np.where((u >= cut) & (u > 0), u, 0) if hard else np.maximum(u - cut, 0)

    u = encoded = y @ arrays["w"][0]
    x = threshold(u, cuts[0])
    for t, b in enumerate(arrays["b"]):
        u = x @ b + (u if options["residual"] == "input" else encoded)
        x = threshold(u, cuts[t + 1])
    return x


def decode(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """S0/s0 = 1, f, D, D* (voxel, 4) by equations (8) to (10), from the sums (voxel, 4); NaN where a part is empty."""
    tissue, d, blood, dstar = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([np.ones_like(d), blood / (tissue + blood), d / tissue, dstar / blood], axis=1)


def parts_of(n: int) -> Iterator[slice]:
    """The voxels 0..n in parts of `PART`."""
    return (slice(start, min(start + PART, n)) for start in range(0, n, PART))


def to_rows(n: int, code: Callable[[slice], NDArray[np.float32]]) -> Spectrum:
    """The codes of n voxels as sparse rows that sum to 1.

    Parameters
    ----------
    n : number of voxels
    code : called with a slice of voxels; gives their dense codes (voxel, atom)
    """
    data, indices, counts = [np.empty(0, np.float32)], [np.empty(0, np.int32)], [0]
    for place in parts_of(n):
        codes = code(place)
        used = codes > 0
        rows = codes / np.maximum(codes.sum(1), np.float32(1e-30))[:, None]
        data.append(rows[used])
        indices.append(np.nonzero(used)[1].astype(np.int32))
        counts.extend(used.sum(1))
    return Spectrum(np.concatenate(data), np.concatenate(indices), np.cumsum(counts, dtype=np.int64))


def scaled(spectrum: Spectrum, S0: NDArray[np.float32]) -> Spectrum:
    """Rows in units of the signal: those that sum to 1, times S0 (voxel,)."""
    return spectrum._replace(data=spectrum.data * np.repeat(S0, np.diff(spectrum.indptr)).astype(np.float32))


def in_order(parts: list[Spectrum], places: list[NDArray], n: int) -> Spectrum:
    """The rows of all n voxels in their order, from `parts`: each holds the rows of the voxels at its `places`."""
    counts = np.zeros(n, np.int64)
    for part, at in zip(parts, places, strict=True):
        counts[at] = np.diff(part.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
    for part, at in zip(parts, places, strict=True):
        own = np.diff(part.indptr)
        to = np.repeat(indptr[at] - part.indptr[:-1], own) + np.arange(len(part.data))
        data[to], indices[to] = part.data, part.indices
    return Spectrum(data, indices, indptr)
