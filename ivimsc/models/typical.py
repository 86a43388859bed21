"""Is a voxel of the population that a model was adapted to? A mixture of Gaussians over the model's inputs tells.

Its value is above 0 in all but `adapting.typical.MISSED` of the voxels of the population. What lies far from all parts of the
mixture is of no tissue, or of no noise level, that the model has seen.
"""

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch, run_blocks
from ivimsc.models.beside import mixture_kernel
from ivimsc.models.file import Model

__all__ = ["TYPICAL", "are_strange", "log_density"]

TYPICAL = {  # the arrays, name -> shape, for layouts
    "typical.whiten": ("part", "coordinate", "coordinate"),
    "typical.shift": ("part", "coordinate"),
    "typical.offset": ("part",),
}


def are_strange(model: Model, inputs: NDArray[np.float32], launch: Launch | None = None) -> NDArray[np.bool_]:
    """Voxels (voxel,) that are not of the model's population; none where the model did not learn that.

    Parameters
    ----------
    model : perhaps with the arrays of `TYPICAL`
    inputs : (voxel, input) that it takes
    launch : threads to run on; None: one
    """
    if "typical.whiten" not in model.arrays:
        return np.zeros(len(inputs), bool)
    whiten, shift, offset = (model.arrays[name] for name in TYPICAL)
    value, flat = np.empty(len(inputs), np.float32), np.ascontiguousarray(whiten.reshape(-1, whiten.shape[2]).T)
    run_blocks(launch or Launch("cpu", 1), mixture_kernel, len(inputs), np.ascontiguousarray(inputs), flat, shift.ravel(), offset, value)  # fmt: skip
    return value < 0


def log_density(x: NDArray, whiten: NDArray, shift: NDArray, offset: NDArray) -> NDArray:
    """The largest of offset - |whiten x + shift|² / 2 over the parts, (voxel,), of inputs x (voxel, input).

    Parameters
    ----------
    x : as above
    whiten, shift, offset : (part, input, input), (part, input), (part,)
    """
    parts, n = shift.shape
    away = (x @ whiten.reshape(parts * n, n).T + shift.ravel()).reshape(len(x), parts, n)
    return (offset - 0.5 * np.einsum("vpi,vpi->vp", away, away)).max(1)
