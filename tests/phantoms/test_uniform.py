"""The `uniform` phantom: its marginals, and its place in a volume."""

import numpy as np
import pytest

from ivimsc.phantoms import make_phantom


@pytest.mark.parametrize("n", [1, 999, 1000, 100_000, 1_000_001])
def test_voxels_fit_in_a_volume_that_nifti_can_hold(n):
    phantom = make_phantom("uniform", voxels=n)
    assert len(phantom) == n <= np.prod(phantom.geometry.shape)
    assert max(phantom.geometry.shape) <= 32767
    assert (phantom.read(n - 1, n).index < phantom.geometry.shape).all()


def test_marginals_are_uniform_and_independent():
    truth = make_phantom("uniform").read(0, 100_000).truth
    columns = []
    for key, low, high in (("f", 0.05, 0.5), ("d", 0.5e-3, 2.5e-3), ("dstar", 10e-3, 100e-3)):
        u = (truth[key] - low) / (high - low)
        assert -1e-6 <= u.min() and u.max() <= 1 + 1e-6  # float32 rounding at the ends
        assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(u))  # four standard errors
        assert abs(u.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / len(u))
        columns.append(u)
    assert np.abs(np.corrcoef(columns) - np.eye(3)).max() < 4 / np.sqrt(100_000)
    assert (truth["s0"] == 1).all()


def test_every_voxel_is_drawn_by_its_own_number():
    """Read from the middle, the values are those of the whole; another seed gives others."""
    phantom = make_phantom("uniform", voxels=5000)
    whole, part = phantom.read(0, 5000), phantom.read(1234, 1300)
    other = make_phantom("uniform", seed=1, voxels=5000).read(0, 5000)
    for key in ("f", "d", "dstar"):
        np.testing.assert_array_equal(part.truth[key], whole.truth[key][1234:1300])
        assert not np.any(other.truth[key] == whole.truth[key])
    np.testing.assert_array_equal(part.index, whole.index[1234:1300])
