"""Teaches the small network of `models.spread`: how large the errors of a network are."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.layers import Arrays, back, forward, new_layers
from ivimsc.adapting.loop import Adam
from ivimsc.models.spread import PREFIX

__all__ = ["learn_spread"]

HIDDEN, PASSES, BATCH, RATE = 48, 12, 2048, 3e-3
LIMITS = -12.0, 8.0  # of ln(e² / its mean): keeps single steps small


def learn_spread(
    seen: NDArray[np.float32], outputs: NDArray[np.float32], truth: NDArray[np.float32], seed: int
) -> dict[str, NDArray[np.float32]]:
    """The arrays of `models.spread.SPREAD`.

    The loss is that of a normal distribution, e² / v + ln v, least where v is the mean of e², whatever the errors' distribution.

    Parameters
    ----------
    seen : (voxel, seen) the network's inputs, then f, D, D* as it gives them
    outputs, truth : (voxel, 3) f, D, D* [1, µm²/ms]
    seed : keys the start and the order
    """
    squares = np.square(outputs - truth)
    usual = squares.mean(0)
    target = squares / usual

    def slope_of(logs: NDArray, places: NDArray) -> NDArray:
        slope = 1 - target[places] * np.exp(-np.clip(logs, *LIMITS))
        slope[(logs < LIMITS[0]) & (slope > 0) | (logs > LIMITS[1]) & (slope < 0)] = 0
        return slope / (3 * len(places))

    arrays = _taught(seen, 3, slope_of, np.random.Generator(np.random.Philox([seed, 2])))
    arrays["bias1"] = arrays["bias1"] + np.log(usual)
    return {f"{PREFIX}{name}": np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def _taught(x: NDArray[np.float32], outputs: int, slope_of: Callable[[NDArray, NDArray], NDArray],
            generator: np.random.Generator) -> Arrays:  # fmt: skip
    """Two layers for x (voxel, input), taught by the slope of a loss in what they give for the voxels at some places."""
    mean, sd = x.mean(0), x.std(0) + np.float32(1e-6)
    x = (x - mean) / sd
    arrays = new_layers((x.shape[1], HIDDEN, outputs), generator)
    arrays["weight1"] *= np.float32(0.1)
    adam, steps, done = Adam(arrays), PASSES * -(-len(x) // BATCH), 0
    for _ in range(PASSES):
        order = generator.permutation(len(x))
        for start in range(0, len(x), BATCH):
            places = order[start : start + BATCH]
            layers = forward(x[places], arrays)
            slopes = back(layers, slope_of(layers[-1], places).astype(np.float32), arrays)
            adam.step(slopes, RATE * 0.5 * (1 + np.cos(np.pi * done / steps)))
            done += 1
    arrays["bias0"] = arrays["bias0"] - (arrays["weight0"] / sd) @ mean
    arrays["weight0"] = arrays["weight0"] / sd
    return arrays
