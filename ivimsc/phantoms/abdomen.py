"""The `abdomen` phantom: axial slices through liver, spleen, pancreas and kidneys, a schematic.

As in a fat-suppressed image, subcutaneous and visceral fat, bowel gas and cortical bone give no signal: they are air
here and outside the mask.
"""

import numpy as np
from numpy.typing import NDArray

from ivimsc.phantoms.literature import tissues
from ivimsc.phantoms.scene import Canvas, Scene, make_scene
from ivimsc.phantoms.shapes import Axes, ellipsoid, field, make_axes, smooth_step, tube, union

__all__ = ["TITLE", "make"]

TITLE = "axial upper abdomen: liver, spleen, pancreas, kidneys, stomach, muscle, vessels"
SHAPE = (176, 128, 10)
FOV = (374.0, 272.0, 50.0)  # mm: 2.125 × 2.125 × 5 mm
ANATOMY = 50  # key of the outlines, which do not depend on the seed


def make(shape: tuple[int, int, int] | None, seed: int) -> Scene:
    """The phantom in a matrix of any shape.

    Parameters
    ----------
    shape : matrix (x, y, z); default 176, 128, 10; the field of view stays
    seed : keys the spread within the tissues

    Raises
    ------
    InputError
        for a matrix so coarse that nothing of the picture is in it
    """
    axes, geometry = make_axes(shape or SHAPE, FOV)
    values = tissues("abdomen")
    canvas = Canvas(values, np.zeros(geometry.shape, np.uint8))
    wobble = 1.5 * np.clip(field(axes, 30.0, ANATOMY, 0), -2, 2)
    wall = ellipsoid(axes, (0, 4, 0), (158, 112, 900)) + wobble
    _paint_wall(canvas, axes, wall)
    inside = wall < -14
    _paint_stomach_and_spleen(canvas, axes, inside, wobble)
    _paint_pancreas_and_vessels(canvas, axes, inside)
    _paint_kidneys(canvas, axes, inside, wobble)
    _paint_liver(canvas, axes, inside, wobble)
    return make_scene(canvas, values, (axes, geometry), seed)


def _paint_wall(canvas: Canvas, axes: Axes, wall: NDArray[np.float32]) -> None:
    """Muscles of the wall and the back, the spine with its canal."""
    x, y, _ = axes
    canvas.paint("muscle", (wall < 0) & (wall > -9) & (np.abs(x) > 2))
    for side in (-1, 1):
        back = ellipsoid(axes, (34 * side, -82, 0), (29, 19, 900), -12 * side)
        psoas = ellipsoid(axes, (33 * side, -44, 0), (11, 15, 900), 20 * side)
        canvas.paint("muscle", ((back < 0) | (psoas < 0)) & (wall < -2))
        crus = tube((x, y, np.zeros_like(x)), np.array([(20 * side, -36, 0), (13 * side, -14, 0)]), 3.5)
        canvas.paint("muscle", crus < 0)
    canvas.paint("vertebral marrow", ellipsoid(axes, (0, -47, 0), (21, 16, 900)) < 0)
    canvas.paint("spinal canal", ellipsoid(axes, (0, -72, 0), (9, 7.5, 900)) < 0)


def _paint_liver(canvas: Canvas, axes: Axes, inside: NDArray[np.bool_], wobble: NDArray[np.float32]) -> None:
    """Right and left lobe with the branches of portal and hepatic veins, and the gallbladder in its bed."""
    right = ellipsoid(axes, (-86, 4, 0), (60, 82, 120), -10)
    left = ellipsoid(axes, (-28, 54, 0), (62, 33, 80), -14)
    liver = union(right, left, 26) + 0.8 * wobble
    cut = union(ellipsoid(axes, (-48, -60, 0), (46, 42, 200)), ellipsoid(axes, (-14, 6, 0), (44, 30, 300)), 12)
    body = np.maximum(liver, -(cut - 3))
    where = inside & (body < 0) & ~canvas.has("kidney cortex", "kidney medulla", "renal pelvis", "blood vessel")
    canvas.paint("liver", where)
    z0 = 6.0
    trees = (
        ([(-42, 22, z0), (-66, 24, z0), (-92, 14, z0 + 2), (-116, 0, z0)], [6, 5.5, 4, 2]),
        ([(-66, 24, z0), (-78, 46, z0 + 4), (-92, 62, z0 + 8)], [4.5, 3.5, 2]),
        ([(-92, 14, z0), (-98, -18, z0 - 4), (-106, -42, z0 - 8)], [3.5, 3, 2]),
        ([(-42, 22, z0), (-28, 42, z0), (-10, 56, z0 + 2)], [4, 3.5, 2]),
        ([(-54, -8, -14), (-84, 22, -16), (-108, 44, -18)], [5, 4, 2]),
        ([(-54, -8, -14), (-62, 34, -16), (-64, 68, -18)], [5, 4, 2]),
        ([(-58, -14, -14), (-94, -30, -15), (-122, -30, -16)], [5, 4, 2]),
    )
    for path, radii in trees:
        canvas.paint("liver vessels", where & (tube(axes, np.array(path, float), np.array(radii, float)) < 0))
    canvas.paint("gallbladder", inside & (ellipsoid(axes, (-52, 50, 16), (12, 20, 19), -25) < 0))


