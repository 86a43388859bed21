"""SCDNN, the paper's learned dictionary, at work: a trained model's units run in Numba kernels, without torch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ivimsc.estimates import Estimates, Spectrum
from ivimsc.kernels.launch import Launch, run_blocks
from ivimsc.kernels.unrolled import WIDTH, forward
from ivimsc.learned import Signals, require_model, to_estimates
from ivimsc.methods import VoxelSource
from ivimsc.models import Model
from ivimsc.physics.dictionary import Dictionary

TITLE = "Sparse-coding network with a learned dictionary"
SOURCE = "the paper, section 2; unrolled iterations: Gregor and LeCun, ICML (2010)"

BLOCKS = 32  # blocks of `WIDTH` voxels per call
PART = 8192  # voxels at a time where codes are dense


@dataclass(frozen=True)
class Options:
    """Options of scdnn."""

    model: str | None = field(default=None, metadata={"help": "model file (.safetensors) of ivimsc train scdnn"})
    s0: float | None = field(default=None, metadata={"help": "S0 where it is known (none: the signal at b = 0)"})
    spectrum: bool = field(default=False, metadata={"help": "keep the code of every voxel, as ista does"})


class Fitter:
    """A trained network made ready for one data set."""

    def __init__(self, voxels: VoxelSource, model: Model, options: Options, launch: Launch) -> None:
        self.model, self.options, self.launch = model, options, launch
        self.signals = Signals(voxels, model, options.s0)
        self.bvalues = voxels.bvalues[self.signals.columns]
        self.notes = [f"model: {model.source} (SHA-256 {model.sha256[:12]})", self.signals.note]
        half = len(model.arrays["grid"]) // 2
        grid = model.arrays["grid"].astype(np.float64) * 1e-3
        self.dictionary = Dictionary(self.bvalues, grid[:half], grid[half:], model.source) if options.spectrum else None

    def fit(self, signals: NDArray[np.float32], first: int = 0) -> Estimates:
        """Fit signals (voxel, b); `first` is the number of the first voxel in the data set."""
        y, s0 = self.signals(np.asarray(signals, np.float32), first)
        sums, spectrum = self._spectrum(y, s0) if self.options.spectrum else (self.code(y)[0], None)
        parameters = decode(sums)
        return to_estimates(y, s0, parameters, self.bvalues, self.model.about.get("range", {}), spectrum=spectrum)

    def code(self, y: NDArray[np.float32], dense: bool = False) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sums (voxel, 4), Σx and Σgx of tissue and of perfusion part, and codes (voxel, atom), empty unless `dense`."""
        arrays, options = self.model.arrays, self.model.about["options"]
        if "b" in arrays:
            return _code_free(y, arrays, options)
        n = arrays["grid"].shape[0]
        sums, codes = np.empty((len(y), 4), np.float32), np.empty((len(y) if dense else 0, n), np.float32)
        weights = (arrays["w"], arrays["phi"], arrays["thresholds"], arrays["grid"])
        how = (n // 2, options["threshold"] == "hard", options["residual"] == "input")
        run_blocks(self.launch, forward, -(-len(y) // WIDTH), y, *weights, *how, sums, codes, block=BLOCKS)
        return sums, codes

    def _spectrum(self, y: NDArray[np.float32], s0: NDArray[np.float32]) -> tuple[NDArray[np.float32], Spectrum]:
        """As `code`, part by part, with the codes as sparse rows that sum to S0."""
        sums, data, indices, counts = [], [], [], [0]
        for start in range(0, len(y), PART):
            part, codes = self.code(y[start : start + PART], dense=True)
            used = codes > 0
            total = np.maximum(codes.sum(1), np.float32(1e-30))
            codes *= (s0[start : start + PART] / total)[:, None]
            sums.append(part)
            data.append(codes[used])
            indices.append(np.nonzero(used)[1].astype(np.int32))
            counts.extend(used.sum(1))
        if not sums:
            return np.empty((0, 4), np.float32), Spectrum(
                np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(1, np.int64)
            )
        return np.concatenate(sums), Spectrum(np.concatenate(data), np.concatenate(indices), np.cumsum(counts))


def decode(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """S0/s0 = 1, f, D, D* (voxel, 4) by (8) to (10); NaN where a part is empty."""
    tissue, d, blood, dstar = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([np.ones_like(d), blood / (tissue + blood), d / tissue, dstar / blood], axis=1)


def _code_free(
    y: NDArray, arrays: dict[str, NDArray], options: dict
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`Fitter.code` for free layers B (unit, atom, atom): matrix products."""
    cuts, grid, hard = arrays["thresholds"], arrays["grid"], options["threshold"] == "hard"
    half, sums, codes = len(grid) // 2, [], []

    def threshold(u: NDArray, cut: NDArray) -> NDArray:
        return np.where((u >= cut) & (u > 0), u, 0) if hard else np.maximum(u - cut, 0)

    for start in range(0, max(len(y), 1), PART):
        u = encoded = y[start : start + PART] @ arrays["w"][0]
        x = threshold(u, cuts[0])
        for t, b in enumerate(arrays["b"]):
            u = x @ b + (u if options["residual"] == "input" else encoded)
            x = threshold(u, cuts[t + 1])
        moment = x * grid
        sums.append(
            np.stack([x[:, :half].sum(1), moment[:, :half].sum(1), x[:, half:].sum(1), moment[:, half:].sum(1)], 1)
        )
        codes.append(x)
    return np.concatenate(sums).astype(np.float32), np.concatenate(codes).astype(np.float32)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, model: Model | None = None) -> Fitter:
    """Check model and protocol.

    Raises
    ------
    InputError
        for no model or one of another method, other b-values than the model's, and no S0
    """
    return Fitter(voxels, require_model(model, "scdnn", options.model), options, launch)
