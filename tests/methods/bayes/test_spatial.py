"""The spatial prior: pictures of two halves, noise without structure, bad places; and its small parts against numpy."""

import numpy as np
import pytest

import ivimsc
from ivimsc.errors import InputError
from ivimsc.methods.bayes.spatial.gaussians import definite, evidence, inverse, product, sandwich
from ivimsc.methods.bayes.spatial.neighbourhood import PADDING, find_neighbours
from ivimsc.voxels import Geometry, Voxels

B = [0, 10, 20, 50, 80, 100, 150, 200, 300, 500]
SIGMA = 1 / 30
UPPER = np.triu_indices(3)


def halves(shape, seed=0):
    """Signals (x, y, z, b) of two tissues side by side, and their truth f, D, D* (x, y, z)."""
    left = np.arange(shape[0])[:, None, None] < shape[0] // 2
    f, D, Dstar = (
        np.broadcast_to(np.where(left, a, b), shape) for a, b in ((0.1, 0.3), (1.5e-3, 0.9e-3), (25e-3, 60e-3))
    )
    clean = ivimsc.simulate_signals(np.ones(shape), f, D, Dstar, B)
    noise = np.random.default_rng(seed).normal(0, SIGMA, (2, *clean.shape))
    return np.hypot(clean + noise[0], noise[1]).astype(np.float32), np.stack([f, D, Dstar])


def fit(signals, prior="spatial", **options):
    return ivimsc.fit_signals(signals, B, method="bayes", prior=prior, sigma=SIGMA, **options)


def errors(estimates, truth):
    """Mean squared errors of f, D and D*."""
    return np.mean(
        (np.stack([estimates.f, estimates.D, estimates.Dstar]) - truth) ** 2, axis=tuple(range(1, truth.ndim))
    )


@pytest.fixture(scope="module")
def picture():
    signals, truth = halves((20, 12, 3))
    return signals, truth, fit(signals), fit(signals, "population")


def test_errors_are_far_below_those_of_single_voxels(picture):
    """The population knows the two tissues already; the neighbours tell which of them, and where in it, a voxel lies."""
    _, truth, spatial, single = picture
    assert np.all(errors(spatial, truth) < 0.75 * errors(single, truth))


def test_the_edge_stays_sharp(picture):
    """The step of f and D across the edge, 0.2 and -0.6 µm²/ms, is that of the truth to a tenth, in the two columns at the edge."""
    _, truth, spatial, _ = picture
    for values, true in ((spatial.f, truth[0]), (spatial.D, truth[1])):
        step, wanted = (np.mean(a[10]) - np.mean(a[9]) for a in (values, true))
        assert 0.9 < step / wanted < 1.1


def test_intervals_hold_the_truth(picture):
    _, truth, spatial, _ = picture
    for values, sd, true in ((spatial.f, spatial.fstd, truth[0]), (spatial.D, spatial.dstd, truth[1])):
        assert np.mean(np.abs(values - true) < 1.96 * sd) > 0.9  # 720 voxels whose errors are shared with neighbours


def test_shuffled_voxels_tell_nothing_of_each_other():
    """The prior finds that, says it, and is the population; Monte-Carlo errors of the two differ by a per cent."""
    signals, truth = halves((20, 12, 3))
    order = np.random.default_rng(1).permutation(720)
    mixed = signals.reshape(720, -1)[order].reshape(signals.shape)
    truth = truth.reshape(3, 720)[:, order].reshape(truth.shape)
    spatial, single = fit(mixed), fit(mixed, "population")
    assert np.all(errors(spatial, truth) < 1.03 * errors(single, truth))
    assert any("neighbours tell nothing" in note or "like no neighbour" in note for note in spatial.notes)


def test_threads_do_not_change_bytes(picture):
    signals, _, spatial, _ = picture
    again = fit(signals, threads=1)
    for name in ("f", "D", "Dstar", "fstd", "outcome"):
        np.testing.assert_array_equal(getattr(again, name), getattr(spatial, name))


def test_a_bad_voxel_is_nobodys_neighbour(picture):
    """It has its outcome and NaN; voxels four sweeps and a last step (of two voxels each) away do not see it."""
    signals, _, spatial, _ = picture
    spoilt = signals.copy()
    spoilt[0, 0, 0] = np.nan
    found = fit(spoilt)
    assert found.outcome[0, 0, 0] == 5 and np.isnan(found.f[0, 0, 0])
    assert np.isfinite(found.f).sum() == found.f.size - 1
    np.testing.assert_allclose(
        found.f[1:3], spatial.f[1:3], atol=0.05
    )  # noise of the population learnt from the others


def test_single_slices_and_few_voxels_are_fitted():
    signals, _ = halves((20, 12, 1))
    assert np.isfinite(fit(signals[:, :, 0]).f).all()
    assert np.isfinite(fit(signals[:1, :1]).f).all()


