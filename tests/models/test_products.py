"""Matrix products whose results do not depend on how rows are split into chunks."""

import itertools

import numpy as np
import pytest

from ivimsc.models.products import ROWS, in_fixed_blocks

random = np.random.default_rng(0)
Y = random.normal(size=(3 * ROWS + 37, 5)).astype(np.float32)


def layers(widths):
    sizes = [5, *widths]
    return [random.normal(size=(a, b)).astype(np.float32) for a, b in itertools.pairwise(sizes)]


@pytest.mark.parametrize("widths", [(600, 600), (40, 40), (150, 150, 3), (5, 5, 1)])
def test_chunks_do_not_matter(widths):
    matrices = layers(widths)

    def f(part):
        for matrix in matrices:
            part = np.maximum(part @ matrix, 0)
        return part

    whole = in_fixed_blocks(Y, f)
    for first, last in ((0, 1), (5, 6), (100, 229), (ROWS - 3, ROWS + 9), (700, len(Y)), (ROWS, 2 * ROWS), (1, len(Y))):
        np.testing.assert_array_equal(in_fixed_blocks(Y[first:last], f, first), whole[first:last])
    np.testing.assert_allclose(whole, f(Y), rtol=1e-4, atol=1e-3)  # the same sums in another order, float32


def test_the_function_sees_blocks_of_one_size_filled_up_with_zeros():
    seen = []

    def f(part):
        seen.append(part.copy())
        return part.sum(1)

    found = in_fixed_blocks(Y[:7], f, first=14, rows=4)
    np.testing.assert_array_equal(found, Y[:7].sum(1))
    np.testing.assert_array_equal(np.concatenate(seen), np.concatenate([np.zeros((2, 5)), Y[:7], np.zeros((3, 5))]))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_no_row(kind):
    found = in_fixed_blocks(np.empty((0, 5), kind), lambda part: part @ np.ones((5, 3), kind), first=3)
    assert found.shape == (0, 3) and found.dtype == kind


def test_a_row_that_is_not_finite_leaves_the_others():
    spoiled = Y[:9].copy()
    spoiled[4] = np.nan
    (matrix,) = layers([8])
    clean, found = (in_fixed_blocks(y, lambda part: part @ matrix) for y in (Y[:9], spoiled))
    np.testing.assert_array_equal(np.delete(found, 4, 0), np.delete(clean, 4, 0))
    assert np.isnan(found[4]).all()
