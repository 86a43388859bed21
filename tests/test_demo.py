"""The table of the demo: errors per tissue against numpy."""

import numpy as np
import pytest

from ivimsc.demo import error_table
from ivimsc.estimates import Estimates
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.voxels import Geometry, Voxels
from tests.conftest import TEN

N = 400


@pytest.fixture(scope="module")
def table():
    """Two tissues, a method that errs at random and misses two voxels; its table, errors and truth."""
    random = np.random.default_rng(0)
    truth = {"s0": np.ones(N), "f": random.uniform(0.1, 0.4, N), "d": random.uniform(1e-3, 2e-3, N), "dstar": random.uniform(0.02, 0.08, N)}  # fmt: skip
    tissue = np.where(np.arange(N) < 150, 1, 2).astype(np.uint8)
    errors = {key: truth[key] * random.normal(0.02, 0.1, N) for key in ("f", "d", "dstar")}
    errors["d"][[3, 7]] = np.nan
    found = Estimates(truth["s0"], *(truth[key] + errors[key] for key in errors), np.ones(N), np.ones(N, np.uint8))
    voxels = Voxels(
        np.ones((N, 10), np.float32), TEN, np.zeros((N, 3), np.int32), Geometry((N, 1, 1), np.eye(4)),
        truth=truth, tissue=tissue, tissue_names={1: "core", 2: "rim", 3: "not there"},
    )  # fmt: skip
    rows = {(r.tissue, r.method, r.parameter): r for r in error_table(voxels, {"nlls": found}, 0.05)}
    return rows, errors, truth, tissue


SCALES = {"f": ("f", 100), "D": ("d", 1e3), "D*": ("dstar", 1e3)}


@pytest.mark.parametrize("parameter", SCALES)
def test_errors_of_a_tissue_are_those_of_its_voxels(table, parameter):
    rows, errors, truth, tissue = table
    key, scale = SCALES[parameter]
    error = errors[key][tissue == 1] * scale
    known, row = error[np.isfinite(error)], rows["core", "nlls", parameter]
    expected = (known.mean(), np.sqrt(np.mean(known**2)), np.median(np.abs(known)))
    np.testing.assert_allclose((row.bias, row.rmse, row.median), expected, rtol=1e-9)
    assert row.missing == (2 if parameter == "D" else 0)
    guess = rows["core", "constant guess", parameter]
    assert guess.rmse == pytest.approx(truth[key][tissue == 1].std() * scale, rel=1e-9)
    assert guess.bias == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("parameter", SCALES)
def test_the_bound_is_that_of_an_unbiased_estimate(table, parameter):
    rows, _, truth, tissue = table
    inside, (_, scale) = tissue == 2, SCALES[parameter]
    column = list(SCALES).index(parameter) + 1
    deviation = cramer_rao(*(truth[k][inside] for k in ("s0", "f", "d", "dstar")), TEN, 0.05)[:, column] * scale
    row = rows["rim", "Cramér-Rao bound", parameter]
    assert row.rmse == pytest.approx(np.sqrt(np.mean(deviation**2)), rel=1e-9)
    draws = np.abs(np.random.default_rng(1).normal(size=1_000_000))
    assert row.median == pytest.approx(np.median(deviation) * np.median(draws), rel=0.005)  # of a million draws


def test_a_tissue_that_is_not_there_has_no_row(table):
    assert {tissue for tissue, *_ in table[0]} == {"core", "rim"}
