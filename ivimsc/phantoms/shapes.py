"""Smooth shapes and smooth random fields, on coordinates in mm. Distances are negative inside."""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ivimsc.compiling import KERNEL
from ivimsc.numerics.random_numbers import TRUTH, normals
from ivimsc.voxels import Geometry

__all__ = ["Axes", "ellipsoid", "field", "make_axes", "rotate", "smooth_step", "tube", "union"]

Points = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
Axes = Points


def make_axes(shape: tuple[int, int, int], fov: tuple[float, float, float]) -> tuple[Axes, Geometry]:
    """Coordinates of the voxel centres, and the geometry behind them.

    x runs to the right of the picture, y to the front and z up. A slice shown with x to the right and y up is in
    radiological convention: the picture's left is the patient's right, and so the affine's first entry is negative.

    Parameters
    ----------
    shape : matrix (x, y, z)
    fov : field of view [mm], of each axis

    Returns
    -------
    three arrays (x, y, z) of coordinates [mm], and the geometry
    """
    zooms = tuple(float(f / n) for f, n in zip(fov, shape, strict=True))
    lines = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(z) for n, z in zip(shape, zooms, strict=True)]
    affine = np.diag([-zooms[0], zooms[1], zooms[2], 1.0])
    affine[:3, 3] = [-lines[0][0], lines[1][0], lines[2][0]]
    grid = np.meshgrid(*lines, indexing="ij")
    return tuple(grid), Geometry(shape, affine, affine, affine, 1, 1, zooms)


def rotate(points: Points, centre: tuple[float, float, float], degrees: float) -> Points:
    """Points in axes of their own, turned in the plane of the slice.

    Parameters
    ----------
    points : three arrays of coordinates [mm]
    centre : origin of the new axes [mm]
    degrees : that they are turned by, counter-clockwise

    Returns
    -------
    the points in the new axes [mm]
    """
    x, y, z = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    c, s = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    return c * x + s * y, -s * x + c * y, z


def ellipsoid(
    points: Points, centre: tuple[float, float, float], radii: tuple[float, float, float], degrees: float = 0.0
) -> NDArray[np.float32]:
    """Distance to an ellipsoid, exact to first order near its surface.

    Parameters
    ----------
    points : three arrays of coordinates [mm]
    centre, radii : of the ellipsoid [mm]
    degrees : that it is turned by in the plane of the slice, counter-clockwise

    Returns
    -------
    distance [mm] of every point, negative inside
    """
    local = rotate(points, centre, degrees)
    k0 = np.sqrt(sum((p / np.float32(r)) ** 2 for p, r in zip(local, radii, strict=True)))
    k1 = np.sqrt(sum((p / np.float32(r * r)) ** 2 for p, r in zip(local, radii, strict=True)))
    with np.errstate(invalid="ignore"):
        distance = (k0 - 1) * k0 / k1
    return np.where(k1 > 0, distance, np.float32(-min(radii)))  # 0/0 at the very centre


def tube(points: Points, path: NDArray, radius: float | NDArray) -> NDArray[np.float32]:
    """Distance to a tube along a line.

    Parameters
    ----------
    points : three arrays of coordinates [mm]
    path : (corner, 3) of the line [mm]
    radius : of the tube [mm]; one, or one for each corner

    Returns
    -------
    distance [mm] of every point, negative inside
    """
    path = np.asarray(path, np.float32)
    radii = np.broadcast_to(np.asarray(radius, np.float32), len(path))
    best = np.full(points[0].shape, np.inf, np.float32)
    for a, b, r, s in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        along = b - a
        local = [p - q for p, q in zip(points, a, strict=True)]
        t = sum(p * q for p, q in zip(local, along, strict=True)) / np.float32(max(float(along @ along), 1e-9))
        t = np.clip(t, 0, 1)
        distance = np.sqrt(sum((p - t * q) ** 2 for p, q in zip(local, along, strict=True)))
        best = np.minimum(best, distance - (r + t * (s - r)))
    return best


def union(a: NDArray, b: NDArray, blend: float) -> NDArray:
    """Union of two shapes with a fillet between them (polynomial smooth minimum).

    Parameters
    ----------
    a, b : distances to the two [mm]
    blend : size of the fillet [mm]

    Returns
    -------
    distance to the union [mm]
    """
    h = np.maximum(blend - np.abs(a - b), 0) / blend
    return np.minimum(a, b) - h * h * np.float32(blend / 4)


def smooth_step(value: NDArray, low: float, high: float) -> NDArray[np.float32]:
    """A step without corners, for values of any shape: 0 below `low`, 1 above `high`, a cubic in between."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


@njit(**KERNEL)
def _lattice(seed, number, low, values):
    """Fill `values` (x, y, z) with normal draws, each keyed by its node's place: `low` is the node of values[0, 0, 0]."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            for k in range(values.shape[2]):
                node = ((i + low[0] + 65536) << 40) + ((j + low[1] + 65536) << 20) + (k + low[2] + 65536)
                values[i, j, k] = normals(seed, TRUTH, node, number)[0]


def field(points: Points, scale: float, seed: int, number: int) -> NDArray[np.float32]:
    """A smooth random field of mean 0 and SD 1 (over realisations), correlated over about `scale` mm.

    Cubic B-splines on a lattice of pitch `scale` with normal weights. The field belongs to the place, not to the matrix:
    a coarser matrix samples the same field.

    Parameters
    ----------
    points : three arrays of coordinates [mm], of one shape
    scale : correlation length [mm]
    seed, number : key the field; the number tells the fields of one seed apart

    Returns
    -------
    value at every point
    """
    lows = [int(np.floor(float(p.min()) / scale)) - 2 for p in points]
    highs = [int(np.ceil(float(p.max()) / scale)) + 2 for p in points]
    weights = np.empty([high - low + 1 for low, high in zip(lows, highs, strict=True)])
    _lattice(seed, number, np.array(lows), weights)
    places = [p / np.float32(scale) - np.float32(low) for p, low in zip(points, lows, strict=True)]
    result = map_coordinates(weights, places, order=3, prefilter=False, output=np.float32)
    return result / np.float32((151 / 315) ** 1.5)  # 151/315: the integral of the squared cubic B-spline, per axis
