"""Learned dictionaries beside the fixed one: atoms out of a model, and how far they went."""

import numpy as np
import pytest

from ivimsc.dictionaries import compare_dictionaries, draw_comparison, export_dictionary, learned_dictionary
from ivimsc.errors import InputError
from ivimsc.models import Model, write_model
from ivimsc.physics.dictionary import Dictionary
from ivimsc.store.dictionaries import read_dictionary
from tests.conftest import FIVE

GRID = np.array([1.0, 0.5, 2.0, 40, 10, 2000.0])  # µm²/ms: D in no order, then D*; the last is gone at b = 20


def model(units=3):
    """A factored scdnn whose unit k has its atoms times 1 + k/100."""
    fixed = np.exp(-np.outer(FIVE, GRID * 1e-3))
    phi = np.stack([fixed * (1 + k / 100) for k in range(units + 1)]).astype(np.float32)  # the first: the start
    arrays = {"phi": phi, "grid": GRID.astype(np.float32), "w": np.zeros((units + 1, 5, 6), np.float32), "thresholds": np.zeros(units + 1, np.float32)}  # fmt: skip
    return Model("scdnn", arrays, {"bvalues": FIVE.tolist(), "options": {"form": "factored"}}, "m.safetensors")


@pytest.mark.parametrize(("unit", "factor"), [(None, 1.02), (1, 1.01), (3, 1.03)])
def test_the_atoms_are_those_of_the_unit_in_ascending_order(unit, factor):
    found = learned_dictionary(model(), unit)
    np.testing.assert_allclose(found.D, [0.5e-3, 1e-3, 2e-3], rtol=1e-6)
    np.testing.assert_allclose(found.Dstar, [10e-3, 40e-3], rtol=1e-6)
    expected = factor * np.exp(-np.outer(FIVE, [0.5e-3, 1e-3, 2e-3, 10e-3, 40e-3]))
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-5)  # float32


@pytest.mark.parametrize("unit", [0, 4])
def test_a_unit_that_is_not_there_is_refused(unit):
    with pytest.raises(InputError, match=f"unit: found {unit}, expected 1 to 3"):
        learned_dictionary(model(), unit)


def test_a_model_without_a_dictionary_is_refused():
    with pytest.raises(InputError, match="found a model of mlp"):
        learned_dictionary(Model("mlp", {}, {"bvalues": FIVE.tolist(), "options": {}}, "m.safetensors"))


def test_distance_and_place_are_told_apart():
    """A scaled atom went away and sits where it was; an exponential of another rate sits at that rate."""
    grid = np.array([1e-3, 2e-3]), np.array([20e-3, 50e-3])
    rates = np.array([1e-3, 2.6e-3, 20e-3, 50e-3])
    atoms = np.exp(-np.outer(FIVE, rates)) * [1.3, 1, 1, 1]
    found = compare_dictionaries(Dictionary(FIVE, *grid, "m", atoms))
    exact = np.exp(-np.outer(FIVE, np.concatenate(grid)))
    expected = np.linalg.norm(atoms - exact, axis=0) / np.linalg.norm(exact, axis=0)
    np.testing.assert_allclose(found.distance, expected, rtol=1e-12)
    assert found.distance[0] == pytest.approx(0.3)
    np.testing.assert_allclose(found.sits, rates, rtol=4e-3)  # 4000 rates over six decades: steps of 0.35 %


def test_files_hold_the_dictionary_and_a_picture(tmp_path):
    write_model(tmp_path / "m.safetensors", model())
    exported = export_dictionary(tmp_path / "m.safetensors", tmp_path / "d.h5", unit=2)
    back = read_dictionary(tmp_path / "d.h5")
    np.testing.assert_array_equal(back.matrix, exported.matrix)
    assert "unit 2" in back.origin
    draw_comparison(compare_dictionaries(back), tmp_path / "d.png")
    assert (tmp_path / "d.png").read_bytes()[:4] == b"\x89PNG"
