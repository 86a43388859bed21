"""From signals to the inputs of a network that finds S0 itself: coordinates over a linear estimate of S0, and the noise.

With S0 unknown, a signal y with noise σ and the same signal twice as large with twice the noise tell the same f, D and D*. So a
network takes P y over s = a y, a linear estimate of S0 from all b-values, and ln(σ/s). That is all that the signal tells.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import KERNEL
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.errors import InputError
from ivimsc.models.file import Model

__all__ = ["FRONT", "Front", "require_front"]

NAMES = {"project": "front.project", "origin": "front.origin", "noise": "front.noise"}
FRONT = {"front.project": ("rank", "input"), "front.origin": ("input",), "front.noise": (4,)}  # for layouts


class Front(NamedTuple):
    """What makes the inputs of a network.

    Attributes
    ----------
    project : (r, b) P
    origin : (b,) a
    noise : (4,) least and largest ln(σ/s) of the training, and its mean and SD there
    """

    project: NDArray[np.float32]
    origin: NDArray[np.float32]
    noise: NDArray[np.float32]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Self:
        """The front in a model's arrays."""
        return cls(*(np.ascontiguousarray(arrays[NAMES[name]], np.float32) for name in cls._fields))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The front as a model file holds it."""
        return {NAMES[name]: np.asarray(getattr(self, name), np.float32) for name in self._fields}

    def inputs(
        self, signals: NDArray[np.float32], sigma: NDArray[np.float32] | float, launch: Launch | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The inputs (voxel, r + 1), and the linear estimate of S0 (voxel,).

        Parameters
        ----------
        signals : (voxel, b)
        sigma : noise SD of one image in the unit of the signal: a number or (voxel,); below 0: minus the noise SD over S0
        launch : threads to run on; None: one
        """
        inputs = np.empty((len(signals), len(self.project) + 1), np.float32)
        base = np.empty(len(signals), np.float32)
        noise = np.broadcast_to(np.asarray(sigma, np.float32), len(signals))
        run_blocks(launch or Launch("cpu", 1), _inputs, len(signals), signals, noise, self, inputs, base)
        return inputs, base

    def outside(self, inputs: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Voxels (voxel,) whose noise lies outside the training."""
        with np.errstate(invalid="ignore"):
            logs = inputs[:, -1] * self.noise[3] + self.noise[2]
            return ~((logs >= self.noise[0] - 1e-4) & (logs <= self.noise[1] + 1e-4))


def require_front(model: Model, inputs: int) -> None:
    """Refuse a model whose front does not fit its network.

    Parameters
    ----------
    model : with the arrays of a front, of the right shapes
    inputs : that its network takes

    Raises
    ------
    InputError
        for another number of inputs, and a noise without spread
    """
    rank, noise = len(model.arrays[NAMES["project"]]), model.arrays[NAMES["noise"]]
    if inputs != rank + 1:
        raise InputError(f"{model.source}: found weights for {inputs} inputs, expected {rank + 1}: {rank} coordinates and the noise")  # fmt: skip
    if not (noise[0] < noise[1] and noise[3] > 0):
        raise InputError(f"{model.source}: found a noise level without a spread, expected a range and an SD above 0")


@njit(**KERNEL)
def _inputs(start, stop, signals, sigma, front, inputs, base):
    """Put inputs and linear S0 of the voxels start..stop; NaN inputs where that S0 is not above 0."""
    project, origin, noise = front.project, front.origin, front.noise
    rank = len(project)
    for v in range(start, stop):
        s = np.float32(0)
        for k in range(len(origin)):
            s += origin[k] * signals[v, k]
        base[v] = s
        if not s > 0:
            inputs[v, :] = np.nan
            continue
        for r in range(rank):
            total = np.float32(0)
            for k in range(len(origin)):
                total += project[r, k] * signals[v, k]
            inputs[v, r] = total / s
        ratio = sigma[v] / s if sigma[v] > 0 else -sigma[v]
        inputs[v, rank] = (np.float32(np.log(ratio)) - noise[2]) / noise[3]
