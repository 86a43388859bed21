"""IVIM-NET at work: a trained model's layers as matrix products, without torch."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.methods import Inputs
from ivimsc.models import Layout
from ivimsc.models.estimates import LayerFitter, LayerOptions, require_model
from ivimsc.voxels import VoxelSource

TITLE = "IVIM-NET, unsupervised"
SOURCE = "Barbieri et al., Magn. Reson. Med. 83:312 (2020); Kaandorp et al., Magn. Reson. Med. 86:2250 (2021)"

LAYOUT = Layout(("weight0", "bias0", "bounds"), inputs=("weight0", -1))

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
    return Fitter(voxels, require_model(inputs, "ivimnet", lambda _: LAYOUT), options, launch)
