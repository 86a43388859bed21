"""The fetus of the `placenta` phantom: in the fluid alone, and in its place."""

import numpy as np
import pytest

from ivimsc.phantoms import fetus
from ivimsc.phantoms.literature import tissues
from ivimsc.phantoms.scene import Canvas
from ivimsc.phantoms.shapes import make_axes


@pytest.fixture(scope="module")
def painted():
    """Fluid everywhere but in the lower half, with the fetus in it: labels, coordinates and codes."""
    axes, geometry = make_axes((96, 96, 12), (280.0, 280.0, 60.0))
    canvas = Canvas(tissues("placenta"), np.zeros(geometry.shape, np.uint8))
    canvas.paint("amniotic fluid", np.ones(geometry.shape, bool))
    fetus.paint(canvas, axes)
    return canvas.labels, axes, canvas.codes


def centre(painted, tissue):
    labels, axes, codes = painted
    return np.array([axis[labels == codes[tissue]].mean() for axis in axes])


def test_every_fetal_tissue_is_there(painted):
    labels, _, codes = painted
    fetal = {code for name, code in codes.items() if name.startswith("fetal")}
    assert fetal <= set(np.unique(labels)) <= fetal | {codes["amniotic fluid"]}


def test_organs_lie_from_head_to_hip_and_the_spine_behind(painted):
    """The head is to the left of the picture (small x), the back down (small y); places in mm."""
    order = ["fetal brain white matter", "fetal lung", "fetal liver", "fetal kidney"]
    along = [centre(painted, tissue)[0] for tissue in order]
    assert np.all(np.diff(along) > 15)
    assert centre(painted, "fetal kidney")[1] < centre(painted, "fetal liver")[1] - 10
    assert centre(painted, "fetal heart")[1] > centre(painted, "fetal lung")[1] + 5
