"""Slices are shown in radiological orientation, whatever the axes of the file."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from ivimsc.orientation import view_of
from ivimsc.voxels import Geometry

LETTERS = {
    "R": (0, 1),
    "L": (0, -1),
    "A": (1, 1),
    "P": (1, -1),
    "S": (2, 1),
    "I": (2, -1),
}  # NIfTI: +x right, +y front, +z top


def affines():
    tilt = nib.eulerangles.euler2mat(0.15, -0.2, 0.1)
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        flip = np.zeros((3, 3))
        for axis, world in enumerate(order):
            flip[world, axis] = signs[axis] * (1.5, 2.0, 4.0)[axis]
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = tilt @ flip, (3, -7, 11)
        yield affine


@pytest.mark.parametrize("affine", list(affines()))
def test_the_letters_are_where_the_patient_is(affine):
    view = view_of(Geometry((8, 8, 8), affine, sform=affine, sform_code=1))
    step = {True: -1, False: 1}
    right, down = np.zeros(3), np.zeros(3)
    right[view.across], down[1 - view.across] = step[view.flip_across], step[view.flip_down]
    for direction, ends in ((right, (view.left, view.right)), (down, (view.top, view.bottom))):
        moved = affine[:3, :3] @ direction
        for letter, sign in zip(ends, (-1, 1), strict=True):
            world, end = LETTERS[letter]
            assert np.argmax(np.abs(moved)) == world
            assert np.sign(moved[world]) == end * sign, (view, letter)
    normal = nib.aff2axcodes(affine)[2]
    assert view.plane == {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal"}.get(normal, "sagittal")
    assert (view.left, view.top) == {"axial": ("R", "A"), "coronal": ("R", "S"), "sagittal": ("A", "S")}[view.plane]


def test_the_tilt_is_the_largest_angle_of_an_axis():
    turn = np.eye(4)
    turn[:3, :3] = nib.eulerangles.euler2mat(np.radians(12), 0, 0)
    assert view_of(Geometry((4, 4, 4), turn, sform=turn, sform_code=1)).tilt == pytest.approx(12, abs=1e-6)


def test_a_file_that_does_not_say_its_orientation_gets_no_letters():
    view = view_of(Geometry((4, 4, 4), np.diag([-1.0, 1, 1, 1])))
    assert (view.left, view.right, view.top, view.bottom, view.plane) == ("", "", "", "", "")
    assert (view.across, view.flip_across, view.flip_down) == (0, False, True)
