"""The `uniform` phantom: f, D and D* drawn voxel by voxel from uniform distributions, S0 = 1."""

import numpy as np
from numba import njit

from ivimsc.compiling import KERNEL
from ivimsc.numerics.random_numbers import TRUTH, uniforms
from ivimsc.phantoms import Block
from ivimsc.voxels import Geometry

__all__ = ["D", "DSTAR", "F", "TITLE", "Uniform", "make"]

TITLE = "f 0.05..0.5, D 0.5..2.5 µm²/ms, D* 10..100 µm²/ms, independent and uniform"
F, D, DSTAR = (0.05, 0.5), (0.5e-3, 2.5e-3), (10e-3, 100e-3)
DEFAULT_VOXELS = 100_000


@njit(**KERNEL)
def _draw(start, seed, f, d, dstar):
    """Fill f, d, dstar (voxel,) for the voxels from `start` on."""
    for i in range(len(f)):
        first, second = uniforms(seed, TRUTH, start + i, 0)
        third, _ = uniforms(seed, TRUTH, start + i, 1)
        f[i] = F[0] + (F[1] - F[0]) * first
        d[i] = D[0] + (D[1] - D[0]) * second
        dstar[i] = DSTAR[0] + (DSTAR[1] - DSTAR[0]) * third


class Uniform:
    """The truth of `uniform`: every block is drawn when it is read, so that any number of voxels takes no memory."""

    tissue_names = {1: "uniform"}

    def __init__(self, shape: tuple[int, int, int], voxels: int, seed: int) -> None:
        self.geometry = Geometry(shape, np.eye(4), np.eye(4), np.eye(4), 1, 1)
        self._voxels, self._seed = voxels, seed

    def __len__(self) -> int:
        return self._voxels

    def read(self, start: int, stop: int) -> Block:
        """Truth of the voxels start..stop, which lie in the volume with x running fastest."""
        n = stop - start
        f, d, dstar = (np.empty(n, np.float32) for _ in range(3))
        _draw(start, self._seed, f, d, dstar)
        places = np.unravel_index(np.arange(start, stop), self.geometry.shape, order="F")
        index = np.stack(places, axis=-1).astype(np.int32)
        truth = {"s0": np.ones(n, np.float32), "f": f, "d": d, "dstar": dstar}
        return Block(truth, np.ones(n, np.uint8), index)


def make(shape: tuple[int, int, int] | None, seed: int, voxels: int | None = None) -> Uniform:
    """The phantom in a box.

    Parameters
    ----------
    shape : of the box (x, y, z), all of it filled
    seed : keys the parameters
    voxels : without a shape, so many voxels in a box just large enough; default 100,000
    """
    if shape is not None:
        return Uniform(shape, shape[0] * shape[1] * shape[2], seed)
    voxels = voxels or DEFAULT_VOXELS
    side = next((s for s in (10, 100, 1000) if voxels <= 100 * s * s), 10_000)  # at most 100 slices: easy to look at
    return Uniform((side, side, -(-voxels // (side * side))), voxels, seed)
