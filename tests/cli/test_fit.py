"""``ivimsc fit``: results, subsets, overwriting, and every bad input in one line with nothing written."""

import hashlib
import json
import os

import h5py
import nibabel as nib
import numpy as np
import pytest

from ivimsc.device.launch import usable_cores
from tests.conftest import TEN

KEYS = ("s0", "f", "d", "dstar", "rmse", "outcome", "fstd", "dstd", "dstarstd")


def files(folder):
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def fit(ivimsc, series, *more, out="out", method="nlls"):
    return ivimsc(
        "fit",
        series / "scan_dwi.nii.gz",
        "--bval",
        series / "scan.bval",
        "--method",
        method,
        "--out",
        series / out,
        *more,
    )


def map_of(series, key, out="out", method="nlls"):
    return nib.load(series / out / f"scan_model-ivim_desc-{method}_param-{key}_dwimap.nii.gz")


@pytest.mark.parametrize("method", ["nlls", "segmented"])
def test_maps_and_store_are_written_with_the_geometry_of_the_input(ivimsc, series, method):
    assert fit(ivimsc, series, "--mask", series / "mask.nii.gz", method=method) == 0
    source, mask = nib.load(series / "scan_dwi.nii.gz"), nib.load(series / "mask.nii.gz").get_fdata() > 0
    for key in KEYS:
        image = map_of(series, key, method=method)
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-6)
        assert image.get_data_dtype() == (np.uint8 if key == "outcome" else np.float32)
        assert image.shape == source.shape[:3]
        values = np.asarray(image.dataobj)
        assert np.all(values[~mask] == 0) and np.any(values[mask] != 0)
        described = json.loads((series / "out" / f"scan_model-ivim_desc-{method}_param-{key}_dwimap.json").read_text())
        assert described["FitMethod"] and described["Model"]
    assert np.count_nonzero(mask) == 96 and "96 voxels in " in ivimsc.out
    with h5py.File(series / "out" / f"scan_{method}.h5") as file:
        np.testing.assert_array_equal(values[tuple(file["index"][:].T)], file[f"estimates/{KEYS[-1]}"][:])


def test_what_ran_where_is_printed(ivimsc, series):
    assert fit(ivimsc, series, "--threads", 1, method="segmented") == 0
    assert "segmented on cpu, 1 thread, b = " in ivimsc.out
    assert "split b: 200 s/mm²" in ivimsc.out
    assert "outcome 1: converged" in ivimsc.out
    assert "\r" not in ivimsc.err and "\x1b" not in ivimsc.err + ivimsc.out  # no progress bar in a log


def test_a_subset_of_bvalues_is_used_and_said(ivimsc, series):
    assert fit(ivimsc, series, "--bvalues", "20,50,150,300,500") == 0
    assert "b = 20, 50, 150, 300, 500 s/mm²" in ivimsc.out
    with h5py.File(series / "out" / "scan_nlls.h5") as file:
        np.testing.assert_array_equal(file.attrs["bvalues"], [20, 50, 150, 300, 500])


def test_results_are_not_overwritten_without_force_and_others_are_left_alone(ivimsc, series):
    assert fit(ivimsc, series) == 0
    note = series / "out" / "note.txt"
    note.write_text("mine")
    before = {path: path.read_bytes() for path in (series / "out").iterdir()}
    assert fit(ivimsc, series) == 2
    assert "--force" in ivimsc.error
    assert {path: path.read_bytes() for path in (series / "out").iterdir()} == before
    assert fit(ivimsc, series, "--force") == 0
    assert note.read_text() == "mine"


