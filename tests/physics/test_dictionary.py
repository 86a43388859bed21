"""The dictionary: grids, what it says of itself, and decoding."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.physics.dictionary import make_dictionary, make_grid
from tests.conftest import FIVE, TEN

RANGES = ((1e-5, 5e-3), (5e-3, 0.2))


def fixed(bvalues=TEN, grid="log", n=(300, 300), ranges=RANGES):
    return make_dictionary(bvalues, grid, n, *ranges)


def test_the_matrix_is_equation_3():
    d = fixed(n=(4, 3))
    assert d.matrix.shape == (10, 7)
    np.testing.assert_allclose(d.matrix[5, 2], np.exp(-100 * d.D[2]), rtol=1e-15)
    np.testing.assert_allclose(d.matrix[5, 5], np.exp(-100 * d.Dstar[1]), rtol=1e-15)


def test_log_grids_have_equal_ratios_and_linear_ones_equal_steps():
    log, linear = make_grid("D", "log", (1e-5, 5e-3), 50), make_grid("D", "linear", (0.0, 5e-3), 50)
    np.testing.assert_allclose(log[1:] / log[:-1], log[1] / log[0], rtol=1e-12)
    np.testing.assert_allclose(np.diff(linear), linear[1], rtol=1e-12)
    assert (linear[0], linear[-1]) == (0.0, 5e-3)


def test_no_atom_is_there_twice_where_the_grids_touch():
    d = fixed()
    assert d.D[-1] < d.Dstar[0] == 5e-3
    assert not any("overlap" in note for note in d.notes())


def test_overlapping_grids_are_allowed_with_a_warning():
    d = fixed(ranges=((1e-5, 8e-3), (5e-3, 0.2)))
    assert any(note.startswith("warning") and "overlap" in note for note in d.notes())


@pytest.mark.parametrize(
    ("grid", "limits", "n", "words"),
    [
        ("log", (1e-5, 5e-3), 0, "found 0 atoms"),
        ("log", (0.0, 5e-3), 10, "from 0"),
        ("log", (5e-3, 1e-5), 10, "expected 0 <= lower < upper"),
        ("cubic", (1e-5, 5e-3), 10, "'cubic'"),
        ("linear", (0.0, 5e-3), 10**12, "found 1000000000000 atoms"),
    ],
)
def test_bad_grids_are_refused_in_one_line(grid, limits, n, words):
    with pytest.raises(InputError, match=words) as caught:
        make_grid("D", grid, limits, n)
    assert "\n" not in str(caught.value)


def test_a_dictionary_larger_than_memory_is_refused():
    with pytest.raises(InputError, match="GiB"):
        fixed(n=(10**7, 10**7))


def test_the_lipschitz_constant_is_the_largest_eigenvalue():
    d = fixed(n=(20, 30))
    assert d.lipschitz == pytest.approx(np.linalg.eigvalsh(d.matrix.T @ d.matrix)[-1], rel=1e-10)


def test_atoms_that_the_bvalues_cannot_tell_apart_are_counted():
    dense, sparse = fixed(), fixed(n=(3, 3), ranges=((5e-4, 5e-3), (5e-3, 0.2)))
    assert dense.coherence > 0.99999 > 0.999 > sparse.coherence  # neighbours 2 % and 150 % apart in D
    assert dense.indistinguishable() > 0 == sparse.indistinguishable()
    assert fixed(np.array([0.0, 500.0])).effective_rank() <= 2 < dense.effective_rank() <= 10


def test_decoding_a_known_mixture():
    d = fixed(n=(10, 10))
    x = np.zeros((3, 20))
    x[0, [2, 4, 13]] = 1.0, 3.0, 1.0  # S0 5, f 0.2
    x[1, 5] = 2.0  # tissue alone
    S0, f, D, Dstar = d.decode(x)
    np.testing.assert_allclose((S0[0], f[0]), (5, 0.2), rtol=1e-14)
    np.testing.assert_allclose((D[0], Dstar[0]), ((d.D[2] + 3 * d.D[4]) / 4, d.Dstar[3]), rtol=1e-14)
    assert (S0[1], f[1]) == (2, 0)
    assert D[1] == pytest.approx(d.D[5], rel=1e-14)
    assert np.isnan(Dstar[1])
    assert S0[2] == 0
    assert np.all(np.isnan([f[2], D[2], Dstar[2]]))


def test_a_dictionary_for_other_bvalues_is_refused():
    with pytest.raises(InputError, match="expected the data's: 20, 50, 150, 300, 500"):
        fixed(TEN).require_bvalues(FIVE, "d.h5")
    fixed(TEN).require_bvalues(TEN, "d.h5")
