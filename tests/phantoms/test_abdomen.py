"""The `abdomen` phantom: organs on the right side of the patient."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.phantoms import make_phantom


def test_the_first_axis_runs_from_right_to_left():
    phantom = make_phantom("abdomen", shape=(88, 64, 5))
    block = phantom.read(0, len(phantom))
    liver = next(code for code, name in phantom.tissue_names.items() if name == "liver")
    homogeneous = np.c_[block.index[block.tissue == liver], np.ones((block.tissue == liver).sum())]
    world = homogeneous @ phantom.geometry.affine.T
    assert world[:, 0].mean() > 30  # mm: the world's x points to the patient's right
    assert phantom.geometry.affine[0, 0] < 0


def test_a_matrix_that_misses_the_organ_is_refused():
    with pytest.raises(InputError, match="shape: found 1,1,1, in which no voxel's centre meets the organ"):
        make_phantom("abdomen", shape=(1, 1, 1))