def test_voxels_without_places_are_refused():
    signals, _ = halves((20, 12, 1))
    with pytest.raises(
        InputError, match=r"found spatial for signals \(voxel, b\) without places, expected signals \(x, y, z, b\)"
    ):
        fit(signals.reshape(-1, len(B)))


def voxels_at(index, shape, zooms=(1.0, 1.0, 1.0)):
    index = np.asarray(index, np.int32)
    signals = np.ones((len(index), 3), np.float32)
    return Voxels(signals, np.arange(3.0), index, Geometry(shape, np.eye(4), zooms=zooms))


@pytest.mark.parametrize(("index", "zooms", "words"), [
    ([[0, 0, 0], [1, 0, 0]], (0.0, 1.0, 1.0), "zooms: found 0 × 1 × 1 mm, expected lengths > 0"),
    ([[0, 0, 0], [1, 0, 0]], (np.nan, 1.0, 1.0), "zooms: found nan × 1 × 1 mm"),
    ([[0, 0, 0], [0, 0, 0]], (1.0, 1.0, 1.0), "two voxels at one place"),
    ([[0, 0, 0], [9, 0, 0]], (1.0, 1.0, 1.0), "places outside of the volume"),
])  # fmt: skip
def test_places_that_cannot_be_are_refused(index, zooms, words):
    with pytest.raises(InputError, match=words):
        find_neighbours(voxels_at(index, (4, 4, 4), zooms), np.ones(2, bool))


def test_neighbours_lie_within_their_distance_in_mm():
    """Of 1 × 1 × 10 mm: in the plane up to 2 mm, and those that touch in the slices above and below, 10 mm and more away."""
    index = np.stack(np.unravel_index(np.arange(125), (5, 5, 5)), 1)
    hood = find_neighbours(voxels_at(index, (5, 5, 5), (1.0, 1.0, 10.0)), np.ones(125, bool))
    far = np.sqrt((hood.offsets**2 * np.array([1, 1, 100])).sum(1))
    np.testing.assert_allclose(hood.distances[hood.ring], far, rtol=1e-3)
    flat = hood.offsets[hood.offsets[:, 2] == 0]
    assert len(flat) == 12 and len(hood.offsets) == 12 + 18
    place = hood.places[62]
    np.testing.assert_array_equal(place, np.array([2, 2, 2]) + PADDING)
    assert hood.numbers[tuple(place)] == 62
    assert (hood.numbers >= 0).sum() == 125


def matrices(seed):
    random = np.random.default_rng(seed)
    a, p = (m @ m.T for m in random.normal(size=(2, 3, 3)))
    return a + 0.1 * np.eye(3), p, random.normal(size=3)


def six(a):
    return tuple(float(x) for x in a[UPPER])


def full(six_numbers):
    a = np.zeros((3, 3))
    a[UPPER] = six_numbers
    return np.triu(a) + np.triu(a, 1).T


@pytest.mark.parametrize("seed", range(3))
def test_small_matrices_equal_numpy(seed):
    a, p, d = matrices(seed)
    np.testing.assert_allclose(full(inverse(six(a))[0]), np.linalg.inv(a), rtol=1e-9)
    np.testing.assert_allclose(np.reshape(product(six(a), six(p)), (3, 3)), a @ p, rtol=1e-9)
    m = np.random.default_rng(seed).normal(size=(3, 3))
    np.testing.assert_allclose(full(sandwich(tuple(m.ravel()), six(a))), m @ a @ m.T, rtol=1e-9)
    log_evidence, step, after = evidence(six(a), six(p), *d)
    c = np.linalg.inv(p)  # ∫ N(t; 0, a) exp(-½ (t - d)' p (t - d)) = N(d; 0, a + c) |2π c|^½
    wanted = -0.5 * d @ np.linalg.solve(a + c, d) - 0.5 * np.linalg.slogdet(a + c)[1] + 0.5 * np.linalg.slogdet(c)[1]
    assert log_evidence == pytest.approx(wanted, rel=1e-9)
    np.testing.assert_allclose(full(after), np.linalg.inv(np.linalg.inv(a) + p), rtol=1e-9)
    np.testing.assert_allclose(step, full(after) @ p @ d, rtol=1e-9)


def test_a_matrix_is_made_definite_by_its_eigenvalues():
    a = np.array([[2.0, 1.0, 0.5], [1.0, -1.0, 0.3], [0.5, 0.3, 0.2]])
    values, vectors = np.linalg.eigh(a)
    wanted = (vectors * np.maximum(values, 0.1)) @ vectors.T
    np.testing.assert_allclose(full(definite(six(a), 0.1)), wanted, atol=1e-12)
