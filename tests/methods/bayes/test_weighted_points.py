"""Sums over weighted points against numpy."""

import numpy as np
import pytest

from ivimsc.methods.bayes.draws import make_proposal
from ivimsc.methods.bayes.weighted_points import cholesky, moments, place, top, weigh, weighted

RANDOM = np.random.default_rng(0)
LOG_W = RANDOM.normal(0, 2, 1000).astype(np.float32)
X = (RANDOM.normal(size=(3, 1000)) * [[0.1], [1], [10]] + [[0.3], [1], [50]]).astype(np.float32)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("end", ["first", "last", "twice"])
def test_top(n, end):
    x = LOG_W[:n].copy()
    if end == "twice":
        x[[n // 3, n - 1]] = 99
    else:
        x[0 if end == "first" else -1] = 99
    assert top(x) == (99, np.argmax(x))


@pytest.mark.parametrize("exponent", [1.0, 0.25])
def test_weights(exponent):
    w = np.empty(1000, np.float32)
    total, ess = weigh(LOG_W, LOG_W.max(), np.float32(exponent), w)
    expected = np.exp(exponent * (LOG_W - LOG_W.max()).astype(float))
    np.testing.assert_allclose(w, expected, rtol=1e-6)
    assert total == pytest.approx(expected.sum(), rel=1e-5)  # float32 sums
    assert ess == pytest.approx(expected.sum() ** 2 / (expected**2).sum(), rel=1e-5)


def test_moments():
    w = np.exp(LOG_W - LOG_W.max())
    mean, covariance, root = np.zeros(3, np.float32), np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32)
    moments(w, w.sum(), X, int(np.argmax(w)), mean, covariance)
    expected = np.cov(X.astype(float), aweights=w, ddof=0)
    np.testing.assert_allclose(mean, np.average(X.astype(float), axis=1, weights=w), rtol=1e-5)
    np.testing.assert_allclose(covariance[np.triu_indices(3)], expected[np.triu_indices(3)], rtol=1e-3, atol=1e-5)
    assert weighted(w, w.sum(), X[2]) == pytest.approx(np.average(X[2], weights=w), rel=1e-5)
    cholesky(covariance, root)
    np.testing.assert_allclose(root, np.linalg.cholesky(expected), rtol=1e-3, atol=1e-3)


def test_root_of_a_flat_covariance_is_regular():
    root = np.zeros((3, 3), np.float32)
    cholesky(np.ones((3, 3), np.float32), root)
    np.testing.assert_allclose(np.diag(root), [1, 1e-2, 1e-2], rtol=1e-4)  # the floor: 1e-4 of the variance


def test_place():
    proposal = make_proposal(256, 0)
    mean, root = X[:, 0].copy(), np.tril(RANDOM.normal(size=(3, 3))).astype(np.float32)
    t = np.empty((3, 256), np.float32)
    place(proposal, 77, mean, root, np.float32(0.5), t)
    np.testing.assert_allclose(t, mean[:, None] + 0.5 * root @ proposal.x[:, 77 : 77 + 256], rtol=1e-4, atol=1e-4)
