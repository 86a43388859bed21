"""The three levels of a dictionary: what they hold, against numpy."""

import numpy as np
import pytest

from ivimsc.methods.ista.pyramid import make_pyramid
from ivimsc.physics.dictionary import make_dictionary
from tests.conftest import FIVE, TEN
from tests.methods.ista.common import RANGES


def made(bvalues=TEN, n=(50, 43), tolerance=1e-6):
    matrix = make_dictionary(bvalues, "log", n, *RANGES).matrix
    return matrix, make_pyramid(matrix, n[0], tolerance)


def levels(p):
    return [p.place[a:b] for a, b in zip(p.first[:-1], p.first[1:], strict=True)]


def test_every_level_keeps_the_ends_of_both_parts_and_the_last_has_all_atoms():
    _, p = made()
    coarse, middle, fine = levels(p)
    np.testing.assert_array_equal(coarse, [0, 20, 40, 49, 50, 70, 90, 92])
    np.testing.assert_array_equal(middle, [*range(0, 50, 4), 49, *range(50, 93, 4), 92])
    np.testing.assert_array_equal(fine, np.arange(93))
    np.testing.assert_array_equal(p.half, [np.sum(level < 50) for level in (coarse, middle, fine)])


@pytest.mark.parametrize("bvalues", [TEN, FIVE])
def test_atoms_are_the_columns_of_the_dictionary_as_rows_padded_with_zeros(bvalues):
    matrix, p = made(bvalues)
    np.testing.assert_array_equal(p.columns, matrix[:, p.place])
    np.testing.assert_array_equal(p.atoms[:, : len(bvalues)], matrix[:, p.place].T)
    assert np.all(p.atoms[:, len(bvalues) :] == 0)


def test_the_lift_brings_every_atom_to_at_least_1():
    """It is as short as can be with one b-value: 1 over the smallest atom there."""
    matrix, p = made(FIVE)
    lift = p.lift[0, :5]
    np.testing.assert_allclose(p.lifted, matrix[:, p.place].T @ lift, rtol=1e-14)
    assert p.lifted.min() == pytest.approx(1, rel=1e-14)
    assert lift @ lift == pytest.approx(1 / max(matrix.min(axis=1)) ** 2, rel=1e-14)


def test_levels_are_left_at_gaps_that_shrink_to_the_tolerance():
    np.testing.assert_array_equal(made(tolerance=1e-6)[1].loose, [3e-4, 1e-5, 1e-6])
    np.testing.assert_array_equal(made(tolerance=1e-2)[1].loose, [1e-2, 1e-2, 1e-2])


def test_pairs_are_the_inverse_gram_matrices_of_the_coarsest_level():
    matrix, p = made()
    for i, tissue in enumerate(p.place[: p.half[0]]):
        for j, blood in enumerate(p.place[p.half[0] : p.first[1]]):
            pair = matrix[:, [tissue, blood]]
            inverse = np.linalg.inv(pair.T @ pair)
            # the condition number of two neighbouring exponentials is up to 1e4
            np.testing.assert_allclose(p.pairs[:, i, j], [inverse[0, 0], inverse[0, 1], inverse[1, 1]], rtol=1e-9)


def test_a_pair_that_cannot_be_told_apart_is_never_chosen():
    matrix = np.ones((5, 4))
    assert np.all(make_pyramid(matrix, 2, 1e-6).pairs == 0)
