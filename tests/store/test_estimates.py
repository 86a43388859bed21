"""Estimate stores: what a fit found and what made it, whatever the chunks were."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.store import EstimateStore, PartFile
from tests.store.makers import GEOMETRY, assert_same_place, contents, fit, make_estimates, make_voxels, quick


def test_estimates_come_back_with_what_made_them(tmp_path: Path) -> None:
    voxels = make_voxels(attrs={"phantom": "placenta"})
    target = fit(tmp_path / "e.h5", voxels, [30], spectrum=True)
    assert sorted(os.listdir(tmp_path)) == ["e.h5"]
    whole = make_estimates(0, 100, spectrum=True)
    with EstimateStore(target) as store:
        assert len(store) == 100
        assert store.keys == ["s0", "f", "d", "dstar", "rmse", "outcome", "fstd"]
        found = store.read()
        for key, values in whole.items():
            np.testing.assert_array_equal(store[key], values)
            assert store[key].dtype == values.dtype
        np.testing.assert_array_equal(found.Dstar, whole.Dstar)
        np.testing.assert_array_equal(store.read(10, 20).f, whole.f[10:20])
        for name in Spectrum._fields:
            np.testing.assert_array_equal(getattr(store.spectrum, name), getattr(whole.spectrum, name))
        assert store.spectrum.indptr.dtype == np.int64
        np.testing.assert_array_equal(store.dictionary.Dstar, np.linspace(5e-3, 0.2, 4))
        assert (store.method, store.options, store.notes) == ("nlls", {"split": 200.0}, ["a note"])
        assert (store.device, store.threads, store.seconds) == ("cpu", 2, 1.5)
        assert (store.signals_sha256, store.source_sha256) == (voxels.signals_sha256, "ab12")
        assert store.attrs == {"phantom": "placenta"}
        np.testing.assert_array_equal(store.bvalues, voxels.bvalues)
        np.testing.assert_array_equal(store.index, voxels.index)
        assert_same_place(store.geometry, GEOMETRY)
        with pytest.raises(InputError, match="no field 'gap', expected one of s0"):
            store["gap"]


@quick
@given(chunks=st.lists(st.integers(1, 60), min_size=1, max_size=6), spectrum=st.booleans())
def test_the_chunk_size_does_not_matter(tmp_path: Path, chunks: list[int], spectrum: bool) -> None:
    voxels = make_voxels()
    one = fit(tmp_path / "one.h5", voxels, [100], spectrum, force=True)
    two = fit(tmp_path / "two.h5", voxels, chunks, spectrum, force=True)
    assert contents(one) == contents(two)


def test_finish_wants_all_voxels(tmp_path: Path) -> None:
    voxels, path = make_voxels(), tmp_path / "e.h5"
    with PartFile.open(path, PartFile.header(voxels, "nlls", {})) as part:
        part.append(make_estimates(0, 30))
        with pytest.raises(InputError, match="found 30 voxels fitted, expected 100"):
            part.finish(voxels, device="cpu", threads=1, seconds=0.0)
        part.append(make_estimates(30, 100, extras=False))
        with pytest.raises(InputError, match="different fields"):
            part.finish(voxels, device="cpu", threads=1, seconds=0.0)
    assert not path.exists()


def test_an_estimate_store_is_not_overwritten(tmp_path: Path) -> None:
    voxels = make_voxels()
    path = fit(tmp_path / "e.h5", voxels, [50])
    for resume in (False, True):
        with pytest.raises(InputError, match="found an existing file"):
            fit(path, voxels, [50], resume=resume)
    fit(path, voxels, [50], force=True)


def test_only_s0_rmse_and_outcome_are_needed(tmp_path: Path) -> None:
    """Methods without f and D*, and in the end without D: each field is absent, not filled."""
    voxels, whole = make_voxels(10), make_estimates(0, 10)
    few = Estimates(S0=whole.S0, f=None, D=None, Dstar=None, rmse=whole.rmse, outcome=whole.outcome)
    path = tmp_path / "few.h5"
    with PartFile.open(path, PartFile.header(voxels, "few", {})) as part:
        part.append(few)
        assert part.done == 10
        part.finish(voxels, device="cpu", threads=1, seconds=0.0)
    with EstimateStore(path) as store:
        assert store.keys == ["s0", "rmse", "outcome"] and len(store) == 10
        np.testing.assert_array_equal(store["rmse"], whole.rmse)
        with pytest.raises(InputError, match="found no field 'f', expected one of s0, rmse, outcome"):
            store["f"]
    with h5py.File(path, "r+") as file:
        del file["estimates/rmse"]
    with pytest.raises(InputError, match="found no estimates/rmse, expected s0, rmse, outcome"):
        EstimateStore(path)
