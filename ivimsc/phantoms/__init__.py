"""Phantoms: the true S0, f, D and D* of every voxel, without signals. One file and one line per phantom.

A phantom module has ``TITLE`` and ``make(shape, seed)``; `uniform` also takes a number of voxels, and the
module of the three cohorts their name.
"""

import importlib
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.voxels import Geometry

__all__ = ["PHANTOMS", "Block", "Phantom", "make_phantom"]

PHANTOMS = {
    "uniform": "ivimsc.phantoms.uniform",
    "placenta": "ivimsc.phantoms.placenta",
    "brain": "ivimsc.phantoms.brain",
    "abdomen": "ivimsc.phantoms.abdomen",
    "fractal": "ivimsc.phantoms.fractal",
    "cohort-train": "ivimsc.phantoms.cohort",
    "cohort-test": "ivimsc.phantoms.cohort",
    "cohort-3t": "ivimsc.phantoms.cohort",
}


class Block(NamedTuple):
    """Some voxels of a phantom: truth (voxel,) float32 under s0, f, d, dstar [mm²/s]; tissue (voxel,); index (voxel, 3)."""

    truth: dict[str, NDArray[np.float32]]
    tissue: NDArray[np.uint8]
    index: NDArray[np.int32]


class Phantom(Protocol):
    """The truth of a phantom, read block by block, so that it may be larger than memory."""

    geometry: Geometry
    tissue_names: dict[int, str]

    def __len__(self) -> int: ...
    def read(self, start: int, stop: int) -> Block: ...


def make_phantom(
    name: str, seed: int = 0, voxels: int | None = None, shape: tuple[int, int, int] | None = None
) -> Phantom:
    """The phantom `name`, the same for the same seed on any machine.

    Parameters
    ----------
    name : one of `PHANTOMS`
    seed : 0 .. 2^63 - 1
    voxels : number of voxels, for ``uniform`` only: the anatomical phantoms fill their shape
    shape : matrix (x, y, z); the field of view stays, so that a smaller matrix shows the same picture more coarsely

    Raises
    ------
    InputError
        for an unknown name, a bad seed, number of voxels or shape, or voxels and shape together
    """
    if name not in PHANTOMS:
        raise InputError(f"name: found {name!r}, expected one of {', '.join(PHANTOMS)}")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed: found {seed}, expected a whole number from 0 to 2^63 - 1")
    if voxels is not None and shape is not None:
        raise InputError("voxels and shape: found both, expected one of them")
    if shape is not None:
        _check_shape(shape)
    module = importlib.import_module(PHANTOMS[name])
    if voxels is None:
        return module.make(shape, seed, name) if name.startswith("cohort") else module.make(shape, seed)
    if name != "uniform":
        raise InputError(
            f"voxels: found {voxels} for phantom {name}, expected a shape instead: a number of voxels is for uniform"
        )
    if voxels < 1:
        raise InputError(f"voxels: found {voxels}, expected at least 1")
    return module.make(None, seed, voxels)


def _check_shape(shape: tuple[int, int, int]) -> None:
    text = ",".join(str(n) for n in shape)
    # 32767: the sizes in a NIfTI-1 header are 16-bit integers.
    if len(shape) != 3 or not all(isinstance(n, int | np.integer) and 1 <= n <= 32767 for n in shape):
        raise InputError(f"shape: found {text}, expected X,Y,Z: three whole numbers from 1 to 32767")
