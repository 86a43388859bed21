"""IVIM-NET at work: a trained model's layers as matrix products, without torch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ivimsc.estimates import Estimates
from ivimsc.kernels.launch import Launch
from ivimsc.learned import Signals, require_model, to_estimates
from ivimsc.methods import VoxelSource
from ivimsc.models import Model

TITLE = "IVIM-NET, unsupervised"
SOURCE = "Barbieri et al., Magn. Reson. Med. 83:312 (2020); Kaandorp et al., Magn. Reson. Med. 86:2250 (2021)"


@dataclass(frozen=True)
class Options:
    """Options of ivimnet."""

    model: str | None = field(default=None, metadata={"help": "model file (.safetensors) of ivimsc train ivimnet"})
    s0: float | None = field(default=None, metadata={"help": "S0 where it is known (none: the signal at b = 0)"})


class Fitter:
    """A trained network made ready for one data set."""

    dictionary = None

    def __init__(self, voxels: VoxelSource, model: Model, options: Options) -> None:
        self.model = model
        self.signals = Signals(voxels, model, options.s0)
        self.bvalues = voxels.bvalues[self.signals.columns]
        self.notes = [f"model: {model.source} (SHA-256 {model.sha256[:12]})", self.signals.note]

    def fit(self, signals: NDArray[np.float32], first: int = 0) -> Estimates:
        """Fit signals (voxel, b); `first` is the number of the first voxel in the data set."""
        y, s0 = self.signals(np.asarray(signals, np.float32), first)
        arrays, columns = self.model.arrays, []
        layers = sum(name.startswith("weight") for name in arrays)
        for part, (low, high) in enumerate(arrays["bounds"]):
            x = y
            for i in range(layers):
                x = x @ arrays[f"weight{i}"][part].T + arrays[f"bias{i}"][part]
                if i < layers - 1:
                    x = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))  # ELU
            with np.errstate(over="ignore"):
                columns.append(low + (high - low) / (1 + np.exp(-x[:, 0])))
        return to_estimates(y, s0, np.column_stack(columns), self.bvalues, self.model.about.get("range", {}))


def prepare(voxels: VoxelSource, options: Options, launch: Launch, model: Model | None = None) -> Fitter:
    """Check model and protocol; InputError as for `scdnn`."""
    return Fitter(voxels, require_model(model, "ivimnet", options.model), options)
