"""The way back through the units, against torch and finite differences."""

import numpy as np
import pytest

from ivimsc.methods.scdnn.slopes import Slopes, backward, backward_sets
from ivimsc.methods.scdnn.units import WIDTH, blocks_of
from tests.conftest import FIVE, phantom
from tests.methods.scdnn.test_units import in_numpy, random_weights, stacked, sums_of

FIELDS = ("w", "phi", "thresholds", "grid")


def slopes_of(y, weights, sums_slope):
    """The slopes in the weights, one array per field, summed over blocks."""
    blocks = blocks_of(len(y))
    slopes = Slopes(*(np.full((blocks, *getattr(weights, name).shape), np.nan, np.float32) for name in FIELDS))
    backward(0, blocks, y, weights, sums_slope, slopes)
    return [share.sum(0) for share in slopes]


@pytest.mark.parametrize("hard", [False, True])
def test_slopes_are_those_of_torch(hard):
    torch = pytest.importorskip("torch")
    from ivimsc.methods.scdnn import network

    y, weights = phantom(WIDTH + 9, FIVE, snr=30).signals, random_weights(FIVE, hard=hard)
    slope = np.random.default_rng(2).normal(size=(len(y), 4)).astype(np.float32)
    tensors = [torch.tensor(getattr(weights, name).astype(np.float64), requires_grad=True) for name in FIELDS]
    code = network.by_torch(torch.tensor(y.astype(np.float64)), *tensors[:3], hard)
    (network.sums_of(code, tensors[3], weights.n_d) * torch.tensor(slope)).sum().backward()
    for found, tensor in zip(slopes_of(y, weights, slope), tensors, strict=True):
        expected = tensor.grad.numpy()
        # float32 against float64; hard thresholds may differ in a few coefficients
        assert np.abs(found - expected).max() < (2e-2 if hard else 1e-4) * np.abs(expected).max()


def test_slopes_are_those_of_finite_differences():
    y, weights = phantom(WIDTH, FIVE, snr=30).signals, random_weights(FIVE, atoms=12, units=3)
    slope = np.random.default_rng(3).normal(size=(WIDTH, 4)).astype(np.float32)
    random = np.random.default_rng(4)
    for name, found in zip(FIELDS, slopes_of(y, weights, slope), strict=True):
        given = getattr(weights, name).astype(np.float64)
        towards = random.normal(size=given.shape) * np.abs(given).mean()
        pair = []
        for sign in (1, -1):
            moved = weights._replace(**{name: given + sign * 1e-6 * towards})
            pair.append(float((sums_of(in_numpy(y, moved), moved) * slope).sum()))
        own, expected = float((found * towards).sum()), (pair[0] - pair[1]) / 2e-6
        assert abs(own - expected) < 1e-3 * max(abs(expected), np.abs(found * towards).sum() * 1e-2)


def test_sets_have_weights_of_their_own():
    y = phantom(3 * WIDTH, FIVE, snr=30).signals.reshape(3, WIDTH, 5)
    sets = [random_weights(FIVE, seed=s) for s in range(3)]
    slope = np.random.default_rng(5).normal(size=(3, WIDTH, 4)).astype(np.float32)
    all_of = stacked(sets)
    shapes = [all_of.w.shape, all_of.phi.shape, all_of.thresholds.shape, (3, 40)]
    shares = Slopes(*(np.full(shape, np.nan, np.float32) for shape in shapes))
    backward_sets(1, 3, y, all_of, slope, shares)
    for s in (1, 2):
        for share, own in zip(shares, slopes_of(y[s], sets[s], slope[s]), strict=True):
            np.testing.assert_allclose(share[s], own, rtol=1e-4, atol=1e-5 * np.abs(own).max())
    assert all(np.isnan(share[0]).all() for share in shares)
