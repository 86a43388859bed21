"""q-space MLP at work: a trained model's layers as matrix products, without torch."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.methods import VoxelSource
from ivimsc.models import Model
from ivimsc.models.estimates import LayerFitter, LayerOptions, require_model

TITLE = "q-space MLP"
SOURCE = "Golkov et al., IEEE Trans. Med. Imaging 35:1344 (2016)"

Options = LayerOptions


class Fitter(LayerFitter):
    """A trained network made ready for one data set."""

    def parameters(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """S0/s0, f, D, D* (voxel, 4) [µm²/ms] of signals y (voxel, b) over s0."""
        x, arrays = y, self.model.arrays
        last = len(arrays) // 2 - 1
        for i in range(last + 1):
            x = x @ arrays[f"weight{i}"].T + arrays[f"bias{i}"]
            x = np.maximum(x, 0) if i < last else x
        return np.column_stack([np.ones(len(x), np.float32), x])


def prepare(voxels: VoxelSource, options: Options, launch: Launch, model: Model | None = None) -> Fitter:
    """Check model and protocol; InputError as for `scdnn`."""
    return Fitter(voxels, require_model(model, "mlp", options.model), options)
