"""The starting points against numpy: what a pair of the table explains, and the maxima along D*."""

import numpy as np
import pytest

from ivimsc.methods.nlls.start_table import NO_PEAKS, Node, Pair, explained, insert_peak, make_start_table
from tests.conftest import TEN

B = TEN * 1e-3


@pytest.mark.parametrize(("j", "k"), [(1, 5), (2, 9), (4, 12)])
def test_a_pair_explains_what_least_squares_on_its_three_columns_does(j, k):
    table = make_start_table(B, np.ones(10), (0.0, 5.0), (5.0, 200.0), (0.0, 1.0))
    node, pair = Node(*table.nodes[j].item()), Pair(*table.pairs[k, j].item())
    d = node.d + 0.1  # between two nodes: the slope column is needed
    y = 0.7 * np.exp(-B * d) + 0.3 * np.exp(-B * table.p[k])
    columns = np.stack([np.exp(-B * node.d), -B * np.exp(-B * node.d), np.exp(-B * table.p[k])], axis=1)
    (a, shift, _), *_ = np.linalg.lstsq(columns, y, rcond=None)
    fitted = columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
    products = table.q1[j] @ y, table.q2[j] @ y, table.e2[k] @ y
    gain, found = explained.py_func(*products, node, table.p_inverse[k], pair, 0.0, 1.0)
    assert gain == pytest.approx(fitted @ fitted, rel=1e-5)  # the table is float32
    assert found == pytest.approx(node.d + shift / a, abs=1e-3)


def test_outside_the_cone_a_pair_explains_what_the_nearest_edge_does():
    table = make_start_table(B, np.ones(10), (0.0, 5.0), (5.0, 200.0), (0.2, 0.4))
    j, k = 2, 9
    node, pair = Node(*table.nodes[j].item()), Pair(*table.pairs[k, j].item())
    e1, e2 = np.exp(-B * node.d), np.exp(-B * table.p[k])
    y = 0.1 * e1 + 0.9 * e2
    edges = [(1 - f) * e1 + f * e2 for f in (0.2, 0.4)]
    gain, found = explained.py_func(table.q1[j] @ y, table.q2[j] @ y, table.e2[k] @ y, node, table.p_inverse[k], pair, 0.2, 0.4)  # fmt: skip
    assert gain == pytest.approx(max((y @ edge) ** 2 / (edge @ edge) for edge in edges), rel=1e-5) and found == node.d


@pytest.mark.parametrize("seed", range(5))
def test_the_two_highest_local_maxima_are_kept(seed):
    gain = np.random.default_rng(seed).uniform(size=16)
    padded = np.concatenate([[-2], gain, [-2]])
    peaks = NO_PEAKS
    for k in range(1, 17):
        peaks = insert_peak.py_func(peaks, *padded[k - 1 : k + 2], 100.0 + k, float(k))
    maxima = [k for k in range(1, 17) if padded[k] >= padded[k - 1] and padded[k] > padded[k + 1]]
    first, second = sorted(maxima, key=lambda k: -padded[k])[:2]
    assert peaks == (padded[first], padded[second], 100.0 + first, first, 100.0 + second, second)