def _paint_stomach_and_spleen(
    canvas: Canvas, axes: Axes, inside: NDArray[np.bool_], wobble: NDArray[np.float32]
) -> None:
    spleen = ellipsoid(axes, (106, -34, 0), (24, 52, 70), 24)
    hilum = ellipsoid(axes, (76, -22, 0), (22, 34, 60), 24)
    canvas.paint("spleen", inside & (np.maximum(spleen, -hilum) + 0.6 * wobble < 0))
    stomach = union(ellipsoid(axes, (74, 46, 0), (38, 34, 60), 30), ellipsoid(axes, (34, 62, 0), (30, 17, 40), -20), 18)
    canvas.paint("stomach wall", inside & (stomach + 0.8 * wobble < 0) & ~canvas.has("spleen"))
    canvas.paint("stomach content", inside & (stomach + 0.8 * wobble < -5) & ~canvas.has("spleen"))


def _paint_pancreas_and_vessels(canvas: Canvas, axes: Axes, inside: NDArray[np.bool_]) -> None:
    line = [(-34, 8, 4), (-22, 14, 2), (-2, 20, 0), (26, 14, -2), (54, 2, -4), (74, -10, -4)]
    gland = tube(axes, np.array(line, float), np.array([12, 12, 9, 9, 9, 6.5]))
    lobulation = 2.2 * np.clip(field(axes, 7.0, ANATOMY, 3), -2, 2)
    free = inside & ~canvas.has("stomach wall", "stomach content", "spleen")
    canvas.paint("pancreas", free & (gland + lobulation < 0))
    splenic = np.array([(-18, 4, 0), (10, 8, 0), (48, -6, -4), (80, -20, -4)], float)
    canvas.paint("blood vessel", free & (tube(axes, splenic, 3.6) < 0))
    canvas.paint("blood vessel", ellipsoid(axes, (8, -20, 0), (10, 10, 900)) < 0)  # aorta
    canvas.paint("blood vessel", ellipsoid(axes, (-24, -20, 0), (14, 10, 900), -10) < 0)  # inferior vena cava
    canvas.paint("blood vessel", inside & (ellipsoid(axes, (-12, 6, 0), (6.5, 6.5, 900)) < 0))  # mesenteric vein


def _paint_kidneys(canvas: Canvas, axes: Axes, inside: NDArray[np.bool_], wobble: NDArray[np.float32]) -> None:
    """Both kidneys: cortex, pyramids of the medulla, pelvis open to the midline."""
    x, y, z = axes
    for side in (-1, 1):
        centre = (64 * side, -46, -6 if side < 0 else 4)
        kidney = ellipsoid(axes, centre, (27, 33, 56), 24 * side) + 0.4 * wobble
        hilum = ellipsoid(axes, (centre[0] - 20 * side, centre[1] + 12, centre[2]), (17, 8, 22), 28 * side)
        angle = np.arctan2(y - centre[1], x - centre[0])
        ray = np.cos(9 * angle + 0.05 * z * side)
        pyramid = (kidney < -6.5) & (kidney > -19) & (ray > -0.35 + 0.9 * smooth_step(-kidney, 8, 19))
        where = inside & (kidney < 0) & ~canvas.has("muscle", "vertebral marrow")
        canvas.paint("kidney cortex", where)
        canvas.paint("kidney medulla", where & pyramid)
        canvas.paint("renal pelvis", where & (hilum < 0))
        vessel = np.array([(centre[0] - 24 * side, centre[1] + 14, centre[2]), (14 * side, -24, centre[2])], float)
        canvas.paint("blood vessel", inside & (tube(axes, vessel, 3.4) < 0) & ~canvas.has("muscle", "renal pelvis"))
