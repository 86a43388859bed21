"""The `fractal` phantom: its ranges, its smoothness and roughness, its independence."""

import numpy as np
import pytest

from ivimsc.phantoms import make_phantom
from ivimsc.phantoms.fractal import _add_octave

RANGES = {"s0": (0, 1), "f": (0, 0.5), "d": (0, 3e-3), "dstar": (3e-3, 100e-3)}


def pictures(shape, seed=3):
    phantom = make_phantom("fractal", seed, shape=shape)
    block = phantom.read(0, len(phantom))
    return {key: values.reshape(shape, order="F") for key, values in block.truth.items()}


@pytest.mark.parametrize("shape", [(64, 64, 1), (32, 24, 16)])
def test_every_map_fills_its_range(shape):
    for key, values in pictures(shape).items():
        assert values.shape == shape
        np.testing.assert_allclose((values.min(), values.max()), RANGES[key], rtol=1e-6, atol=1e-9)  # float32


def test_one_octave_is_zero_at_the_nodes_and_bounded():
    """Gradient noise in three dimensions lies within ±√3 / 2 of zero (a slope of length 1, half a diagonal away), and is 0 at nodes."""
    values = np.zeros((33, 33, 33))
    _add_octave(1, 0, 33.0, 1.0, values)  # one voxel per cell: its centre
    assert 0.1 < np.abs(values).max() <= np.sqrt(3) / 2
    fine = np.zeros((800, 2, 2))
    _add_octave(1, 0, 4.0, 1.0, fine)
    near = np.abs(fine[[199, 200, 399, 400, 599, 600], 0, 0])  # 0.0025 √3 of a cell from a node, where the slope is 1
    assert near.max() < 0.0025 * np.sqrt(3) * 1.01


def test_neighbours_are_alike_and_far_voxels_are_not():
    """Differences grow with distance up to a cell of the first octave, a quarter of the picture."""
    f = pictures((128, 128, 1))["f"][..., 0]
    near, far = (np.mean((f[d:] - f[:-d]) ** 2) / (2 * f.var()) for d in (1, 32))
    assert near < 0.05 and far > 0.5


def test_maps_are_independent_and_seeds_differ():
    """Sixteen cells of the coarsest octave make a correlation of a few tenths by chance, not one."""
    maps = pictures((64, 64, 1))
    flat = np.stack([values.ravel() for values in maps.values()])
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.7
    other = pictures((64, 64, 1), seed=4)
    assert not np.any(other["f"] == maps["f"]) or np.mean(other["f"] == maps["f"]) < 0.01


def test_a_slice_of_a_volume_does_not_depend_on_its_thickness():
    """Before it is scaled to its range, the noise belongs to the place."""
    thin, thick = np.zeros((16, 16, 1)), np.zeros((16, 16, 8))
    for values in (thin, thick):
        _add_octave(2, 5, 4.0, 1.0, values)
    np.testing.assert_array_equal(thin[..., 0], thick[..., 0])
