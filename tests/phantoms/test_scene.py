"""From labels to truth: means and spreads of the tissues, blends, and the limits of physiology."""

import numpy as np
import pytest

from ivimsc.phantoms.literature import Tissue
from ivimsc.phantoms.scene import LIMITS, Canvas, make_scene
from ivimsc.phantoms.shapes import make_axes

SHAPE = (40, 40, 8)
TISSUES = {
    "a": Tissue("a", (1.0, 0.05), (0.1, 0.02), (1.0e-3, 1e-4), (20e-3, 4e-3)),
    "b": Tissue("b", (0.5, 0.05), (0.3, 0.06), (2.0e-3, 2e-4), (60e-3, 6e-3)),
}
KEYS = {"s0": "S0", "f": "f", "d": "D", "dstar": "Dstar"}


@pytest.fixture(scope="module")
def space():
    return make_axes(SHAPE, (600.0, 600.0, 120.0))  # voxels 15 mm apart: all but independent


def halves():
    canvas = Canvas(TISSUES, np.zeros(SHAPE, np.uint8))
    canvas.paint("a", np.arange(40)[:, None, None] * np.ones(SHAPE) < 20)
    canvas.paint("b", (np.arange(40)[:, None, None] * np.ones(SHAPE) >= 20) & (np.arange(40)[:, None] > 0)[None])
    return canvas


def test_mean_and_spread_are_those_of_the_table(space):
    scene = make_scene(halves(), TISSUES, space, 3)
    block = scene.read(0, len(scene))
    assert scene.tissue_names == {1: "a", 2: "b"}
    assert len(scene) == 20 * 40 * 8 + 20 * 39 * 8
    for code, name in scene.tissue_names.items():
        for key, parameter in KEYS.items():
            values, (mean, sd) = block.truth[key][block.tissue == code], getattr(TISSUES[name], parameter)
            # 6,000 voxels that are almost independent; cutting at 2.5 SDs takes about 3 % of the SD
            assert values.mean() == pytest.approx(mean, rel=0.02)
            assert values.std() == pytest.approx(sd, rel=0.1)


def test_a_blend_lies_between_its_tissues(space):
    weight = np.full(SHAPE, 0.25, np.float32)
    scene = make_scene(halves(), TISSUES, space, 3, (("a", "b", weight),))
    values = scene.read(0, len(scene)).truth
    for key, parameter in KEYS.items():
        expected = 0.75 * getattr(TISSUES["a"], parameter)[0] + 0.25 * getattr(TISSUES["b"], parameter)[0]
        assert values[key].mean() == pytest.approx(expected, rel=0.02)


def test_values_stay_within_their_limits(space):
    wild = {"a": Tissue("a", (1.0, 3.0), (0.5, 0.8), (1e-3, 3e-3), (50e-3, 0.2)), "b": TISSUES["b"]}
    scene = make_scene(halves(), wild, space, 0)
    for key, parameter in KEYS.items():
        values = scene.read(0, len(scene)).truth[key]
        low, high = np.float32(LIMITS[parameter])
        assert low <= values.min() and values.max() <= high


def test_a_part_of_the_canvas_goes_back_into_its_place():
    canvas = halves()
    where = canvas.has("a")
    part = canvas.part(where)
    part.paint("b", np.arange(where.sum()) % 2 == 0)
    canvas.put(where, part)
    np.testing.assert_array_equal(canvas.labels[where], np.where(np.arange(where.sum()) % 2 == 0, 2, 1))