def test_a_store_gives_the_same_maps_as_its_series(ivimsc, series):
    assert fit(ivimsc, series) == 0
    assert ivimsc("pack", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--out", series / "scan.h5") == 0
    assert ivimsc("fit", series / "scan.h5", "--out", series / "other") == 0
    for key in KEYS:
        np.testing.assert_array_equal(
            np.asarray(map_of(series, key).dataobj), np.asarray(map_of(series, key, "other").dataobj)
        )
    assert ivimsc("fit", series / "scan.h5", "--out", series / "bare", "--no-maps") == 0
    assert files(series / "bare") == ["scan_nlls.h5"]
    assert ivimsc("maps", series / "bare" / "scan_nlls.h5", "--out", series / "bare") == 0
    np.testing.assert_array_equal(
        np.asarray(map_of(series, "f").dataobj), np.asarray(map_of(series, "f", "bare").dataobj)
    )


def test_threads_and_chunks_do_not_change_a_byte(ivimsc, series):
    contents = []
    for threads, chunk in ((1, 7), (usable_cores(), 64), (1, 100_000)):
        assert fit(ivimsc, series, "--threads", threads, "--chunk", chunk, "--no-maps", out=f"o{chunk}") == 0
        with h5py.File(series / f"o{chunk}" / "scan_nlls.h5") as file:
            contents.append({key: file[f"estimates/{key}"][:].tobytes() for key in KEYS})
    assert contents[0] == contents[1] == contents[2]


def test_mostly_bad_voxels_are_exit_code_3_with_a_warning(ivimsc, series):
    image = nib.load(series / "scan_dwi.nii.gz")
    data = np.asarray(image.dataobj).copy()
    data[1:] = -1
    nib.save(nib.Nifti1Image(data, image.affine), series / "scan_dwi.nii.gz")
    assert fit(ivimsc, series) == 3
    assert "warning" in ivimsc.err and "outcome 5" in ivimsc.out
    outcome = np.asarray(map_of(series, "outcome").dataobj)
    assert np.all(outcome[1:] == 5) and np.all(np.isnan(np.asarray(map_of(series, "f").dataobj)[1:]))


class TestBadInput:
    """Each: exit code 2, one line that says what was found and expected, nothing written, the input untouched."""

    def refused(self, ivimsc, series, *more, says, method="nlls", input="scan_dwi.nii.gz", bval="scan.bval"):
        before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in series.iterdir() if path.is_file()}
        words = ["fit", series / input, "--method", method, "--out", series / "out", *more]
        words += ["--bval", series / bval] if bval else []
        assert ivimsc(*words) == 2
        for part in [says] if isinstance(says, str) else says:
            assert part in ivimsc.error, ivimsc.error
        after = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in series.iterdir() if path.is_file()}
        assert after == before
        assert files(series / "out") == []

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("0 10 20", ["3", "10"]),
            ("0 10 20 50 80 100 150 200 300 abc", "abc"),
            ("0 10 20 50 80 100 150 200 300 -500", "-500"),
            ("0 10 20 50 80 100 150 200 300 nan", "nan"),
            ("", "expected"),
        ],
        ids=["count", "text", "negative", "nan", "empty"],
    )
    def test_bval(self, ivimsc, series, text, says):
        (series / "scan.bval").write_text(text)
        self.refused(ivimsc, series, says=["scan.bval", *([says] if isinstance(says, str) else says)])

    def test_missing_bval(self, ivimsc, series):
        self.refused(ivimsc, series, says=["other.bval", "expected"], bval="other.bval")
        self.refused(ivimsc, series, says=["--bval", "expected"], bval=None)

    @pytest.mark.parametrize(("bvalues", "method"), [("0,50,100", "nlls"), ("0,10,20,50,100", "segmented")])
    def test_too_few_bvalues(self, ivimsc, series, bvalues, method):
        self.refused(ivimsc, series, "--bvalues", bvalues, method=method, says="expected at least")

    def test_a_bvalue_that_is_not_there(self, ivimsc, series):
        self.refused(ivimsc, series, "--bvalues", "0,50,333,500", says=["333", "300, 500"])

    def test_mask_of_another_shape(self, ivimsc, series):
        nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), series / "mask.nii.gz")
        self.refused(ivimsc, series, "--mask", series / "mask.nii.gz", says=["mask.nii.gz", "found", "expected"])

    def test_mask_of_another_affine(self, ivimsc, series):
        mask = nib.load(series / "mask.nii.gz")
        nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), np.diag([2, 2, 2, 1.0])), series / "mask.nii.gz")
        self.refused(ivimsc, series, "--mask", series / "mask.nii.gz", says=["mask.nii.gz", "affine"])

    def test_3d_input(self, ivimsc, series):
        self.refused(ivimsc, series, input="mask.nii.gz", says=["mask.nii.gz", "found", "expected"])

    @pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
    def test_truncated_gz(self, ivimsc, series, truncate, keep):
        truncate(series / "scan_dwi.nii.gz", keep)
        self.refused(ivimsc, series, says=["scan_dwi.nii.gz", "found", "expected"])

    def test_not_nifti(self, ivimsc, series):
        (series / "text.nii").write_text("I am no NIfTI file. " * 100)
        self.refused(ivimsc, series, input="text.nii", says=["text.nii", "expected"])
        (series / "text.nii.gz").write_text("nor gzip")
        self.refused(ivimsc, series, input="text.nii.gz", says=["text.nii.gz", "expected"])
        self.refused(ivimsc, series, input="missing.nii.gz", says=["missing.nii.gz", "expected"])

    def test_foreign_and_truncated_hdf5(self, ivimsc, series, truncate):
        with h5py.File(series / "foreign.h5", "w") as file:
            file["x"] = np.ones(10)
        self.refused(ivimsc, series, input="foreign.h5", bval=None, says=["foreign.h5", "found", "expected"])
        truncate(series / "foreign.h5")
        self.refused(ivimsc, series, input="foreign.h5", bval=None, says=["foreign.h5", "found", "expected"])
        (series / "text.h5").write_text("no HDF5")
        self.refused(ivimsc, series, input="text.h5", bval=None, says=["text.h5", "found", "expected"])

    def test_a_store_takes_no_bval(self, ivimsc, series):
        self.refused(ivimsc, series, input="x.h5", says=["--bval", "voxel store"])

    def test_out_is_a_file(self, ivimsc, series):
        (series / "out").write_text("a file")
        assert fit(ivimsc, series) == 2
        assert "found a file, expected a folder" in ivimsc.error
        assert (series / "out").read_text() == "a file"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_out_is_not_writable(self, ivimsc, series):
        series.chmod(0o555)
        self.refused(ivimsc, series, says="not writable")

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["--device", "cuda"], "cuda"),
            (["--device", "tpu"], "expected auto, cpu or cuda"),
            (["--method", "magic"], "segmented, nlls"),
            (["--set", "nonsense=1"], "max_iterations"),
            (["--set", "max_iterations"], "KEY=VALUE"),
            (["--set", "max_iterations=many"], "many"),
            (["--threads", "0"], "--threads"),
            (["--threads", "x"], "threads"),
            (["--nonsense"], "--nonsense"),
        ],
    )
    def test_usage(self, ivimsc, series, words, says):
        self.refused(ivimsc, series, *words, says=says)

    def test_unknown_command_lists_the_known_ones(self, ivimsc):
        assert ivimsc("fti") == 2
        assert "fit, simulate" in ivimsc.error

    def test_missing_out(self, ivimsc, series):
        assert ivimsc("fit", series / "scan_dwi.nii.gz") == 2
        assert "--out" in ivimsc.error


@pytest.mark.parametrize("b0", [5.0, 20.0])
def test_the_lowest_bvalue_is_told_when_it_is_not_0(ivimsc, series, b0):
    (series / "scan.bval").write_text(" ".join(f"{b:g}" for b in [b0, *(TEN[1:] + 20)]))
    assert fit(ivimsc, series) == 0
    assert f"{b0:g}" in ivimsc.out and "b0" in ivimsc.out
