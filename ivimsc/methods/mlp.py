"""q-space MLP at work: a trained model's layers as matrix products, without torch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ivimsc.estimates import Estimates
from ivimsc.kernels.launch import Launch
from ivimsc.learned import Signals, require_model, to_estimates
from ivimsc.methods import VoxelSource
from ivimsc.models import Model

TITLE = "q-space MLP"
SOURCE = "Golkov et al., IEEE Trans. Med. Imaging 35:1344 (2016)"


@dataclass(frozen=True)
class Options:
    """Options of mlp."""

    model: str | None = field(default=None, metadata={"help": "model file (.safetensors) of ivimsc train mlp"})
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
        x, arrays = y, self.model.arrays
        last = len(arrays) // 2 - 1
        for i in range(last + 1):
            x = x @ arrays[f"weight{i}"].T + arrays[f"bias{i}"]
            x = np.maximum(x, 0) if i < last else x
        parameters = np.column_stack([np.ones(len(x), np.float32), x])
        return to_estimates(y, s0, parameters, self.bvalues, self.model.about.get("range", {}))


def prepare(voxels: VoxelSource, options: Options, launch: Launch, model: Model | None = None) -> Fitter:
    """Check model and protocol; InputError as for `scdnn`."""
    return Fitter(voxels, require_model(model, "mlp", options.model), options)
