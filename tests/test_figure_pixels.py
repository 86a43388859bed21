"""Maps as plain pixels are those that matplotlib draws."""

import numpy as np
from matplotlib.colors import to_rgba

from ivimsc.figures import MEANINGLESS, OUTCOME_COLOURS, Slice, map_pixels, new_figure, outcome_pixels, show_map
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import BY_KEY
from ivimsc.voxels import Geometry

INDEX = np.array([[x, y, 0] for x in range(1, 5) for y in range(2, 6) if (x, y) != (2, 3)], np.int32)
PLACE = Slice(INDEX, Geometry((8, 8, 1), np.diag([-1.0, 1, 1, 1])))


def test_pixels_of_a_map_are_those_of_show_map():
    f = BY_KEY["f"]
    values = np.linspace(-0.1, 0.9, len(INDEX))  # below and above the range
    values[4] = np.nan
    drawn = show_map(new_figure(1, 1, (3, 3))[1], PLACE, values, f, (0.0, 60.0))
    pixels = map_pixels(PLACE, values, f, (0.0, 60.0))
    np.testing.assert_array_equal(pixels, drawn.cmap(drawn.norm(drawn.get_array()), bytes=True))
    assert (pixels[PLACE.put(np.isnan(values), 0) > 0] == [255, 0, 255, 255]).all()
    assert (pixels[~PLACE.inside] == [0, 0, 0, 255]).all()


def test_meaningless_voxels_and_outcomes_have_their_colours():
    unsure = np.arange(len(INDEX)) % 2 == 0
    pixels = map_pixels(PLACE, np.full(len(INDEX), 0.05), BY_KEY["dstar"], (0.0, 120.0), unsure)
    slate = np.rint(255 * np.array(to_rgba(MEANINGLESS)))
    assert (pixels[PLACE.put(unsure, 0) > 0] == slate).all() and not (pixels[PLACE.put(~unsure, 0) > 0] == slate).all()
    codes = np.arange(len(INDEX), dtype=np.uint8) % 8 + 1
    picture = PLACE.put(codes, 0).astype(int)
    for outcome in Outcome:
        colour = np.rint(255 * np.array(to_rgba(OUTCOME_COLOURS[outcome])))
        assert (outcome_pixels(PLACE, codes)[picture == outcome] == colour).all()
