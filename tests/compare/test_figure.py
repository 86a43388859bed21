"""The picture of a fit: its maps and titles hold the numbers of the voxels."""

import numpy as np
import pytest

from ivimsc.compare import figure
from ivimsc.compare.columns import blocks
from ivimsc.figures import Slice
from ivimsc.voxels import Geometry

SHAPE = (4, 5, 3)
N = 60


def place_of(index):
    return Slice(index, Geometry(SHAPE, np.eye(4)), 1)


@pytest.fixture
def voxels():
    random = np.random.default_rng(0)
    other = {
        "f": random.uniform(0.1, 0.4, N),
        "d": random.uniform(1e-3, 2e-3, N),
        "dstar": random.uniform(0.01, 0.1, N),
    }
    found = {key: values * random.normal(1.1, 0.1, N) for key, values in other.items()}
    found["dstar"][5] = np.nan
    index = np.stack(np.unravel_index(np.arange(N), SHAPE, order="F"), axis=1).astype(np.int32)
    return found, other, index


@pytest.fixture
def drawn(voxels, tmp_path, monkeypatch):
    """The figure as matplotlib has it, and its file."""
    kept, save = [], figure.save
    monkeypatch.setattr(figure, "save", lambda drawing, path: (kept.append(drawing), save(drawing, path)))
    found, other, index = voxels
    path = figure.draw(found, other, ("truth", "nlls"), place_of(index), tmp_path / "a.png")
    return kept[0], path


def test_titles_hold_the_errors_in_display_units(drawn, voxels):
    found, other, _ = voxels
    panels = drawn[0].axes[:9]
    for row, (key, scale) in enumerate((("f", 100), ("d", 1e3), ("dstar", 1e3))):
        error = (found[key] - other[key]) * scale
        error = error[np.isfinite(error)]
        assert f"RMS difference {np.sqrt(np.mean(error**2)):.3g} " in panels[3 * row].get_title()
        low, high = error.mean() - 1.96 * error.std(), error.mean() + 1.96 * error.std()
        assert panels[3 * row + 1].get_title() == f"bias {error.mean():.3g}, 95 % limits {low:.3g} to {high:.3g}"
    assert "1 voxels without a number are left out" in drawn[0].get_suptitle()


def test_the_map_shows_the_difference_in_its_place(drawn, voxels):
    found, other, index = voxels
    image = (
        drawn[0].axes[5].images[0].get_array()
    )  # D; without an orientation y grows upwards, and the top row is the first
    here = index[:, 2] == 1
    expected = np.empty((5, 4))
    expected[index[here, 1], index[here, 0]] = ((found["d"] - other["d"]) * 1e3)[here]
    np.testing.assert_allclose(image, expected[::-1], rtol=1e-12)


def test_every_voxel_is_counted_block_by_block(voxels, tmp_path, monkeypatch):
    """The same picture of blocks of 7 voxels, each read by itself."""
    found, other, index = voxels
    kept = []
    monkeypatch.setattr(figure, "save", lambda drawing, path: kept.append(drawing) or path.write_bytes(b""))
    for k, size in enumerate((1000, 7)):
        monkeypatch.setattr(figure, "blocks", lambda n, size=size: blocks(n, size))
        figure.draw(found, other, ("truth", "nlls"), place_of(index), tmp_path / f"{k}.png")
    for panel in (0, 1, 7):
        whole, parts = (drawing.axes[panel].collections[0].get_array() for drawing in kept)
        np.testing.assert_array_equal(whole.filled(0), parts.filled(0))
    assert (
        kept[1].axes[0].collections[0].get_array().sum() == N
        and kept[1].axes[6].collections[0].get_array().sum() == N - 1
    )


def test_the_file_is_a_picture_and_is_not_overwritten(drawn, voxels):
    from ivimsc.errors import InputError

    found, other, index = voxels
    assert drawn[1].read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="existing file"):
        figure.draw(found, other, ("truth", "nlls"), place_of(index), drawn[1])
