"""IVIM-NET at work: a trained model's layers as matrix products, without torch."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.methods import Inputs
from ivimsc.models import Layout, Model, layers_layout
from ivimsc.models.estimates import LayerFitter, LayerOptions, require_model
from ivimsc.voxels import VoxelSource

TITLE = "IVIM-NET, unsupervised"
SOURCE = "Barbieri et al., Magn. Reson. Med. 83:312 (2020); Kaandorp et al., Magn. Reson. Med. 86:2250 (2021)"

Options = LayerOptions


class Fitter(LayerFitter):
    """A trained network made ready for one data set."""

    def parameters(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """S0/s0, f, D, D* (voxel, 4) [µm²/ms] of signals y (voxel, b) over s0."""
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
        return np.column_stack(columns)

    def ends(self) -> NDArray[np.float32]:
        """The sigmoids' bounds of f, D and D*."""
        return self.model.arrays["bounds"][1:]


def layout_of(model: Model) -> Layout:
    """The arrays of a model: a network of layers for each of S0, f, D and D*, that ends in one number, and its bounds."""
    return Layout({**layers_layout(model, 1, (4,)), "bounds": (4, 2)})


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
    model = require_model(inputs, "ivimnet", layout_of)
    low, high = model.arrays["bounds"].T
    if not np.all(low < high):
        raise InputError(f"{model.source}: found bounds that do not ascend, expected a lower and an upper end of each")
    return Fitter(voxels, model, options, launch)
