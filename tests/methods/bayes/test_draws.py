"""The points of the local rounds: any place in the sequence is a shifted start, and no place is biased."""

import numpy as np
import pytest
from scipy.stats import f as fisher
from scipy.stats import multivariate_t
from scipy.stats import t as student

from ivimsc.methods.bayes.draws import FREEDOM, SHIFTS, make_proposal
from ivimsc.methods.bayes.priors import low_discrepancy
from ivimsc.methods.bayes.weighted_points import STREAM, shift
from ivimsc.numerics.random_numbers import uniforms

N = 2048


def test_points_in_a_row_are_the_first_ones_shifted():
    points = low_discrepancy(N + 5000, 2, seed=3)
    moved = (points[:, 5000:] - points[:, :N]) % 1.0
    np.testing.assert_allclose(moved, moved[:, :1] * np.ones(N), atol=1e-6)  # they are kept 1e-7 off 0 and 1


DIRECTIONS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [1, 1, 1], [1, 0, -1], [0, -1, -1]])


@pytest.mark.parametrize("direction", [None, *DIRECTIONS])
def test_tails_of_the_points_are_even_and_not_biased(direction):
    """Share of the points beyond the tenth percentile: along a direction (Student t), or in radius (x'x / 3: Fisher)."""
    proposal, share = make_proposal(N, 0), 0.1
    x = proposal.x.astype(float)
    if direction is None:
        outside = (x * x).sum(0) / 3 > fisher.isf(share, 3, FREEDOM)
    else:
        outside = direction @ x / np.linalg.norm(direction) > student.isf(share, FREEDOM)
    found = np.array([outside[(start := shift(proposal, 0, voxel, 0)) : start + N].mean() for voxel in range(2000)])
    random = np.sqrt(share * (1 - share) / N)  # the spread of random points
    assert found.std() < 0.6 * random  # measured 0.1 to 0.5
    assert abs(found.mean() - share) < 0.06 * random  # what all voxels share


def test_density_is_that_of_the_points():
    proposal = make_proposal(N, 0)
    expected = -multivariate_t.logpdf(proposal.x[:, :100].T, shape=np.eye(3), df=FREEDOM)
    np.testing.assert_allclose(proposal.minus_log_density[:100], expected, atol=1e-4)  # float32
    np.testing.assert_allclose(
        proposal.spread.minus_log_density, -student.logpdf(proposal.spread.x, FREEDOM), atol=1e-4
    )


def test_every_voxel_and_round_begins_elsewhere():
    proposal = make_proposal(N, 0)
    starts = np.array([[shift(proposal, 5, voxel, trip) for trip in range(2)] for voxel in range(2000)])
    assert starts.min() >= 0
    assert starts.max() <= SHIFTS  # the last place from which N points follow
    assert proposal.x.shape == (3, N + SHIFTS)
    assert len(np.unique(starts)) > 3800  # of 4000: birthdays
    assert starts[7, 1] == int(uniforms(5, STREAM, 7, 1)[0] * (SHIFTS + 1))  # keyed by nothing but these
