"""Shells weighted by their number of images: nlls and segmented against scipy on the images themselves."""

import numpy as np
import pytest
from scipy.optimize import curve_fit, least_squares

import ivimsc
from ivimsc.errors import InputError
from ivimsc.outcome import Outcome
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.store import VoxelStore, write_voxels
from ivimsc.voxels import Geometry, SelectedVoxels, Voxels
from tests.conftest import equation1, prepare_method

SHELLS = np.array([0, 10, 20, 40, 80, 120, 200, 400, 800.0])
REPEATS = np.array([1, 3, 3, 3, 3, 3, 6, 15, 30])
IMAGES = np.repeat(SHELLS, REPEATS)
TRUTH = (0.25, 1e-3, 30e-3)


def images(n, noise=0.02, seed=0):
    return equation1(1, *TRUTH, IMAGES) + np.random.default_rng(seed).normal(0, noise, (n, len(IMAGES)))


def test_nlls_is_least_squares_on_all_images():
    y = images(20)
    e = ivimsc.fit_signals(y, IMAGES)
    for v in range(20):
        fit = least_squares(lambda x: equation1(x[0], x[1], 1e-3 * x[2], 1e-2 * x[3], IMAGES) - y[v], (1, 0.25, 1, 3), xtol=1e-12, ftol=1e-12)  # noqa: B023  # fmt: skip
        found = e.S0[v], e.f[v], 1e3 * e.D[v], 1e2 * e.Dstar[v]
        np.testing.assert_allclose(found, fit.x, rtol=2e-3)  # the cost is flat: 1e-6 of it is 1e-3 of D*


def test_segmented_takes_d_from_all_images_of_the_high_shells():
    y = images(20)
    e = ivimsc.fit_signals(y, IMAGES, "segmented")
    high = IMAGES >= 200
    for v in range(20):
        (_, d), _ = curve_fit(lambda b, a, d: a * np.exp(-b * d * 1e-3), IMAGES[high], y[v, high], (0.7, 1.0))
        assert e.D[v] == pytest.approx(1e-3 * d, rel=1e-3)  # signals are float32


@pytest.mark.parametrize("method", ["nlls", "segmented"])
def test_sigma_is_that_of_one_image_and_rmse_that_of_the_means(method):
    y = images(500)
    e = ivimsc.fit_signals(y, IMAGES, method, sigma=0.02)
    means = np.stack([y[:, IMAGES == b].mean(1) for b in SHELLS], axis=1)
    residuals = means - equation1(e.S0, e.f, e.D, e.Dstar, SHELLS)
    np.testing.assert_allclose(e.rmse, np.sqrt(np.mean(residuals**2, axis=1)), rtol=1e-4)  # signals are float32
    chi2 = np.sum(REPEATS * residuals**2, axis=1) / 0.02**2 / (9 - 4)
    np.testing.assert_allclose(e.chi2, chi2, rtol=1e-3)
    assert 0.9 < np.mean(np.abs(e.f - TRUTH[0]) <= 1.96 * e.fstd) < 0.99  # 500 draws: an SD of 1 %
    assert 0.9 < np.mean(np.abs(e.D - TRUTH[1]) <= 1.96 * e.dstd) < 0.99


def test_nlls_has_the_cramer_rao_bound_of_all_images():
    e = ivimsc.fit_signals(images(50), IMAGES, sigma=0.02)
    bound = cramer_rao(e.S0, e.f, e.D, e.Dstar, IMAGES, 0.02)
    np.testing.assert_allclose(e.fstd, bound[:, 1], rtol=1e-3)  # estimates are float32
    np.testing.assert_allclose(e.dstd, bound[:, 2], rtol=1e-3)


def test_ista_is_non_negative_least_squares_on_all_images():
    """The code and its residuals against scipy's, with atoms as they are at every image."""
    from scipy.optimize import nnls

    y = images(12)
    e = ivimsc.fit_signals(y, IMAGES, "ista", n_d=40, n_dstar=40)
    means = np.stack([y[:, IMAGES == b].mean(1) for b in SHELLS], axis=1)
    grid = np.concatenate([np.geomspace(1e-5, 5e-3, 41)[:40], np.geomspace(5e-3, 0.2, 40)])
    phi = np.exp(-np.outer(SHELLS, grid))
    for v in range(12):
        x, _ = nnls(np.sqrt(REPEATS)[:, None] * phi, np.sqrt(REPEATS) * means[v], maxiter=10_000)
        assert e.S0[v] == pytest.approx(x.sum(), rel=2e-3)  # the optimum is flat: the gap is 1e-6 of the cost
        assert e.f[v] == pytest.approx(x[40:].sum() / x.sum(), abs=3e-3)
        rest = means[v] - phi @ x
        assert e.rmse[v] == pytest.approx(np.sqrt(np.mean(rest**2)), rel=0.02)
    assert np.all(e.gap <= 1e-6)


