"""Plain layers x -> W x + c with ReLU between them, and their slopes, in numpy."""

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "back", "forward", "new_layers"]

Arrays = dict[str, NDArray[np.float32]]


def new_layers(sizes: tuple[int, ...], generator: np.random.Generator) -> Arrays:
    """Layers weight0 (out, in), bias0 (out,), …, drawn so that signals keep their size (He et al., ICCV 2015).

    Parameters
    ----------
    sizes : of the input, of each layer, and of the output
    generator : where the random numbers come from
    """
    arrays: Arrays = {}
    for i, (into, out) in enumerate(itertools.pairwise(sizes)):
        arrays[f"weight{i}"] = (generator.standard_normal((out, into)) * np.sqrt(2 / into)).astype(np.float32)
        arrays[f"bias{i}"] = np.zeros(out, np.float32)
    return arrays


def forward(x: NDArray[np.float32], arrays: Mapping[str, NDArray[np.float32]], prefix: str = "") -> list[NDArray]:
    """The input and what each layer gives (voxel, width), the last without ReLU.

    Parameters
    ----------
    x : (voxel, input)
    arrays, prefix : the layers, whose names begin with `prefix`
    """
    steps, last = [x], sum(name.startswith(f"{prefix}weight") for name in arrays) - 1
    for i in range(last + 1):
        x = x @ arrays[f"{prefix}weight{i}"].T + arrays[f"{prefix}bias{i}"]
        x = np.maximum(x, 0) if i < last else x
        steps.append(x)
    return steps


def back(steps: list[NDArray], slope: NDArray[np.float32], arrays: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """The slopes of a loss in the layers, from its slope in their output (voxel, output) and the `steps` of `forward`."""
    slopes: Arrays = {}
    for i in range(len(steps) - 2, -1, -1):
        slopes[f"weight{i}"], slopes[f"bias{i}"] = slope.T @ steps[i], slope.sum(0)
        if i:
            slope = (slope @ arrays[f"weight{i}"]) * (steps[i] > 0)
    return slopes
