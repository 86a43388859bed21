"""Pictures: whoever imports the package keeps their own backend and figures; what is drawn is where it belongs."""

import subprocess
import sys
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from ivimsc.compare.figure import draw
from ivimsc.estimates import Estimates
from ivimsc.figures import Slice, into_slice, new_figure, page, range_of, save, sheet
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import BY_KEY
from ivimsc.voxels import Geometry

SHAPE = (8, 6, 2)
INDEX = np.argwhere(np.ones(SHAPE, bool)).astype(np.int32)

UNTOUCHED = """
import importlib, pkgutil, sys
import matplotlib, numba, numba.cuda, numpy as np
import ivimsc
before = dict(matplotlib.rcParams), {k: getattr(numba.config, k) for k in dir(numba.config) if k.isupper()}, np.geterr()
for module in pkgutil.walk_packages(ivimsc.__path__, "ivimsc."):
    words = ("__main__", "gpu", "device", "network", "train", "data")  # what needs a GPU or torch
    if not any(word in module.name for word in words):
        importlib.import_module(module.name)
from ivimsc.figures import new_figure, save
figure, axes = new_figure(1, 1, (2, 2))
axes.plot([0, 1], [0, 1])
save(figure, sys.argv[1])
after = dict(matplotlib.rcParams), {k: getattr(numba.config, k) for k in dir(numba.config) if k.isupper()}, np.geterr()
assert after == before, [key for a, b in zip(before, after) for key in a if a[key] != b[key]]
assert "matplotlib.pyplot" not in sys.modules, "pyplot was imported"
import matplotlib.pyplot as plt
assert plt.get_fignums() == [] and matplotlib.get_backend() == "svg", matplotlib.get_backend()
"""


