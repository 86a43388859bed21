"""The `brain` phantom: axial slices at the height of the lateral ventricles, a schematic.

Folded cortex, white matter, lateral and third ventricle, thalamus, basal ganglia, falx and superior sagittal sinus.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ivimsc.phantoms.literature import tissues
from ivimsc.phantoms.scene import Canvas, Scene, make_scene
from ivimsc.phantoms.shapes import Axes, ellipsoid, field, make_axes, tube

__all__ = ["TITLE", "make"]

TITLE = "axial brain: cortex, white matter, deep grey matter, cerebrospinal fluid, sagittal sinus"
SHAPE = (128, 128, 10)
FOV = (192.0, 192.0, 40.0)  # mm: 1.5 × 1.5 × 4 mm
BRAIN = (66.0, 84.0, 74.0)  # mm: half axes of the space inside the skull
FOLD = 8.5  # mm: pitch of the field behind the sulci
CORTEX = 3.2  # mm: thickness of the cortical ribbon
ANATOMY = 40  # key of the outlines, which do not depend on the seed


def make(shape: tuple[int, int, int] | None, seed: int) -> Scene:
    """The phantom in a matrix of any shape.

    Parameters
    ----------
    shape : matrix (x, y, z); default 128, 128, 10; the field of view stays
    seed : keys the spread within the tissues

    Raises
    ------
    InputError
        for a matrix so coarse that nothing of the picture is in it
    """
    axes, geometry = make_axes(shape or SHAPE, FOV)
    values = tissues("brain")
    canvas = Canvas(values, np.zeros(geometry.shape, np.uint8))
    skull = ellipsoid(axes, (0, 0, -8), BRAIN) + 1.2 * np.clip(field(axes, 50.0, ANATOMY, 0), -2, 2)
    canvas.paint("cerebrospinal fluid", skull < 0)
    brain = (skull < -2.5) & ~_sulci(axes, -skull - 2.5)
    depth = distance_transform_edt(brain, sampling=geometry.zooms) if brain.any() else np.zeros(brain.shape)
    canvas.paint("white matter", brain)
    canvas.paint("cortical grey matter", brain & (depth < CORTEX))
    _paint_deep(canvas, axes)
    sinus = ellipsoid(axes, (0, -BRAIN[1] + 3.5, 0), (4.5, 5, 60))
    canvas.paint("vein", (sinus < 0) & (skull < 0))
    return make_scene(canvas, values, (axes, geometry), seed)


def _sulci(axes: Axes, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Furrows filled with fluid: the zero lines of a smooth field near the surface, the falx and the insulae."""
    x, y, _ = axes
    folds = field(axes, FOLD, ANATOMY, 1)
    slopes = [field((x + dx, y + dy, axes[2]), FOLD, ANATOMY, 1) - folds for dx, dy in ((0.5, 0), (0, 0.5))]
    steepness = np.hypot(*slopes) / np.float32(0.5)  # per mm: turns the field into a distance from its zero line
    reach = 17 + 4 * np.clip(field(axes, 25.0, ANATOMY, 2), -2, 2)
    furrow = (np.abs(folds) < (1.2 - 0.5 * depth / reach) * np.maximum(steepness, 0.02)) & (depth < reach)
    falx = (np.abs(x) < 1.3) & ((y > 30) | (y < -36))
    insula = np.zeros(x.shape, bool)
    for side in (-1, 1):
        path = np.array([(64 * side, 14, 0), (46 * side, 12, 0), (39 * side, 2, 0), (41 * side, -10, 0)])
        insula |= tube((x, y, np.zeros_like(x)), path, 1.5) < 0
    return furrow | falx | insula


def _paint_deep(canvas: Canvas, axes: Axes) -> None:
    """Ventricles and deep grey matter; both sides alike."""
    inner = canvas.has("white matter", "cortical grey matter")
    z = axes[2]
    centre = (np.abs(axes[0]) < 36) & (np.abs(axes[1]) < 36) & inner
    canvas.paint("white matter", centre & ~canvas.has("cerebrospinal fluid") & (np.abs(axes[0]) < 30))
    for side in (-1, 1):
        thalamus = ellipsoid(axes, (10.5 * side, -11, -4), (9, 14, 13), 22 * side)
        putamen = ellipsoid(axes, (25 * side, 6, -4), (6, 17, 15), 9 * side)
        caudate = ellipsoid(axes, (13.5 * side, 20, 0), (5, 9, 15), 15 * side)
        canvas.paint("thalamus", inner & (thalamus < 0))
        canvas.paint("basal ganglia", inner & ((putamen < 0) | (caudate < 0)))
        horn = np.array(
            [(5 * side, 26, 2), (5 * side, 8, 6), (8 * side, -8, 8), (17 * side, -26, 4), (20 * side, -36, 0)]
        )
        body = tube(axes, horn, np.array([4.2, 3.4, 3.2, 5.0, 3.0]))
        canvas.paint("cerebrospinal fluid", inner & (body < 0) & (z > -16))
    third = ellipsoid(axes, (0, -8, -10), (1.8, 14, 14))
    canvas.paint("cerebrospinal fluid", inner & (third < 0))
