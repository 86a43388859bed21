"""Maps: in the right place, with NaN and outcome kept, named and described, all or none."""

import gzip
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ivimsc import maps
from ivimsc.errors import InputError, IvimscError
from ivimsc.estimates import Estimates
from ivimsc.maps import map_paths, map_stem, write_maps
from ivimsc.nifti import read_series, write_bval
from ivimsc.outcome import Outcome
from ivimsc.store import EstimateStore, PartFile
from ivimsc.voxels import Geometry, Voxels

AFFINE = np.array([[-2, 0.1, 0, 90], [0.1, 2, 0.3, -126], [0, -0.3, 4, -72], [0, 0, 0, 1.0]])
SHAPE = (5, 4, 3)
PLACES = np.array([[4, 0, 2], [0, 3, 1], [2, 2, 0], [1, 1, 1]], np.int32)  # in no order at all
KEYS = ["s0", "f", "d", "dstar", "rmse", "outcome", "fstd", "dstd", "dstarstd"]


def make_store(folder: Path, name: str = "sub-01_dwi_nlls.h5", index: np.ndarray = PLACES, **more) -> Path:
    geometry = Geometry(SHAPE, AFFINE, sform=AFFINE, sform_code=2, zooms=(2.0, 2.0, 4.0))
    n = len(index)
    signals = np.ones((n, 3), np.float32)
    voxels = Voxels(signals, np.array([0, 50, 800.0]), index, geometry, "sub-01_dwi.nii.gz", "ab12")
    values = [np.arange(1, n + 1, dtype=np.float32) * 10**k for k in range(8)]
    for column in values:
        column[-1] = np.nan
    outcome = np.full(n, Outcome.CONVERGED, np.uint8)
    outcome[-1] = Outcome.BAD_SIGNAL
    codes = ("S0", "f", "D", "Dstar", "rmse", "fstd", "dstd", "dstarstd")
    fields = dict(zip(codes, values, strict=True)) | {"outcome": outcome} | more
    estimates = Estimates(**fields)
    with PartFile.open(folder / name, PartFile.header(voxels, "nlls", {"bounds": (0.0, 1.0)})) as part:
        part.append(estimates)
        return part.finish(voxels, device="cpu", threads=2, seconds=1.0, notes=["split b 200"])