def test_general_scdnn_takes_images_as_they_are():
    """30 images at the high b-values tell D better than the one that they would count as, and it knows."""
    y = images(1500, noise=0.05)
    many = ivimsc.fit_signals(y, IMAGES, "scdnn", sigma=0.05)
    means = np.stack([y[:, IMAGES == b].mean(1) for b in SHELLS], axis=1)
    alike = ivimsc.fit_signals(means, SHELLS, "scdnn", sigma=0.05 * np.sqrt(np.mean(1 / REPEATS)))
    assert Outcome.OUTSIDE_TRAINING not in many.outcome[:3]
    for key, truth, part in (("f", TRUTH[0], 0.95), ("D", TRUTH[1], 0.8)):
        error, other = (np.sqrt(np.mean((getattr(e, key) - truth) ** 2)) for e in (many, alike))
        assert error < part * other, (key, error, other)


@pytest.mark.parametrize("method", ["nlls", "ista", "scdnn"])
def test_outcome_4_counts_every_image(method):
    """The rule by hand, with the Cramér-Rao bound of all images."""
    y = images(200, noise=0.15)
    e = ivimsc.fit_signals(y, IMAGES, method, sigma=0.15)
    bound = cramer_rao(e.S0, e.f, e.D, e.Dstar, IMAGES, 0.15)
    with np.errstate(invalid="ignore"):
        expected = (e.f <= 1.96 * bound[:, 1]) | (np.log(e.Dstar / e.D) * e.Dstar <= 1.96 * bound[:, 3])
    judged = np.isin(e.outcome, (Outcome.CONVERGED, Outcome.DSTAR_UNIDENTIFIABLE)) & np.isfinite(e.Dstar)
    assert judged.sum() > 100 and 0.02 < expected[judged].mean() < 0.98
    differ = (e.outcome == Outcome.DSTAR_UNIDENTIFIABLE)[judged] != expected[judged]
    assert differ.mean() < 0.02  # those within rounding of the edge, and those whose best curve is asked


@pytest.mark.parametrize("method", ["nlls", "segmented"])
def test_one_weight_for_all_changes_no_estimate(method):
    y = images(50)[:, np.unique(IMAGES, return_index=True)[1]]
    one, nine = (ivimsc.fit_signals(np.repeat(y, n, axis=1), np.repeat(SHELLS, n), method) for n in (1, 9))
    for key in ("S0", "f", "D", "rmse", "fstd"):  # with weights the sums are rounded elsewhere
        np.testing.assert_allclose(getattr(nine, key), getattr(one, key), rtol=2e-3, atol=1e-6, err_msg=key)


def test_repeats_go_through_stores_and_selections(tmp_path):
    y = images(30)
    means = np.stack([y[:, IMAGES == b].mean(1) for b in SHELLS], axis=1).astype(np.float32)
    index = np.zeros((30, 3), np.int32)
    voxels = Voxels(means, SHELLS, index, Geometry((1, 1, 1), np.eye(4)), repeats=REPEATS)
    with VoxelStore(write_voxels(tmp_path / "v.h5", voxels)) as store:
        np.testing.assert_array_equal(store.weights, REPEATS)
        some = SelectedVoxels(store, SHELLS[[0, 2, 4, 6, 8]])
        np.testing.assert_array_equal(some.weights, REPEATS[[0, 2, 4, 6, 8]])
        found = prepare_method("nlls", store).fit(store.read(0, 30))
    np.testing.assert_array_equal(found.D, ivimsc.fit_signals(y, IMAGES).D)
    assert np.all(Voxels(means, SHELLS).weights == 1)


@pytest.mark.parametrize("repeats", [[1, 2], [0] * 9, [np.nan] * 9])
def test_repeats_that_cannot_be_are_an_error(repeats):
    with pytest.raises(InputError, match="repeats: .* expected 9 numbers of images of at least 1"):
        _ = Voxels(np.ones((1, 9), np.float32), SHELLS, repeats=repeats).weights
