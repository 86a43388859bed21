"""The `fractal` phantom: S0, f, D and D* are four independent pictures of gradient noise, smooth at every scale and without tissues.

Phantoms of this kind are what networks that look at neighbours are trained and judged on. The noise is Perlin's (SIGGRAPH '85,
doi:10.1145/325165.325247) with his later interpolation (doi:10.1145/566654.566636): at each node of a lattice lies a random
slope, and between the nodes the slopes are blended. Four octaves are added up, each twice as fine and half as high.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.numerics.random_numbers import TRUTH, normals
from ivimsc.phantoms import Block
from ivimsc.phantoms.scene import Scene
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.voxels import Geometry

__all__ = ["OCTAVES", "RANGES", "TITLE", "make"]

TITLE = "S0 0..1, f 0..0.5, D 0..3 µm²/ms, D* 3..100 µm²/ms, independent and fractal"
SHAPE, ZOOM = (128, 128, 1), 2.0  # mm
RANGES = {"S0": (0.0, 1.0), "f": (0.0, 0.5), "D": (0.0, 3e-3), "Dstar": (3e-3, 100e-3)}
CELLS, OCTAVES = 4, 4  # cells of the first octave along x


@njit(**JIT)
def _slope(seed, number, i, j, k):
    """A random direction at a node of the lattice, of length 1."""
    node = (i << 40) + (j << 20) + k
    x, y = normals(seed, TRUTH, node, 2 * number)
    z, _ = normals(seed, TRUTH, node, 2 * number + 1)
    r = 1.0 / np.sqrt(x * x + y * y + z * z)
    return x * r, y * r, z * r


@njit(**JIT)
def _fade(t):
    return t * t * t * (t * (6.0 * t - 15.0) + 10.0)


@njit(**KERNEL)
def _add_octave(seed, number, cells, height, values):
    """Add gradient noise to values (x, y, z), with `cells` lattice cells along x and cubic cells everywhere."""
    step = cells / values.shape[0]
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            for k in range(values.shape[2]):
                p = ((i + 0.5) * step, (j + 0.5) * step, (k + 0.5) * step)
                a, b, c = int(p[0]), int(p[1]), int(p[2])
                x, y, z = p[0] - a, p[1] - b, p[2] - c
                u, v, w = _fade(x), _fade(y), _fade(z)
                total = 0.0
                for corner in range(8):
                    di, dj, dk = corner & 1, (corner >> 1) & 1, corner >> 2
                    sx, sy, sz = _slope(seed, number, a + di, b + dj, c + dk)
                    share = (u if di else 1.0 - u) * (v if dj else 1.0 - v) * (w if dk else 1.0 - w)
                    total += share * (sx * (x - di) + sy * (y - dj) + sz * (z - dk))
                values[i, j, k] += height * total


def _picture(shape: tuple[int, int, int], seed: int, number: int, limits: tuple[float, float]) -> NDArray[np.float32]:
    """Fractal noise (x, y, z) from one limit to the other; half of the range in a picture of one voxel."""
    values = np.zeros(shape)
    for octave in range(OCTAVES):
        _add_octave(seed, number * OCTAVES + octave, CELLS * 2**octave, 0.5**octave, values)
    spread = np.ptp(values)
    part = (values - values.min()) / spread if spread > 0 else np.full(shape, 0.5)
    return (limits[0] + (limits[1] - limits[0]) * part).astype(np.float32)


def make(shape: tuple[int, int, int] | None, seed: int) -> Scene:
    """The phantom, all of a box filled.

    Parameters
    ----------
    shape : matrix (x, y, z); default 128 × 128 × 1. The cells of the noise are cubes, 4 along x
    seed : keys the noise
    """
    shape = shape or SHAPE
    n = int(np.prod(shape))
    index = np.stack(np.unravel_index(np.arange(n), shape, order="F"), axis=-1).astype(np.int32)
    truth = {
        p.key: _picture(shape, seed, number, RANGES[p.code]).ravel(order="F") for number, p in enumerate(PARAMETERS)
    }
    affine = np.diag([-ZOOM, ZOOM, ZOOM, 1.0])
    geometry = Geometry(shape, affine, affine, affine, 1, 1, (ZOOM, ZOOM, ZOOM))
    return Scene(geometry, Block(truth, np.ones(n, np.uint8), index), {1: "fractal"})
