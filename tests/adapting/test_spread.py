"""The networks beside a network: errors whose size is known, and a population whose density is known."""

import numpy as np
from scipy.stats import norm

from ivimsc.adapting.spread import learn_spread
from ivimsc.adapting.typical import MISSED, learn_typical
from ivimsc.models import Model
from ivimsc.models.spread import errors_of
from ivimsc.models.typical import are_strange


def model(arrays):
    return Model("mlp", arrays, {"bvalues": [0, 1]})


def test_the_size_of_errors_is_learned_and_intervals_hold_the_truth():
    """Errors with an SD that depends on what was seen, of a distribution that is no normal one (Laplace)."""
    random = np.random.default_rng(0)

    def sample(n):
        seen = random.normal(size=(n, 4)).astype(np.float32)
        sd = np.stack([0.02 * np.exp(0.7 * seen[:, 0]), 0.1 + 0.05 * np.abs(seen[:, 1]), 15 * np.ones(n)], axis=1)
        return seen, sd, (sd * random.laplace(size=(n, 3)) / np.sqrt(2)).astype(np.float32)

    seen, _, errors = sample(60_000)
    arrays = learn_spread(seen, errors, np.zeros_like(errors), 0)
    seen, sd, errors = sample(20_000)
    found = errors_of(model(arrays), seen)
    ratio = found / sd
    assert np.all(np.abs(np.median(ratio, axis=0) - 1) < 0.05) and np.all(ratio.std(0) < 0.15)
    held = np.mean(np.abs(errors) < 1.96 * found, axis=0)
    expected = 1 - np.exp(-1.96 * np.sqrt(2))  # Laplace within 1.96 SD
    assert np.all(np.abs(held - expected) < 0.01)


def test_voxels_of_another_population_are_told_as_well_as_the_true_density_tells_them():
    """Two tissues of different spread, against a third."""
    random = np.random.default_rng(1)
    at, sd = np.float32([[0, 0, 0], [4, 1, 0]]), np.float32([[1, 0.5, 1], [0.3, 1, 1]])

    def own(n):
        which = random.integers(0, 2, n)
        truth = np.column_stack([0.1 + 0.3 * which, 1.0 + which, 20.0 + 30 * which]).astype(np.float32)
        return (at[which] + sd[which] * random.normal(size=(n, 3))).astype(np.float32), truth

    arrays = learn_typical(*own(40_000), 0)
    usual, others = own(40_000)[0], random.normal([2, -1, 0], 0.5, size=(20_000, 3)).astype(np.float32)
    told = [np.mean(are_strange(model(arrays), some)) for some in (usual, others)]
    assert abs(told[0] - MISSED) < 1e-3  # some 80 of 40,000 voxels, to 9
    density = [
        np.logaddexp(*(norm.logpdf(x, a, s).sum(1) for a, s in zip(at, sd, strict=True))) for x in (usual, others)
    ]
    best = np.mean(density[1] < np.quantile(density[0], MISSED))
    assert 0.05 < best < 0.95 and abs(told[1] - best) < 0.03  # the test by the true density
    assert not are_strange(model({}), usual).any()
