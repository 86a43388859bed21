"""From codes to maps: equations (8) to (10) written out, and one outcome for every end."""

import numpy as np
import pytest

from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods.ista.decoding import Maps, decode_codes
from ivimsc.methods.ista.problem import Code
from ivimsc.outcome import Outcome
from ivimsc.physics.dictionary import Grids

GRIDS = Grids(np.array([0.5, 1.0, 2.0, 3.0]) * 1e-3, np.array([10.0, 30.0, 90.0]) * 1e-3)
N_B = 10


def decoded(rows, scale=None, squares=None):
    """Maps of voxels whose codes are dictionaries, atom -> coefficient."""
    n = len(rows)
    code = Code(
        data=np.array([x for row in rows for x in row.values()], float),
        indices=np.array([j for row in rows for j in row], np.int32),
        indptr=np.concatenate([[0], np.cumsum([len(row) for row in rows])]),
        scale=np.ones(n, np.float32) if scale is None else np.array(scale, np.float32),
        gap=np.zeros(n),
        squares=np.zeros(n) if squares is None else np.array(squares, float),
        turns=np.ones(n, np.int32),
        done=np.ones(n, np.bool_),
    )
    maps = Maps(*(np.empty(n, np.float32) for _ in range(5)), np.empty(n, np.uint8))
    run_blocks(Launch("cpu", 1), decode_codes, n, code, GRIDS, N_B, maps)
    return maps


def test_maps_are_equations_8_to_10_in_the_unit_of_the_signal():
    maps = decoded([{1: 0.3, 2: 0.1, 4: 0.05, 5: 0.15}], scale=[200], squares=[0.004])
    found = [array[0] for array in maps]
    expected = [200 * 0.6, 0.2 / 0.6, (0.3 * 1e-3 + 0.1 * 2e-3) / 0.4, (0.05 * 0.01 + 0.15 * 0.03) / 0.2, 200 * 0.02, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # float32


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({1: 0.5, 5: 0.2}, Outcome.CONVERGED),
        ({0: 0.5, 5: 0.2}, Outcome.AT_BOUND),  # the smallest D
        ({3: 0.5, 5: 0.2}, Outcome.AT_BOUND),  # the largest D
        ({1: 0.5, 4: 0.2}, Outcome.AT_BOUND),  # the smallest D*
        ({1: 0.5, 6: 0.2}, Outcome.AT_BOUND),  # the largest D*
        ({0: 0.1, 1: 0.4, 5: 0.1, 6: 0.1}, Outcome.CONVERGED),  # parts that only reach to an end
        ({1: 0.4, 5: 0.1, 6: 0.11}, Outcome.AT_BOUND),  # more than half of the blood is at one
        ({0: 0.1, 3: 0.4, 5: 0.1}, Outcome.AT_BOUND),  # and of the tissue
        ({5: 0.2}, Outcome.AT_BOUND),  # no tissue part
        ({1: 0.5}, Outcome.DSTAR_UNIDENTIFIABLE),  # no perfusion part
        ({}, Outcome.BAD_SIGNAL),
    ],
)
def test_the_outcome_says_where_the_parts_lie(row, outcome):
    assert decoded([row]).outcome[0] == outcome


def test_what_does_not_exist_is_nan():
    maps = decoded([{1: 0.5}, {5: 0.2}, {}, {1: 0.5, 5: 0.2}], scale=[1, 1, 1, 0])
    nan = np.isnan(np.array(maps[:5]))  # (S0, f, D, D*, rmse) × voxel
    np.testing.assert_array_equal(nan[:, 0], [False, False, False, True, False])
    np.testing.assert_array_equal(nan[:, 1], [False, False, True, False, False])
    assert np.all(nan[:, 2:])
    np.testing.assert_array_equal(maps.outcome, [4, 2, 5, 5])
    np.testing.assert_array_equal(maps.f[:2], [0, 1])
