"""The fetus of the `placenta` phantom, in profile: head with brain, trunk with organs, spine, arm and legs."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.phantoms.scene import Canvas
from ivimsc.phantoms.shapes import Axes, ellipsoid, field, tube, union

__all__ = ["paint"]

ANATOMY = 30  # key of the uneven outlines: see phantoms/placenta.py
PLACE, SCALE = (5.0, -6.0, -7.0), 1.16  # mm; the middle slice passes beside the midline, through lung and ventricle
HEAD, HEAD_RADII = (-70.0, -30.0, 0.0), (41.0, 33.0, 33.0)  # mm


def paint(canvas: Canvas, axes: Axes) -> None:
    """Paint the fetus, lying with its back down, its head to the left of the picture.

    Parameters
    ----------
    canvas : the amniotic fluid
    axes : coordinates of its voxels [mm]
    """
    axes = tuple((axis - np.float32(c)) / np.float32(SCALE) for axis, c in zip(axes, PLACE, strict=True))
    body = _body(axes)
    canvas.paint("fetal soft tissue", body < 0)
    inside = body < -2.5
    _paint_trunk(canvas, axes, inside)
    _paint_head(canvas, axes, inside)


def _body(axes: Axes) -> NDArray[np.float32]:
    """The outline: head, face, neck, trunk and limbs, grown together."""
    head = ellipsoid(axes, HEAD, HEAD_RADII, -8)
    face = union(ellipsoid(axes, (-54, -2, 0), (14, 13, 17), 30), ellipsoid(axes, (-66, 5, 0), (4, 5, 5)), 6)
    head = union(head, face, 14)
    neck = tube(axes, np.array([(-45, -32, 0), (-18, -38, 0)]), 19)
    trunk = union(ellipsoid(axes, (-2, -38, 0), (38, 30, 32), -4), ellipsoid(axes, (36, -38, 0), (42, 31, 33), 6), 18)
    body = union(union(head, neck, 14), trunk, 16)
    for path, radii in _limbs():
        body = union(body, tube(axes, np.array(path), np.array(radii)), 5)
    return body + 0.8 * np.clip(field(axes, 18.0, ANATOMY, 0), -2, 2)


def _limbs() -> tuple:
    """Paths [mm] and radii of an arm, bent to the face, and of two legs, bent at hip and knee."""
    arm = [(-14, -20, 20), (6, 2, 24), (-18, 12, 20), (-38, 10, 15)], [11, 8, 7, 6]
    leg = [(62, -38, 14), (66, 12, 18), (84, -18, 22), (97, -14, 22)], [15, 11, 8, 6]
    other = [(62, -42, -12), (86, 2, -16), (88, -36, -18), (102, -40, -18)], [15, 11, 8, 6]
    return arm, leg, other


def _paint_head(canvas: Canvas, axes: Axes, inside: NDArray[np.bool_]) -> None:
    skull = ellipsoid(axes, HEAD, tuple(r - 3.0 for r in HEAD_RADII), -8)
    brain = skull + 5.0
    folds = np.abs(field(axes, 9.0, ANATOMY, 1))  # sulci follow the zero lines of a smooth field
    sulcus = (folds < 0.16 * np.clip(1 + brain / 9, 0, 1)) & (brain > -8)
    middle = np.abs(axes[2]) < 1.5  # between the hemispheres
    canvas.paint("fetal skull and spine", inside & (skull < 0))
    canvas.paint("fetal cerebrospinal fluid", inside & (skull < -2.6))
    canvas.paint("fetal brain white matter", inside & (brain < 0))
    canvas.paint("fetal brain cortex", inside & (brain < 0) & ((brain > -4.2) | ((folds < 0.42) & (brain > -10))))
    canvas.paint("fetal cerebrospinal fluid", inside & (brain < 0) & (sulcus | (middle & (brain > -7))))
    for side in (-1, 1):  # lateral ventricles
        horn = tube(axes, np.array([(-88, -34, 9 * side), (-70, -24, 8 * side), (-54, -30, 9 * side)]), 4.2)
        canvas.paint("fetal cerebrospinal fluid", inside & (horn < 0))
    cerebellum = ellipsoid(axes, (-48, -50, 0), (10, 8, 16), 20)
    canvas.paint("fetal brain cortex", inside & (brain < 0) & (cerebellum < 0))


def _paint_trunk(canvas: Canvas, axes: Axes, inside: NDArray[np.bool_]) -> None:
    def organ(tissue: str, centre: tuple, radii: tuple, degrees: float = 0.0) -> None:
        canvas.paint(tissue, inside & (ellipsoid(axes, centre, radii, degrees) < 0))

    for side in (-1, 1):
        organ("fetal lung", (-3, -38, 13 * side), (21, 20, 14), 10)
    organ("fetal heart", (0, -26, 2), (14, 11, 15), 25)
    organ("fetal liver", (33, -31, 6), (17, 21, 26), -12)
    organ("amniotic fluid", (38, -46, -17), (9, 7, 9), 20)  # stomach: swallowed fluid
    for side in (-1, 1):
        organ("fetal kidney", (54, -53, 15 * side), (12, 7, 8), 8)
    organ("amniotic fluid", (66, -30, 0), (9, 7, 9), 10)  # bladder
    spine = np.array([(-44, -46, 0), (-22, -58, 0), (4, -61, 0), (34, -63, 0), (60, -60, 0), (72, -50, 0)])
    spine_distance = tube(axes, spine, 4.5)
    beads = np.sin(axes[0] * (2 * np.pi / 7.5)) > -0.55  # vertebrae and discs
    canvas.paint("fetal skull and spine", inside & (spine_distance < 0) & beads)