def test_importing_and_drawing_leave_backend_figures_and_settings_alone(tmp_path, monkeypatch):
    """In a process of its own: here, other tests may have loaded pyplot."""
    monkeypatch.setenv("MPLBACKEND", "svg")
    done = subprocess.run([sys.executable, "-c", UNTOUCHED, tmp_path / "a.png"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert matplotlib.image.imread(tmp_path / "a.png").shape == (220, 220, 4)  # 2 inches at 110 dots


def test_a_slice_holds_its_voxels_and_nothing_else():
    index = np.array([[0, 0, 0], [2, 1, 1], [1, 2, 1]], np.int32)
    image = into_slice(np.array([5.0, 6.0, np.nan]), index, (3, 3, 2), 1, -1.0)
    expected = np.full((3, 3), -1.0)
    expected[2, 1], expected[1, 2] = 6.0, np.nan
    np.testing.assert_array_equal(image, expected)


def test_ranges_are_the_parameters_own_or_the_datas():
    assert range_of(BY_KEY["f"], np.array([0.0, 99.0])) == (0.0, 60.0)
    assert range_of(BY_KEY["s0"], np.array([np.nan, *range(101)])) == (0.0, 99.0)
    assert range_of(BY_KEY["s0"], np.array([np.nan])) == (0.0, 1.0)


def test_what_is_saved_is_what_was_drawn(tmp_path):
    figure, axes = new_figure(1, 1, (1, 1))
    axes.set_axis_off()
    figure.set_facecolor("#ff0000")
    save(figure, tmp_path / "a")
    picture = matplotlib.image.imread(tmp_path / "a", format="png")
    np.testing.assert_array_equal(picture, np.broadcast_to([1, 0, 0, 1], (110, 110, 4)))


@pytest.mark.parametrize("keys", [("f", "d", "dstar"), ("d",)])
def test_a_comparison_has_a_row_for_each_parameter_that_both_have(tmp_path, keys):
    truth = {key: np.linspace(*BY_KEY[key].display_range, len(INDEX)) / BY_KEY[key].display_scale for key in ("f", "d", "dstar")}  # fmt: skip
    found = {key: truth[key] * 1.1 for key in keys}
    path = draw(found, truth, ("truth", "mine"), Slice(INDEX, Geometry(SHAPE, np.eye(4))), tmp_path / "c.png")
    height, width, _ = matplotlib.image.imread(path).shape
    assert (height, width) == (int(110 * (0.25 + 3.75 * len(keys))), 1375)


def test_a_method_without_f_and_dstar_leaves_their_panels_empty(tmp_path, monkeypatch):
    """adc has S0 and D alone."""
    n = len(INDEX)
    truth = {"s0": np.linspace(0.1, 1, n), "f": np.full(n, 0.3), "d": np.full(n, 1e-3), "dstar": np.full(n, 0.05)}
    voxels = SimpleNamespace(index=INDEX, geometry=Geometry(SHAPE, np.eye(4)), truth=truth)
    fields = {"S0": truth["s0"], "D": truth["d"], "rmse": np.zeros(n), "outcome": np.full(n, Outcome.CONVERGED, np.uint8)}  # fmt: skip
    some = Estimates(**dict.fromkeys(("f", "Dstar")), **fields)
    whole = Estimates(f=truth["f"], Dstar=truth["dstar"], **fields)
    kept = []
    monkeypatch.setattr(page, "save", lambda figure, path: kept.append(figure))
    sheet(voxels, {"some": some, "whole": whole}, tmp_path / "x.png", "title")
    grid = np.array(kept[0].axes[:20]).reshape(4, 5)  # truth, both methods, histograms; the last column is the outcome
    assert [axes.axison for axes in grid[1]] == [True, False, True, False, True]
    assert all(axes.axison for axes in grid[2])
    assert [len(axes.images) for axes in grid[2]] == [1] * 5
    labels = [text.get_text() for row in (1, 2) for text in grid[row, 4].get_legend().get_texts()]
    assert labels == [f"1 converged: {n} (100.0 %)"] * 2
    for axes in grid[3, :4]:  # no peak is cut
        tops = [path.vertices[:, 1].max() for patch in axes.patches for path in [patch.get_path()]]
        assert max(tops) <= axes.get_ylim()[1]


class TestSlice:
    """Voxels of one slice lie where they are in the patient, and around them is one pixel."""

    INDEX = np.array([[2, 3, 1], [4, 3, 1], [2, 5, 1], [0, 0, 0]], np.int32)
    VALUES = np.array([1.0, 2.0, 3.0])

    def place(self, axes, z=None):
        affine = np.eye(4)
        affine[:3, :3] = axes
        return Slice(self.INDEX, Geometry((8, 9, 2), affine, affine, affine, 1, 1, (1.0, 2.0, 3.0)), z)

    def corners(self, place):
        picture = place.put(self.VALUES, 0)
        assert picture.shape == (5, 5) and np.count_nonzero(picture) == 3
        assert not picture[[0, -1]].any() and not picture[:, [0, -1]].any()
        return [[picture[1, 1], picture[1, 3]], [picture[3, 1], picture[3, 3]]]

    def test_ras_axial_has_the_patients_right_on_the_left_and_anterior_above(self):
        place = self.place(np.eye(3))
        assert (place.view.left, place.view.top, place.z, place.aspect) == ("R", "A", 1, 2)
        assert self.corners(place) == [[0, 3], [2, 1]]  # x grows to the right of the patient, y to the front
        np.testing.assert_array_equal(place.inside, place.put(self.VALUES, 0) > 0)
        assert "slice 2 of 2, 3 voxels" in place.label

    def test_las_needs_no_turn_across(self):
        assert self.corners(self.place(np.diag([-1.0, 1, 1]))) == [[3, 0], [1, 2]]

    def test_axes_that_are_swapped_are_swapped_back(self):
        place = self.place(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))  # x to the front, y to the left
        assert (place.view.left, place.view.top, place.aspect) == ("R", "A", 0.5)
        assert self.corners(place) == [[2, 0], [1, 3]]

    def test_a_whole_slice_is_cut_as_its_voxels_are(self):
        place = self.place(np.eye(3))
        whole = np.zeros((8, 9))
        whole[tuple(self.INDEX[:3, :2].T)] = self.VALUES
        np.testing.assert_array_equal(place.cut(whole), place.put(self.VALUES, 0))

    def test_without_codes_nothing_is_known_and_nothing_marked(self):
        place = Slice(self.INDEX, Geometry((8, 9, 2), np.eye(4)))
        assert place.view.left == place.view.top == ""
        assert self.corners(place) == [[3, 0], [1, 2]]
