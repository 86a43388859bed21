"""q-space MLP at work: a trained model's layers as matrix products, without torch."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.fitter import Fitter, Inputs
from ivimsc.methods.mlp.adapted.fitter import Adapted
from ivimsc.models import Layout, Model, layers_layout
from ivimsc.models.estimates import LayerFitter, LayerOptions, require_model
from ivimsc.models.front import FRONT, require_front
from ivimsc.models.spread import SPREAD
from ivimsc.models.typical import TYPICAL
from ivimsc.voxels import VoxelSource

TITLE = "q-space MLP"
SOURCE = "Golkov et al., IEEE Trans. Med. Imaging 35:1344 (2016)"

Options = LayerOptions


class OneProtocol(LayerFitter):
    """A trained network made ready for one data set."""

    def parameters(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """S0/s0, f, D, D* (voxel, 4) [µm²/ms] of signals y (voxel, b) over s0."""
        x, arrays = y, self.model.arrays
        last = sum(name.startswith("weight") for name in arrays) - 1
        for i in range(last + 1):
            x = x @ arrays[f"weight{i}"].T + arrays[f"bias{i}"]
            x = np.maximum(x, 0) if i < last else x
        return np.column_stack([np.ones(len(x), np.float32), x])


def layout_of(model: Model) -> Layout:
    """The arrays of a model: layers that end in f, D and D*; or, of one that finds S0, in S0, f, D and D*, and its front."""
    if not model.finds_s0:
        return Layout(layers_layout(model, 3), {**SPREAD, **TYPICAL})
    layers = layers_layout(model, 4) | {"weight0": ("width0", "coordinate")}
    return Layout(layers | FRONT, {**SPREAD, **TYPICAL})


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs) -> Fitter:
    """Check model and protocol.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : holds the model that the option `model` names

    Raises
    ------
    InputError
        for no model or one of another method, other b-values than the model's, and no S0
    """
    model = require_model(inputs, "mlp", layout_of)
    if not model.finds_s0:
        return OneProtocol(voxels, model, options, launch)
    require_front(model, model.arrays["weight0"].shape[1])
    return Adapted(voxels, model, options, launch, None if options.sigma else inputs.noise_level())
