"""What is said of all voxels is what numpy says of them."""

import numpy as np
import pytest

from ivimsc.outcome import Outcome
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.report.regions import find_regions, region_rows
from ivimsc.report.sources import opened_sources
from ivimsc.report.summary import bound_of, count_outcomes, error_rows, histograms, mean_curves
from ivimsc.report.volumes import residuals_by_volume
from tests.conftest import TEN, equation1
from tests.report.conftest import NASTY, SIGMA


@pytest.fixture
def sources(made):
    with opened_sources(made.store, made.paths) as opened:
        yield opened


def test_the_mean_curve_is_that_of_each_fits_own_model(sources, made):
    curves = mean_curves(sources)
    for name, fit in made.fits.items():
        model = (
            equation1(fit.S0, fit.f, fit.D, fit.Dstar, TEN) if name != "adc" else fit.S0[:, None] * np.exp(-TEN * fit.D[:, None])
        )  # fmt: skip
        rest = made.voxels.signals - model
        np.testing.assert_allclose(curves[name].fitted, model.mean(0), rtol=1e-5)  # float32 curves
        np.testing.assert_allclose(curves[name].residual, rest.mean(0), atol=1e-6)
        np.testing.assert_allclose(curves[name].spread, rest.std(0), rtol=1e-4)
        assert curves[name].voxels == 104


def test_outcomes_are_counted(sources):
    assert count_outcomes(sources.fits[0]) == {
        Outcome.CONVERGED: 83, Outcome.AT_BOUND: 1, Outcome.DSTAR_UNIDENTIFIABLE: 20,
    }  # fmt: skip


def test_histograms_hold_every_voxel_and_cut_no_peak(sources, made):
    rows = {row.parameter.key: row for row in histograms(sources, None)}
    assert list(rows) == ["s0", "f", "d", "dstar"]
    shares = rows["f"].shares
    assert set(shares) == {"truth", "nlls", "ista"}  # adc has no f
    expected = 100 * np.histogram(made.fits["nlls"].f * 100, rows["f"].edges)[0] / 104
    np.testing.assert_allclose(shares["nlls"], expected)
    assert all(max(share.max() for share in row.shares.values()) <= row.top for row in rows.values())


def test_what_lies_beyond_the_axis_is_told(sources, monkeypatch):
    sources.fits[0].fields["dstar"][:2] = 0.19
    row = next(row for row in histograms(sources, None) if row.parameter.key == "dstar")
    assert row.edges[-1] == 120.0 and row.notes == ["Beyond the axis: nlls 1.9 %."]


def test_errors_and_bound_are_numpys(sources, made):
    bound = bound_of(sources, SIGMA)
    rows = {(row.parameter.key, row.name): row for row in error_rows(sources, bound)}
    error = (made.fits["nlls"].f.astype(float) - made.truth.f) * 100
    row = rows["f", "nlls"]
    np.testing.assert_allclose((row.bias, row.rmse, row.median), (error.mean(), np.sqrt(np.mean(error**2)), np.median(abs(error))), rtol=1e-5)  # fmt: skip
    t = made.truth
    deviation = cramer_rao(t.S0, t.f, t.D, t.Dstar, TEN, SIGMA)[:, 1] * 100
    draws = np.abs(np.random.default_rng(1).normal(size=1_000_000))
    assert row.bound == pytest.approx(np.median(deviation) * np.median(draws), rel=0.005)  # of a million draws
    assert ("f", "adc") not in rows


def test_regions_are_those_of_the_store_with_statistics_by_outcome(sources, made):
    regions = find_regions(sources, None)
    assert regions.names == ["core", NASTY]
    rows = {(row.region, row.parameter.key, row.name): row for row in region_rows(sources, regions)}
    fit, core = made.fits["nlls"], made.voxels.tissue == 1
    values = fit.Dstar[core & (fit.outcome == 1)] * 1e3
    row = rows["core", "dstar", "nlls"]
    expected = (len(values), *np.percentile(values, (5, 25, 50, 75, 95)))
    np.testing.assert_allclose((row.n, row.low, row.lower, row.median, row.upper, row.high), expected, rtol=1e-5)
    assert rows["core", "f", "nlls"].n == core.sum()


def test_regions_of_a_volume_are_numbered_by_label(repeated_series):
    with opened_sources(
        repeated_series.folder / "scan.nii.gz", [repeated_series.path], repeated_series.folder / "scan.bval"
    ) as sources:
        regions = find_regions(sources, repeated_series.folder / "labels.nii.gz")
        assert regions.names == ["label 3", "label 7"]
        i, j, _ = sources.index.T
        np.testing.assert_array_equal(regions.codes, np.where(i < 5, 1, np.where(j >= 3, 2, 0)))


def test_the_image_that_moved_is_found_and_no_other(repeated_series):
    with opened_sources(
        repeated_series.folder / "scan.nii.gz", [repeated_series.path], repeated_series.folder / "scan.bval"
    ) as sources:
        found = residuals_by_volume(sources, 20.0)
    assert np.flatnonzero(found.odd).tolist() == [13]
    fit = repeated_series.fit
    curve = equation1(fit.S0, fit.f, fit.D, fit.Dstar, repeated_series.bvalues)
    i, j, k = repeated_series.voxels.index.T
    rest = repeated_series.images[i, j, k] - curve
    np.testing.assert_allclose(found.size, np.sqrt(np.mean(rest**2, 0)) / 20, rtol=1e-3)  # float32 curves of some 1000
    assert 0.9 < np.median(found.size) < 1.1  # noise of 20: one noise SD
