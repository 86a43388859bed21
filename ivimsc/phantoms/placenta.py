"""The `placenta` phantom: a section through a pregnant uterus in the third trimester, a schematic for radiologists.

The uterine wall with an anterior placenta: lobules (cotyledons) with a fast, bright core where maternal blood enters,
a slower rim, septa between them, basal and chorionic plate; amniotic fluid, the umbilical cord, and the fetus in profile
(`fetus`). Matrix and voxels as in the paper's section 3: 256 × 256 × 15 at 1.25 × 1.25 × 4 mm.
"""

import numpy as np
from numpy.typing import NDArray

from ivimsc.phantoms import fetus
from ivimsc.phantoms.literature import tissues
from ivimsc.phantoms.scene import Canvas, Scene, make_scene
from ivimsc.phantoms.shapes import Axes, ellipsoid, field, make_axes, smooth_step, tube

__all__ = ["TITLE", "make"]

TITLE = "pregnant uterus: wall, placenta with cotyledons, amniotic fluid, cord and fetus"
SHAPE = (256, 256, 15)
FOV = (320.0, 320.0, 60.0)  # mm
UTERUS = (140.0, 116.0, 190.0)  # mm: half axes of the cavity and wall together
WALL, THICKNESS = 9.0, 36.0  # mm: uterine wall; placenta at its thickest
ARC = 0.92  # radians: half the placenta's extent along the wall, about the anterior midline
PITCH = 27.0  # mm: a lobule's width
# The unevenness of the outlines is part of the anatomy, not of the draw: it has its own key, not the seed.
ANATOMY = 20


def make(shape: tuple[int, int, int] | None, seed: int) -> Scene:
    """The phantom in a matrix of any shape.

    Parameters
    ----------
    shape : matrix (x, y, z); default 256, 256, 15; the field of view stays
    seed : keys the spread within the tissues

    Raises
    ------
    InputError
        for a matrix so coarse that nothing of the picture is in it
    """
    axes, geometry = make_axes(shape or SHAPE, FOV)
    values = tissues("placenta")
    canvas = Canvas(values, np.zeros(geometry.shape, np.uint8))
    uterus = _uneven(axes, ellipsoid(axes, (0, 0, 0), UTERUS), 5.0, 60.0, 0)
    canvas.paint("myometrium", uterus < 0)
    canvas.paint("amniotic fluid", uterus < -WALL)
    core = _paint_placenta(canvas, axes, -uterus - WALL)
    free = canvas.has("amniotic fluid")
    fluid, points = canvas.part(free), tuple(axis[free] for axis in axes)
    if free.any():
        fetus.paint(fluid, points)
        _paint_cord(fluid, points)
        canvas.put(free, fluid)
    return make_scene(canvas, values, (axes, geometry), seed, (("placenta rim", "placenta core", core),))


def _uneven(axes: Axes, distance: NDArray, amplitude: float, scale: float, number: int) -> NDArray[np.float32]:
    """An outline pushed in and out by a few mm, as outlines of organs are."""
    return distance + np.float32(amplitude) * np.clip(field(axes, scale, ANATOMY, number), -2, 2)


def _paint_placenta(canvas: Canvas, axes: Axes, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Paint the placenta on the inner side of the front wall; `depth` [mm] counts from the inner wall inwards.

    Returns the weight of the core tissue (x, y, z), 0 in the rim and 1 in the middle of a lobule.
    """
    x, y, z = axes
    angle = np.arctan2(x + 18, y + 24)  # from the anterior midline, about a point behind the placenta
    along = (angle / ARC) ** 2 + (z / 75) ** 2
    height = THICKNESS * np.sqrt(np.clip(1 - along**1.5, 0, None))  # full over most of the arc, then a rounded edge
    height = height * (1 + 0.07 * np.clip(field(axes, 20.0, ANATOMY, 1), -2, 2))
    inside = (depth > 0) & (depth < height) & (y > -20)
    centres, edge = _lobules(angle * 95, 0.6 * z)  # lobules are longer along the uterus
    # A septum stands on the basal plate and ends before the chorionic plate.
    reach = height * (0.72 + 0.12 * np.clip(field(axes, 16.0, ANATOMY, 2), -1.5, 1.5))
    septum = (edge < 1.5 * np.sqrt(np.clip(1 - depth / np.maximum(reach, 1e-3), 0, None)) + 0.2) & (depth < reach)
    middle = np.hypot(centres / 0.30, (depth - 0.50 * height) / (0.36 * np.maximum(height, 1e-3)) * 40)
    core = 1 - smooth_step(_uneven(axes, middle, 4.0, 9.0, 3), 18.0, 62.0)
    canvas.paint("placenta rim", inside)
    canvas.paint("placenta core", inside & (core > 0.5))
    canvas.paint("septum", inside & septum)
    canvas.paint("basal plate", inside & (depth < 2.5))
    canvas.paint("chorionic plate", inside & (depth > height - 2.6))
    return core


def _lobules(along: NDArray, across: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lobules as cells about jittered centres on the wall: distance to the nearest centre, and to the cell's edge [mm]."""
    generator = np.random.RandomState(ANATOMY)  # frozen by numpy's policy: the same numbers in every version
    rows, columns = np.meshgrid(np.arange(-2, 3), np.arange(-5, 6), indexing="ij")
    places = np.stack([columns + 0.5 * (rows % 2), 0.9 * rows], axis=-1).reshape(-1, 2) * PITCH
    places += generator.uniform(-0.26, 0.26, places.shape) * PITCH
    first = np.full(along.shape, np.inf, np.float32)
    second = first.copy()
    for u, v in places.astype(np.float32):
        distance = np.hypot(along - u, across - v)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    return first, (second**2 - first**2) / (2 * PITCH)  # to the bisector, for centres a pitch apart


def _paint_cord(canvas: Canvas, axes: Axes) -> None:
    """The umbilical cord, from the chorionic plate to the fetal belly, with vessels that wind around its axis."""
    t = np.linspace(0, 1, 60)
    corners = np.array(
        [(-8, 66, 2), (-34, 52, 6), (-8, 36, 10), (36, 42, 4), (54, 22, -6), (36, 6, -7), (33, -20, -7)], float
    )
    line = np.stack([np.interp(t, np.linspace(0, 1, len(corners)), c) for c in corners.T], axis=-1)
    for _ in range(6):  # rounds the corners off; the ends stay
        line[1:-1] = (line[:-2] + 2 * line[1:-1] + line[2:]) / 4
    canvas.paint("umbilical cord", canvas.has("amniotic fluid") & (tube(axes, line, 6.5) < 0))
    cord = canvas.has("umbilical cord")
    for phase, radius in ((0, 2.2), (2.1, 1.6), (4.2, 1.6)):  # a vein and two arteries
        turn = 26 * t + phase
        offset = 3.2 * np.stack([np.cos(turn), 0.6 * np.cos(turn), np.sin(turn)], axis=-1)
        canvas.paint("cord vessels", cord & (tube(axes, line + offset, radius) < 0))
