"""What a network that learned a population has beside it: the size of its errors, and which voxels are of the population."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.loop import KnownS0, inputs_and_truth
from ivimsc.adapting.population import Population
from ivimsc.adapting.spread import learn_spread
from ivimsc.adapting.typical import learn_typical
from ivimsc.models.front import Front

__all__ = ["learn_beside"]

CHECKED = 100_000  # voxels that these learn from, drawn anew


def learn_beside(
    outputs_of: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    front: Front | KnownS0,
    population: Population,
    seed: int,
    most: int = CHECKED,
) -> dict[str, NDArray[np.float32]]:
    """The arrays of `models.spread` and `models.typical` for a network that has been taught.

    Parameters
    ----------
    outputs_of : the network: inputs (voxel, input) to S0 over its linear estimate, f, D, D* (voxel, 4)
    front, population : what makes its inputs, and what it learned from
    seed : keys all draws
    most : voxels to learn from, if fewer than `CHECKED`
    """
    generator = np.random.Generator(np.random.Philox([seed, 1]))
    inputs, truth = inputs_and_truth(front, population, min(most, CHECKED), generator, population.clean())
    outputs = outputs_of(inputs)
    some = np.isfinite(outputs).all(1)  # a part without any code has no diffusivity
    inputs, outputs, truth = inputs[some], outputs[some], truth[some]
    arrays = learn_spread(np.column_stack([inputs, outputs[:, 1:]]), outputs[:, 1:], truth[:, 1:], seed)
    if not population.about.get("learned", True):
        return arrays
    own = population.of(population.theta[population.usual])
    inputs, truth = inputs_and_truth(front, own, min(most, CHECKED), generator, own.clean())
    return arrays | learn_typical(inputs, truth[:, 1:], seed)
