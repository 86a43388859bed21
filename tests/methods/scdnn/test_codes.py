"""Codes on the CPU: free layers against plain numpy, sparse rows against dense codes, and equations (8) to (10)."""

from dataclasses import replace

import numpy as np
import pytest

from ivimsc.device.launch import choose_device
from ivimsc.estimates import Spectrum
from ivimsc.methods.scdnn import codes
from ivimsc.models import Model
from tests.conftest import FIVE, phantom
from tests.methods.scdnn.test_units import random_weights, sums_of

random = np.random.default_rng(0)


def free_model(threshold="soft", residual="encoded", atoms=40, units=3):
    """Free layers near the physical ones."""
    weights = random_weights(FIVE, atoms, units + 1)
    b = np.stack([np.eye(atoms, dtype=np.float32) - w.T @ p for w, p in zip(weights.w, weights.phi, strict=True)])[1:]
    arrays = {"w": weights.w[:1], "b": b.astype(np.float32), "thresholds": weights.thresholds, "grid": weights.grid}
    return Model("scdnn", arrays, {"bvalues": list(FIVE), "options": {"threshold": threshold, "residual": residual}})


@pytest.mark.parametrize("threshold", ["soft", "hard"])
@pytest.mark.parametrize("residual", ["encoded", "input"])
def test_free_layers_are_the_equations(threshold, residual):
    model, y = free_model(threshold, residual), phantom(300, FIVE, snr=30).signals
    a = {name: array.astype(np.float64) for name, array in model.arrays.items()}

    def H(u, cut):
        return np.where((u >= cut) & (u > 0), u, 0) if threshold == "hard" else np.maximum(u - cut, 0)

    u = encoded = y.astype(np.float64) @ a["w"][0]
    x = H(u, a["thresholds"][0])
    for b, cut in zip(a["b"], a["thresholds"][1:], strict=True):
        u = x @ b + (u if residual == "input" else encoded)
        x = H(u, cut)
    sums, found = codes.run_free_layers(y, model)
    # a hard threshold jumps: float32 may fall on its other side in a few of all coefficients
    assert np.mean(np.abs(found - x) < 1e-5 + 1e-4 * np.abs(x)) > (0.999 if threshold == "hard" else 1 - 1e-12)
    grid, half = a["grid"], 20
    own = found.astype(np.float64)
    expected = [own[:, :half].sum(1), own[:, :half] @ grid[:half], own[:, half:].sum(1), own[:, half:] @ grid[half:]]
    np.testing.assert_allclose(sums.T, expected, rtol=1e-5, atol=1e-6)


def test_free_layers_do_not_depend_on_the_chunk():
    model, y = free_model(), phantom(2500, FIVE, snr=30).signals
    whole = codes.run_free_layers(y, model)
    for first, last in ((0, 1), (3, 400), (1000, len(y))):
        for part, all_of in zip(codes.run_free_layers(y[first:last], model, first), whole, strict=True):
            np.testing.assert_array_equal(part, all_of[first:last])


def test_weights_of_a_model():
    weights = random_weights(FIVE)
    arrays = {"w": weights.w, "phi": weights.phi, "thresholds": weights.thresholds, "grid": weights.grid}
    model = Model("scdnn", arrays, {"options": {"threshold": "hard", "residual": "input"}})
    own = codes.weights_of(model)
    assert (own.n_d, own.hard, own.onto_input) == (20, True, True) and own.phi is weights.phi
    other = codes.weights_of(replace(model, about={"options": {"threshold": "soft", "residual": "encoded"}}), (1, 2, 3))
    assert (other.hard, other.onto_input, *other[:3]) == (False, False, 1, 2, 3)


@pytest.mark.parametrize("dense", [False, True])
def test_units_in_blocks(dense):
    y, weights = phantom(500, FIVE, snr=30).signals, random_weights(FIVE)
    sums, found = codes.run_units(choose_device("cpu", 1), y, weights, dense)
    whole = codes.run_units(choose_device("cpu", 1), y, weights, True)[1]
    np.testing.assert_allclose(sums, sums_of(whole.astype(np.float64), weights), rtol=1e-5)
    np.testing.assert_array_equal(found, whole if dense else np.empty((0, 40)))


def test_decoding_is_equations_8_to_10():
    x, grid = random.uniform(0, 1, (6, 10)), np.concatenate([np.linspace(0.5, 2, 4), np.linspace(10, 90, 6)])
    sums = np.stack([x[:, :4].sum(1), x[:, :4] @ grid[:4], x[:, 4:].sum(1), x[:, 4:] @ grid[4:]], axis=1)
    expected = np.stack([np.ones(6), x[:, 4:].sum(1) / x.sum(1), *((x[:, p] @ grid[p]) / x[:, p].sum(1) for p in (slice(0, 4), slice(4, 10)))], axis=1)  # fmt: skip
    np.testing.assert_allclose(codes.decode(sums.astype(np.float32)), expected, rtol=1e-5)
    empty = codes.decode(np.array([[1, 2, 0, 0], [0, 0, 3, 90], [0, 0, 0, 0]], np.float32))
    np.testing.assert_array_equal(empty, [[1, 0, 2, np.nan], [1, 1, np.nan, 30], [1, np.nan, np.nan, np.nan]])


def dense_of(spectrum, atoms):
    full = np.zeros((len(spectrum.indptr) - 1, atoms))
    full[np.repeat(np.arange(len(full)), np.diff(spectrum.indptr)), spectrum.indices] = spectrum.data
    return full


def test_rows_hold_the_codes(monkeypatch):
    monkeypatch.setattr(codes, "PART", 3)
    x = random.uniform(0, 1, (8, 5)).astype(np.float32) * (random.random((8, 5)) > 0.5)
    x[2], x[5] = 0, [0, 0, 7, 0, 0]
    rows = codes.to_rows(8, lambda place: x[place])
    total = x.sum(1, keepdims=True)
    np.testing.assert_allclose(dense_of(rows, 5), x / np.where(total > 0, total, 1), rtol=1e-6)
    S0 = np.arange(8, dtype=np.float32)
    np.testing.assert_allclose(dense_of(codes.scaled(rows, S0), 5), S0[:, None] * dense_of(rows, 5), rtol=1e-6)
    assert dense_of(codes.to_rows(0, lambda place: x[place]), 5).shape == (0, 5)


def test_rows_in_the_order_of_the_voxels():
    x = random.uniform(0, 1, (7, 5)).astype(np.float32) * (random.random((7, 5)) > 0.4)
    places = [np.array([6, 1, 3]), np.array([0, 5])]  # voxels 2 and 4 have no rows
    parts = [codes.to_rows(len(at), lambda place, at=at: x[at][place]) for at in places]
    rows = codes.in_order(parts, places, 7)
    expected = np.zeros((7, 5))
    for part, at in zip(parts, places, strict=True):
        expected[at] = dense_of(part, 5)
    np.testing.assert_array_equal(dense_of(rows, 5), expected)
    assert isinstance(rows, Spectrum) and rows.indptr[-1] == len(rows.data)