def test_every_voxel_lands_in_its_place(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    paths = write_maps(store, tmp_path / "out")
    assert paths == map_paths(tmp_path / "out", "sub-01", "nlls", KEYS)
    assert paths[1].name == "sub-01_model-ivim_desc-nlls_param-f_dwimap.nii.gz"
    with EstimateStore(store) as estimates:
        for key, path in zip(KEYS, paths, strict=True):
            image = nib.load(path)
            volume = np.asanyarray(image.dataobj)
            assert volume.dtype == (np.uint8 if key == "outcome" else np.float32)
            np.testing.assert_array_equal(volume[tuple(PLACES.T)], estimates[key])
            volume[tuple(PLACES.T)] = 0
            assert not volume.any(), "outside the mask everything is 0"
            np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
            assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (0, 2)


def test_maps_that_a_method_does_not_have_are_not_written(tmp_path: Path) -> None:
    """A mono-exponential method has S0 and D alone."""
    absent = dict.fromkeys(("f", "Dstar", "fstd", "dstarstd"))
    paths = write_maps(make_store(tmp_path, **absent), tmp_path / "out")
    assert paths == map_paths(tmp_path / "out", "sub-01", "nlls", ["s0", "d", "rmse", "outcome", "dstd"])
    assert len(list((tmp_path / "out").glob("*_dwimap.nii.gz"))) == 5
    np.testing.assert_array_equal(np.asarray(nib.load(paths[1]).dataobj)[tuple(PLACES.T)], [100, 200, 300, np.nan])


@pytest.mark.parametrize(("slab", "run"), [(1, 1), (7, 2), (60, 3), (100, 1)])
def test_slabs_and_runs_change_nothing(slab: int, run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path)
    whole = write_maps(store, tmp_path / "whole")
    monkeypatch.setattr(maps, "_SLAB", slab)
    monkeypatch.setattr(maps, "_RUN", run)
    for path, expected in zip(write_maps(store, tmp_path / "out"), whole, strict=True):
        with gzip.open(path) as ours, gzip.open(expected) as theirs:
            assert ours.read() == theirs.read()


def test_sidecars(tmp_path: Path) -> None:
    paths = write_maps(make_store(tmp_path), tmp_path / "out")
    units = {"s0": "arbitrary", "f": "1", "d": "mm^2/s", "dstar": "mm^2/s", "rmse": "arbitrary"}
    for path, unit in zip(paths, units.values(), strict=False):
        about = json.loads(Path(str(path).replace(".nii.gz", ".json")).read_text(encoding="utf-8"))
        assert about["Units"] == unit and about["Description"]
        assert about["Model"]["Parameters"] == {"FitMethod": "nlls", "bounds": [0, 1]} and about["FitMethod"] == "nlls"
        assert about["bvalues"] == [0, 50, 800] and about["options"] == {"bounds": [0, 1]}
        assert (about["input"], about["input_sha256"]) == ("sub-01_dwi.nii.gz", "ab12")
        assert about["version"].startswith("ivimsc ") and len(about["signals_sha256"]) == 64
        assert about["notes"] == ["split b 200"]
    outcome = json.loads(Path(str(paths[5]).replace(".nii.gz", ".json")).read_text(encoding="utf-8"))
    assert outcome["Levels"] == {str(int(o)): o.sentence for o in Outcome}
    folder = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert folder["DatasetType"] == "derivative" and folder["GeneratedBy"][0]["Name"] == "ivimsc"
    assert len(os.listdir(tmp_path / "out")) == 2 * len(paths) + 1


def test_only_what_the_contract_names(tmp_path: Path) -> None:
    store = make_store(tmp_path, iterations=np.ones(4, np.uint8), gap=np.ones(4, np.float32))
    names = [path.name for path in write_maps(store, tmp_path / "out")]
    assert any("param-gap_" in name for name in names) and not any("iterations" in name for name in names)


def test_nothing_is_overwritten_and_nothing_else_touched(tmp_path: Path) -> None:
    store, out = make_store(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "dataset_description.json").write_text("mine")
    (out / "other.txt").write_text("mine too")
    last = map_paths(out, "sub-01", "nlls", KEYS)[-1]
    last.write_text("precious")
    with pytest.raises(InputError, match=r"param-dstarstd_dwimap\.nii\.gz: found an existing file.*force"):
        write_maps(store, out)
    assert sorted(os.listdir(out)) == sorted(["dataset_description.json", "other.txt", last.name])
    assert last.read_text() == "precious"
    write_maps(store, out, force=True)
    assert nib.load(last).shape == SHAPE
    assert (out / "dataset_description.json").read_text() == "mine"
    assert (out / "other.txt").read_text() == "mine too"


def test_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure in the last map takes the others back, the disk full among the reasons."""
    store, out = make_store(tmp_path), tmp_path / "out"
    write, calls = maps._write_slab, []

    def fails(*given) -> None:
        calls.append(1)
        if len(calls) == 9:
            raise OSError(28, "No space left on device")
        write(*given)

    monkeypatch.setattr(maps, "_write_slab", fails)
    with pytest.raises(IvimscError, match="No space left on device") as error:
        write_maps(store, out)
    assert not isinstance(error.value, InputError)
    assert len(calls) == 9 and os.listdir(out) == []


def test_bad_output_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path)
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="expected a folder that can be written to"):
            write_maps(store, out)
    assert (tmp_path / "file").read_text() == "precious"
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(InputError, match="out: Permission denied, expected a folder that can be written to"):
        write_maps(store, tmp_path / "out")


def test_an_index_outside_the_volume(tmp_path: Path) -> None:
    store = make_store(tmp_path, index=np.array([[5, 0, 0], [0, 0, 0]], np.int32))
    with pytest.raises(InputError, match=r"found an index outside the volume, expected all within \(5, 4, 3\)"):
        write_maps(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()  # the store is refused when it is opened


def test_not_an_estimate_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.h5: found no such file"):
        write_maps(tmp_path / "none.h5", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("sub-01_dwi.nii.gz", "sub-01"),
        ("a/b/scan.nii", "scan"),
        ("placenta.h5", "placenta"),
        ("sub-01_dwi_nlls.h5", "sub-01"),
        ("v1.2_dwi.nii.gz", "v1.2"),
    ],
)
def test_stems(name: str, stem: str) -> None:
    assert map_stem(name, "nlls") == stem


def test_from_series_to_maps_and_back(tmp_path: Path) -> None:
    """Oblique series, packed under a mask, one estimate per voxel equal to its first signal: the map is the volume."""
    data = np.random.default_rng(0).integers(1, 1000, (6, 5, 4, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "a_dwi.nii.gz")
    inside = np.random.default_rng(1).random((6, 5, 4)) > 0.5
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), AFFINE), tmp_path / "m.nii.gz")
    voxels = read_series(
        tmp_path / "a_dwi.nii.gz", write_bval(tmp_path / "a.bval", [0, 50, 800]), tmp_path / "m.nii.gz"
    )
    with PartFile.open(tmp_path / "a_nlls.h5", PartFile.header(voxels, "nlls", {})) as part:
        part.append(Estimates(*[voxels.signals[:, 0]] * 5, np.ones(len(voxels), np.uint8)))
        part.finish(voxels, device="cpu", threads=1, seconds=0.0)
    image = nib.load(write_maps(tmp_path / "a_nlls.h5", tmp_path / "out")[0])
    np.testing.assert_array_equal(image.get_fdata(), np.where(inside, data[..., 0], 0))
    np.testing.assert_allclose(image.affine, nib.load(tmp_path / "a_dwi.nii.gz").affine, atol=1e-5)
