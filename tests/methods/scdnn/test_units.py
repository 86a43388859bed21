"""The unrolled units against plain numpy and torch, forwards and backwards, and against the fixed-dictionary iteration."""

import numpy as np
import pytest

from ivimsc.device.launch import choose_device, run_blocks
from ivimsc.methods.ista.pyramid import make_pyramid
from ivimsc.methods.ista.thresholding import HARD, SOFT, Plan, make_room, proximal
from ivimsc.methods.scdnn.units import WIDTH, backward, backward_sets, forward, forward_sets
from ivimsc.physics.dictionary import make_dictionary
from tests.conftest import FIVE, TEN, phantom


def weights(bvalues, atoms=40, units=4, seed=0):
    """Random units around the physical ones: w, phi (unit, b, atom), thresholds (unit, atom), grid (atom,)."""
    random = np.random.default_rng(seed)
    dictionary = make_dictionary(bvalues, "log", (atoms // 2, atoms // 2), (1e-5, 5e-3), (5e-3, 0.2))
    phi = dictionary.matrix * random.uniform(0.8, 1.2, (units, *dictionary.matrix.shape))
    w = phi / dictionary.lipschitz * random.uniform(0.8, 1.2, phi.shape)
    thresholds = random.uniform(-1e-4, 3e-3, (units, atoms))
    grid = np.concatenate([dictionary.D, dictionary.Dstar]) * 1e3
    return [a.astype(np.float32) for a in (w, phi, thresholds, grid)]


def in_numpy(y, w, phi, thresholds, hard, onto_input=False):
    """The units written from the equations, in float64."""
    y, w, phi, thresholds = (a.astype(np.float64) for a in (y, w, phi, thresholds))

    def H(u, cut):
        return np.where((u >= cut) & (u > 0), u, 0) if hard else np.maximum(u - cut, 0)

    u = y @ w[0]
    x = H(u, thresholds[0])
    for t in range(1, len(w)):
        u = (u + x - x @ phi[t].T @ w[t]) if onto_input else x + (y - x @ phi[t].T) @ w[t]
        x = H(u, thresholds[t])
    return x


def run(y, w, phi, thresholds, grid, hard=False, onto_input=False, threads=1, block=1):
    sums, codes = np.empty((len(y), 4), np.float32), np.empty((len(y), len(grid)), np.float32)
    blocks = -(-len(y) // WIDTH)
    launch = choose_device("cpu", threads)
    run_blocks(
        launch, forward, blocks, y, w, phi, thresholds, grid, len(grid) // 2, hard, onto_input, sums, codes, block=block
    )
    return sums, codes


@pytest.mark.parametrize("bvalues", [FIVE, TEN, TEN[:4]])
@pytest.mark.parametrize(("hard", "onto_input"), [(False, False), (True, False), (False, True)])
def test_units_are_the_equations(bvalues, hard, onto_input):
    y = phantom(2 * WIDTH + 5, bvalues, snr=30).signals
    w, phi, thresholds, grid = weights(bvalues)
    sums, codes = run(y, w, phi, thresholds, grid, hard, onto_input)
    x = in_numpy(y, w, phi, thresholds, hard, onto_input)
    close = np.abs(codes - x) < 2e-6 + 1e-5 * np.abs(x)
    # a hard threshold jumps: float32 may fall on its other side in a few of all coefficients
    assert close.mean() > (0.999 if hard else 1 - 1e-12)
    half = len(grid) // 2
    own = codes.astype(np.float64)
    expected = [own[:, :half].sum(1), own[:, :half] @ grid[:half], own[:, half:].sum(1), own[:, half:] @ grid[half:]]
    np.testing.assert_allclose(sums.T, expected, rtol=1e-5)


def test_no_voxel_depends_on_its_neighbours_threads_or_blocks():
    y = phantom(3 * WIDTH, FIVE, snr=30).signals
    given = weights(FIVE)
    sums, _ = run(y, *given)
    order = np.random.default_rng(1).permutation(len(y))
    assert np.array_equal(run(y[order], *given)[0], sums[order])
    assert np.array_equal(run(y, *given, threads=2, block=2)[0], sums)
    assert np.array_equal(run(y[:7], *given)[0], sums[:7])
    assert run(y[:0], *given)[0].shape == (0, 4)


@pytest.mark.parametrize("hard", [False, True])
def test_untrained_it_is_the_fixed_dictionary_iteration(hard):
    dictionary = make_dictionary(FIVE, "log", (30, 30), (1e-5, 5e-3), (5e-3, 0.2))
    phi, L, beta, units = dictionary.matrix, dictionary.lipschitz, 0.02, 9
    y = phantom(20, FIVE, snr=30).signals
    cut = 4e-4 if hard else beta / (2 * L)
    many = np.repeat(phi[None], units, 0).astype(np.float32)
    grid = np.concatenate([dictionary.D, dictionary.Dstar]).astype(np.float32)
    _, codes = run(y, many / np.float32(L), many, np.full((units, 60), cut, np.float32), grid, hard)
    x, room = np.zeros(60), make_room(5, 60)
    lift = make_pyramid(phi, 30, 1e-6).lift[0, :5].copy()
    plan = Plan(phi, phi / L, np.full(60, cut if hard else 1 / L), lift, HARD if hard else SOFT, units, 0.0)
    for signal, code in zip(y.astype(np.float64), codes, strict=True):
        proximal(signal, plan, beta / 2, x, room)
        assert np.mean(np.abs(code - x) < 1e-6) >= (0.98 if hard else 1)


@pytest.mark.parametrize("hard", [False, True])
def test_slopes_are_those_of_torch(hard):
    torch = pytest.importorskip("torch")
    from ivimsc.methods.scdnn.network import by_torch, sums_of

    n = WIDTH + 9
    y = phantom(n, FIVE, snr=30).signals
    given = weights(FIVE)
    slope = np.random.default_rng(2).normal(size=(n, 4)).astype(np.float32)
    shares = [np.empty((2, *a.shape), np.float32) for a in given]
    backward(0, 2, y, *given, 20, hard, slope, *shares)
    tensors = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in given]
    (
        sums_of(by_torch(torch.tensor(y.astype(np.float64)), *tensors[:3], hard), tensors[3], 20) * torch.tensor(slope)
    ).sum().backward()
    for share, tensor in zip(shares, tensors, strict=True):
        expected = tensor.grad.numpy()
        # float32 against float64; hard thresholds may differ in a few coefficients
        assert np.abs(share.sum(0) - expected).max() < (2e-2 if hard else 1e-4) * np.abs(expected).max()


def test_slopes_are_those_of_finite_differences():
    y, given = phantom(WIDTH, FIVE, snr=30).signals, weights(FIVE, atoms=12, units=3)
    slope = np.random.default_rng(3).normal(size=(WIDTH, 4)).astype(np.float32)
    shares = [np.empty((1, *a.shape), np.float32) for a in given]
    backward(0, 1, y, *given, 6, False, slope, *shares)

    def value(arrays):
        x = in_numpy(y, *arrays[:3], hard=False)
        grid = arrays[3].astype(np.float64)
        sums = np.stack([x[:, :6].sum(1), x[:, :6] @ grid[:6], x[:, 6:].sum(1), x[:, 6:] @ grid[6:]], axis=1)
        return float((sums * slope).sum())

    random = np.random.default_rng(4)
    for k, share in enumerate(shares):
        towards = random.normal(size=given[k].shape) * np.abs(given[k]).mean()
        pair = []
        for sign in (1, -1):
            moved = [a.astype(np.float64) for a in given]
            moved[k] = moved[k] + sign * 1e-6 * towards
            pair.append(value(moved))
        found, expected = float((share[0] * towards).sum()), (pair[0] - pair[1]) / 2e-6
        assert abs(found - expected) < 1e-3 * max(abs(expected), np.abs(share[0] * towards).sum() * 1e-2)


def test_sets_have_weights_of_their_own():
    y = phantom(3 * WIDTH, FIVE, snr=30).signals.reshape(3, WIDTH, 5)
    sets = [np.stack(a) for a in zip(*(weights(FIVE, seed=s)[:3] for s in range(3)), strict=True)]
    grid = weights(FIVE)[3]
    sums, slope = np.empty((3, WIDTH, 4), np.float32), np.ones((3, WIDTH, 4), np.float32)
    forward_sets(0, 3, y, *sets, grid, 20, sums)
    shares = [np.empty(a.shape, np.float32) for a in sets]
    backward_sets(0, 3, y, *sets, grid, 20, slope, *shares)
    for s in range(3):
        # the compiler may round differently where one kernel is part of another
        np.testing.assert_allclose(sums[s], run(y[s], *(a[s] for a in sets), grid)[0], rtol=1e-5)
        alone = [np.empty((1, *a.shape[1:]), np.float32) for a in sets] + [np.empty((1, 40), np.float32)]
        backward(0, 1, y[s], *(a[s] for a in sets), grid, 20, False, slope[s], *alone)
        for share, own in zip(shares, alone[:3], strict=True):
            np.testing.assert_allclose(share[s], own[0], rtol=1e-4, atol=1e-5 * np.abs(own).max())
