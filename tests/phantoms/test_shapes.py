"""Smooth shapes and random fields, in mm."""

import numpy as np
import pytest

from ivimsc.phantoms.shapes import ellipsoid, field, make_axes, rotate, smooth_step, tube, union


def test_distances_in_mm():
    axes, geometry = make_axes((41, 41, 41), (41.0, 41.0, 41.0))
    assert geometry.zooms == (1.0, 1.0, 1.0)
    radius = np.sqrt(sum(a.astype(float) ** 2 for a in axes))
    ball = ellipsoid(axes, (0, 0, 0), (10, 10, 10))
    np.testing.assert_allclose(ball, radius - 10, atol=1e-4)  # float32; the centre too
    rod = tube(axes, np.array([(-30, 0, 0), (30, 0, 0)]), 3.0)
    np.testing.assert_allclose(rod, np.hypot(axes[1], axes[2]) - 3, atol=1e-4)
    both = union(ball, rod, 5.0)
    assert (both <= np.minimum(ball, rod) + 1e-6).all() and (both >= np.minimum(ball, rod) - 1.26).all()


def test_a_field_belongs_to_its_place():
    fine, _ = make_axes((60, 60, 9), (300.0, 300.0, 45.0))
    coarse, _ = make_axes((20, 20, 3), (300.0, 300.0, 45.0))
    a, b = field(fine, 20.0, 5, 1), field(coarse, 20.0, 5, 1)
    np.testing.assert_allclose(a[1::3, 1::3, 1::3], b, atol=1e-4)  # float32 coordinates
    assert not np.allclose(a, field(fine, 20.0, 5, 2))


def test_a_field_has_unit_variance():
    axes, _ = make_axes((200, 200, 20), (2000.0, 2000.0, 200.0))
    values = field(axes, 12.0, 0, 0)
    assert values.mean() == pytest.approx(0, abs=0.02)  # about 4e5 lattice cells
    assert values.std() == pytest.approx(1, abs=0.02)


def test_rotation_is_counter_clockwise():
    """The axes turn by 90°: a point on y has its first coordinate in the turned axes."""
    x, y, z = rotate(tuple(np.array([v], np.float32) for v in (1, 5, 3)), (1, 2, 0), 90)
    np.testing.assert_allclose([x[0], y[0], z[0]], [3, 0, 3], atol=1e-6)  # float32


def test_a_smooth_step_rises_from_0_to_1_between_its_edges():
    x = np.array([-1, 2, 3, 4, 9], np.float32)
    np.testing.assert_allclose(smooth_step(x, 2, 4), [0, 0, 0.5, 1, 1], atol=1e-7)
    slope = np.diff(smooth_step(np.linspace(2, 4, 101, dtype=np.float32), 2, 4))
    assert np.all(slope >= 0) and slope[0] < 0.1 * slope.max() and slope[-1] < 0.1 * slope.max()


def test_voxels_lie_in_the_middle_of_the_field_of_view():
    (x, y, z), geometry = make_axes((4, 2, 3), (8.0, 6.0, 15.0))
    np.testing.assert_allclose(x[:, 0, 0], [-3, -1, 1, 3])
    np.testing.assert_allclose(y[0, :, 0], [-1.5, 1.5])
    np.testing.assert_allclose(z[0, 0, :], [-5, 0, 5])
    first = geometry.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(first, [3, -1.5, -5, 1])  # the picture's left is the patient's right
