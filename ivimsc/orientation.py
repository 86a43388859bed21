"""How a slice is shown: radiological orientation, from the affine.

Slices are those of the third voxel axis, as they are stored. On an axial slice the right of the patient is on the left and
anterior is above; on a coronal one right is on the left and superior above; on a sagittal one anterior is on the left and
superior above.
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np

from ivimsc.voxels import Geometry

__all__ = ["View", "view_of"]

ENDS = (("L", "R"), ("P", "A"), ("I", "S"))  # of the axes of the world, which grow to the right, the front and the top
# plane by its normal: its name, the letters at the left and at the top of the screen
PLANES = (("sagittal", "A", "S"), ("coronal", "R", "S"), ("axial", "R", "A"))


class View(NamedTuple):
    """How the voxel axes lie on the screen.

    across : the voxel axis, 0 or 1, that runs along the screen; the other one runs down
    flip_across, flip_down : it runs to the left, or up, there
    left, right, top, bottom : letters of the patient's sides; empty where the file does not say
    plane : axial, coronal or sagittal; empty where unknown
    tilt : largest angle of a voxel axis from the patient's axis [degree]
    """

    across: int
    flip_across: bool
    flip_down: bool
    left: str = ""
    right: str = ""
    top: str = ""
    bottom: str = ""
    plane: str = ""
    tilt: float = 0.0


def view_of(geometry: Geometry) -> View:
    """The radiological view of a volume.

    Parameters
    ----------
    geometry : of the volume; without a qform and a sform its orientation is not known, and x runs along and y up
    """
    if geometry.qform_code <= 0 and geometry.sform_code <= 0:
        return View(0, False, True)
    columns = np.asarray(geometry.affine, np.float64)[:3, :3]
    cosines = columns / np.linalg.norm(columns, axis=0)  # (world, voxel axis)
    worlds = max(permutations(range(3)), key=lambda order: sum(abs(cosines[w, axis]) for axis, w in enumerate(order)))
    plane, left, top = PLANES[worlds[2]]
    across = next(axis for axis in (0, 1) if left in ENDS[worlds[axis]])
    ends = [ENDS[w] if cosines[w, axis] > 0 else ENDS[w][::-1] for axis, w in enumerate(worlds)]  # (low, high) index
    along, down = ends[across], ends[1 - across]
    flip_across, flip_down = along[1] == left, down[1] == top
    right, bottom = along[0] if flip_across else along[1], down[0] if flip_down else down[1]
    tilt = max(np.degrees(np.arccos(min(abs(cosines[w, axis]), 1.0))) for axis, w in enumerate(worlds))
    return View(across, flip_across, flip_down, left, right, top, bottom, plane, float(tilt))
