"""Is a voxel of the population that a model was adapted to? A small network beside the model tells, from the same inputs.

It learned to tell voxels of the population from voxels of the broad prior, any tissue. Its value is above 0 in all but
`adapting.spread.MISSED` of the voxels of the population.
"""

import numpy as np
from numpy.typing import NDArray

from ivimsc.models.file import Model
from ivimsc.models.products import in_fixed_blocks

__all__ = ["TYPICAL", "TYPICAL_LAYOUT", "are_strange"]

TYPICAL = "typical."
TYPICAL_LAYOUT = {  # the arrays, name -> shape, for layouts
    "typical.weight0": ("judge", "coordinate"),
    "typical.bias0": ("judge",),
    "typical.weight1": (1, "judge"),
    "typical.bias1": (1,),
}


def are_strange(model: Model, inputs: NDArray[np.float32], first: int = 0) -> NDArray[np.bool_]:
    """Voxels (voxel,) that are not of the model's population; none where the model did not learn that.

    Parameters
    ----------
    model : perhaps with the arrays of `TYPICAL_LAYOUT`
    inputs : (voxel, input) that it takes
    first : the number of the first voxel in the data set
    """
    if "typical.weight0" not in model.arrays:
        return np.zeros(len(inputs), bool)
    w0, c0, w1, c1 = (model.arrays[name] for name in TYPICAL_LAYOUT)
    return in_fixed_blocks(inputs, lambda x: np.maximum(x @ w0.T + c0, 0) @ w1.T + c1, first)[:, 0] < 0
