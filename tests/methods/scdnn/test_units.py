"""The units against plain numpy in float64, and against the fixed-dictionary iteration."""

import numpy as np
import pytest

from ivimsc.device.launch import choose_device, run_blocks
from ivimsc.methods.ista.pyramid import make_pyramid
from ivimsc.methods.ista.thresholding import HARD, SOFT, Plan, make_room, proximal
from ivimsc.methods.scdnn.units import WIDTH, Weights, blocks_of, forward, forward_sets
from ivimsc.physics.dictionary import make_dictionary
from tests.conftest import FIVE, TEN, phantom


def random_weights(bvalues, atoms=40, units=4, seed=0, hard=False, onto_input=False):
    """Random units around the physical ones, with grids of unequal length: the tissue part has two atoms fewer."""
    random = np.random.default_rng(seed)
    half = atoms // 2 - 1
    dictionary = make_dictionary(bvalues, "log", (half, atoms - half), (1e-5, 5e-3), (5e-3, 0.2))
    phi = dictionary.matrix * random.uniform(0.8, 1.2, (units, *dictionary.matrix.shape))
    w = phi / dictionary.lipschitz * random.uniform(0.8, 1.2, phi.shape)
    thresholds = random.uniform(-1e-4, 3e-3, (units, atoms))
    grid = np.concatenate([dictionary.D, dictionary.Dstar]) * 1e3
    return Weights(*(a.astype(np.float32) for a in (w, phi, thresholds, grid)), half, hard, onto_input)


def in_numpy(y, weights):
    """The code (voxel, atom) written from the equations, in float64."""
    y, w, phi, thresholds = (a.astype(np.float64) for a in (y, weights.w, weights.phi, weights.thresholds))

    def H(u, cut):
        return np.where((u >= cut) & (u > 0), u, 0) if weights.hard else np.maximum(u - cut, 0)

    u = y @ w[0]
    x = H(u, thresholds[0])
    for t in range(1, len(w)):
        u = (u + x - x @ phi[t].T @ w[t]) if weights.onto_input else x + (y - x @ phi[t].T) @ w[t]
        x = H(u, thresholds[t])
    return x


def sums_of(x, weights):
    """Σx and Σgx of both parts, (voxel, 4)."""
    n, grid = weights.n_d, weights.grid.astype(np.float64)
    return np.stack([x[:, :n].sum(1), x[:, :n] @ grid[:n], x[:, n:].sum(1), x[:, n:] @ grid[n:]], axis=1)


def run(y, weights, threads=1, block=1):
    sums, codes = np.empty((len(y), 4), np.float32), np.empty((len(y), len(weights.grid)), np.float32)
    launch = choose_device("cpu", threads)
    run_blocks(launch, forward, blocks_of(len(y)), y, weights, sums, codes, block=block)
    return sums, codes


@pytest.mark.parametrize("bvalues", [FIVE, TEN, TEN[:4]])
@pytest.mark.parametrize(("hard", "onto_input"), [(False, False), (True, False), (False, True), (True, True)])
def test_units_are_the_equations(bvalues, hard, onto_input):
    y = phantom(2 * WIDTH + 5, bvalues, snr=30).signals
    weights = random_weights(bvalues, hard=hard, onto_input=onto_input)
    sums, codes = run(y, weights)
    x = in_numpy(y, weights)
    close = np.abs(codes - x) < 2e-6 + 1e-5 * np.abs(x)
    # a hard threshold jumps: float32 may fall on its other side in a few of all coefficients
    assert close.mean() > (0.999 if hard else 1 - 1e-12)
    np.testing.assert_allclose(sums, sums_of(codes.astype(np.float64), weights), rtol=1e-5)


def test_no_voxel_depends_on_its_neighbours_threads_or_blocks():
    y = phantom(3 * WIDTH, FIVE, snr=30).signals
    weights = random_weights(FIVE)
    sums, _ = run(y, weights)
    order = np.random.default_rng(1).permutation(len(y))
    assert np.array_equal(run(y[order], weights)[0], sums[order])
    assert np.array_equal(run(y, weights, threads=2, block=2)[0], sums)
    assert np.array_equal(run(y[:7], weights)[0], sums[:7])
    assert run(y[:0], weights)[0].shape == (0, 4)


def test_codes_are_left_out_where_there_is_no_room():
    y, weights = phantom(WIDTH + 1, FIVE, snr=30).signals, random_weights(FIVE)
    sums = np.empty((len(y), 4), np.float32)
    forward(0, 2, y, weights, sums, np.empty((0, 40), np.float32))
    assert np.array_equal(sums, run(y, weights)[0])


def test_voxels_of_other_blocks_are_not_written():
    y, weights = phantom(3 * WIDTH, FIVE, snr=30).signals, random_weights(FIVE)
    sums, codes = np.full((len(y), 4), -1, np.float32), np.full((len(y), 40), -1, np.float32)
    forward(1, 2, y, weights, sums, codes)
    written = np.arange(len(y)) // WIDTH == 1
    assert np.array_equal(sums[written], run(y, weights)[0][written])
    assert np.all(sums[~written] == -1) and np.all(codes[~written] == -1)


@pytest.mark.parametrize("hard", [False, True])
def test_untrained_it_is_the_fixed_dictionary_iteration(hard):
    dictionary = make_dictionary(FIVE, "log", (30, 30), (1e-5, 5e-3), (5e-3, 0.2))
    phi, L, beta, units = dictionary.matrix, dictionary.lipschitz, 0.02, 9
    y = phantom(20, FIVE, snr=30).signals
    cut = 4e-4 if hard else beta / (2 * L)
    many = np.repeat(phi[None], units, 0).astype(np.float32)
    grid = np.concatenate([dictionary.D, dictionary.Dstar]).astype(np.float32)
    weights = Weights(many / np.float32(L), many, np.full((units, 60), cut, np.float32), grid, 30, hard, False)
    _, codes = run(y, weights)
    x, room = np.zeros(60), make_room(5, 60)
    lift = make_pyramid(phi, 30, 1e-6).lift[0, :5].copy()
    plan = Plan(phi, phi / L, np.full(60, cut if hard else 1 / L), lift, HARD if hard else SOFT, units, 0.0)
    for signal, code in zip(y.astype(np.float64), codes, strict=True):
        proximal(signal, plan, beta / 2, x, room)
        assert np.mean(np.abs(code - x) < 1e-6) >= (0.98 if hard else 1)


def stacked(sets):
    """Weights of several networks with a first axis of sets."""
    w, phi, thresholds = (np.stack([getattr(own, name) for own in sets]) for name in ("w", "phi", "thresholds"))
    return sets[0]._replace(w=w, phi=phi, thresholds=thresholds)


def test_sets_have_weights_of_their_own():
    y = phantom(3 * WIDTH, FIVE, snr=30).signals.reshape(3, WIDTH, 5)
    sets = [random_weights(FIVE, seed=s) for s in range(3)]
    sums = np.full((3, WIDTH, 4), -1, np.float32)
    forward_sets(1, 3, y, stacked(sets), sums)
    assert np.all(sums[0] == -1)
    for s in (1, 2):
        # the compiler may round differently where one function is part of another kernel
        np.testing.assert_allclose(sums[s], run(y[s], sets[s])[0], rtol=1e-5)
