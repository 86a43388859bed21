"""What belongs together is opened, and nothing else."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.report import sources as module
from ivimsc.report.sources import opened_sources
from tests.report.conftest import write_fit


def test_a_series_is_matched_without_its_mask(repeated_series):
    with opened_sources(
        repeated_series.folder / "scan.nii.gz", [repeated_series.path], repeated_series.folder / "scan.bval"
    ) as sources:
        np.testing.assert_array_equal(sources.signals, repeated_series.voxels.signals)
        np.testing.assert_array_equal(sources.index, repeated_series.voxels.index)
        np.testing.assert_allclose(sources.bvalues[sources.images.shell], repeated_series.bvalues)
        i, j, k = sources.index[17]
        np.testing.assert_allclose(sources.images.signals[17], repeated_series.images[i, j, k], rtol=1e-6)


def test_some_volumes_are_those_that_were_fitted(repeated_series, tmp_path):
    from ivimsc.nifti import read_series

    scan, bval = repeated_series.folder / "scan.nii.gz", repeated_series.folder / "scan.bval"
    some = [n for n in range(24) if n != 13]
    voxels = read_series(scan, bval, mask=repeated_series.folder / "mask.nii.gz", volumes=some)
    path = write_fit(tmp_path / "scan_nlls.h5", voxels, "nlls", repeated_series.fit)
    with opened_sources(scan, [path], bval, some) as sources:
        assert sources.images.numbers.tolist() == some
    with pytest.raises(InputError, match="found the fit of other signals"), opened_sources(scan, [path], bval):
        pass


def test_a_fit_of_other_signals_is_refused(made, repeated_series, tmp_path):
    with (
        pytest.raises(InputError, match=r"scan_nlls.h5: found the fit of other signals .*expected one of those in"),
        opened_sources(made.store, [repeated_series.path]),
    ):
        pass


def test_the_same_method_twice_gets_two_names(made, tmp_path):
    other = write_fit(tmp_path / "other_nlls.h5", made.voxels, "nlls", made.fits["nlls"])
    with opened_sources(made.store, [made.paths[0], other, made.paths[1]]) as sources:
        assert [fit.name for fit in sources.fits] == ["nlls 1", "nlls 2", "adc"]
        assert [fit.mono for fit in sources.fits] == [False, False, True]


def test_too_many_voxels_are_refused_before_they_are_read(made, monkeypatch):
    monkeypatch.setattr(module, "MOST", 100)
    with (
        pytest.raises(InputError, match="found 104 voxels, expected at most 100 for a report: a mask leaves"),
        opened_sources(made.store, made.paths),
    ):
        pass


@pytest.mark.parametrize("name", ["bval", "volumes"])
def test_a_voxel_store_has_its_own_bvalues_and_voxels(made, name):
    with (
        pytest.raises(InputError, match=f"{name}: found x, expected none"),
        opened_sources(made.store, made.paths, **{name: "x"}),
    ):
        pass


def test_a_series_needs_its_bvalues(repeated_series):
    with (
        pytest.raises(InputError, match="bval: found none, expected the .bval file"),
        opened_sources(repeated_series.folder / "scan.nii.gz", [repeated_series.path]),
    ):
        pass


def test_two_voxels_at_one_place_are_refused(made, tmp_path):
    from dataclasses import replace

    from ivimsc.store import write_voxels

    index = made.voxels.index.copy()
    index[5] = index[80]
    voxels = replace(made.voxels, index=index)
    store, fit = (
        write_voxels(tmp_path / "twice.h5", voxels),
        write_fit(tmp_path / "twice_nlls.h5", voxels, "nlls", made.fits["nlls"]),
    )
    with pytest.raises(InputError, match=r"twice.h5: found two voxels at one place"), opened_sources(store, [fit]):
        pass
