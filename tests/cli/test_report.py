"""``ivimsc report`` and ``ivimsc fit --report``: one page, or one line and nothing written."""

import h5py
import numpy as np
import pytest

from tests.report.conftest import (
    made,  # noqa: F401, data with known numbers
    repeated_series,  # noqa: F401
)


def test_a_report_of_a_store(ivimsc, made, tmp_path):  # noqa: F811
    out = tmp_path / "report.html"
    assert ivimsc("report", made.store, *made.paths, "--out", out) == 0
    assert ivimsc.out.startswith(f"report: {out} (") and out.stat().st_size < 5e6
    assert "Method ista" in out.read_text(encoding="utf-8")


def test_a_report_of_a_series_with_labels(ivimsc, repeated_series, tmp_path):  # noqa: F811
    folder, out = repeated_series.folder, tmp_path / "report.html"
    words = ("report", folder / "scan.nii.gz", repeated_series.path, "--bval", folder / "scan.bval", "--out", out)
    assert ivimsc(*words, "--labels", folder / "labels.nii.gz") == 0
    text = out.read_text(encoding="utf-8")
    assert "label 7" in text and "Single images" in text


def test_what_does_not_belong_together_is_refused(refused, made, repeated_series, tmp_path):  # noqa: F811
    folder, out = repeated_series.folder, tmp_path / "report.html"
    scan, bval = folder / "scan.nii.gz", folder / "scan.bval"
    refused(
        "report", made.store, repeated_series.path, "--out", out, says=["found the fit of other signals", "scan.h5"]
    )
    refused("report", scan, repeated_series.path, "--out", out, says=["--bval: found none", "scan.nii.gz"])
    refused("report", made.store, *made.paths, "--bval", bval, "--out", out, says="--bval: found")
    words = ("report", scan, repeated_series.path, "--bval", bval, "--out", out)
    refused(*words, "--labels", folder / "other_labels.nii.gz", says=["other_labels.nii.gz", "expected (9, 7, 4)"])
    refused(*words, "--volumes", "0-20", says="found the fit of other signals")
    refused("report", made.store, made.store, "--out", out, says="expected 'ivimsc-estimates'")
    refused("report", made.store, *made.paths, "--out", tmp_path / "no" / "report.html", says="found no folder")
    out.write_text("mine")
    refused("report", made.store, *made.paths, "--out", out, says=["found an existing file", "--force"])


def test_a_hundred_million_voxels_that_the_file_cannot_hold_are_refused_before_they_are_read(refused, made, tmp_path):  # noqa: F811
    path, n = tmp_path / "huge_nlls.h5", 100_000_000
    path.write_bytes(made.paths[0].read_bytes())
    with h5py.File(path, "r+") as file:
        del file["index"]
        for key in list(file["estimates"]):
            kind = file["estimates"][key].dtype
            del file["estimates"][key]
            file.create_dataset(f"estimates/{key}", (n,), kind, chunks=(65536,))  # sparse: no byte of it is on disk
        file.create_dataset("index", (n, 3), np.int32, chunks=(65536, 3))
    says = ["huge_nlls.h5", "beyond its", "expected a store of ivimsc"]
    refused("report", made.store, path, "--out", tmp_path / "report.html", says=says)


def test_fit_writes_its_report_beside_the_maps(ivimsc, refused, series, tmp_path):
    words = ("fit", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--mask", series / "mask.nii.gz")
    words += ("--out", tmp_path / "results", "--report")
    assert ivimsc(*words) == 0
    page = tmp_path / "results" / "scan_nlls_report.html"
    assert f"report:    {page}" in ivimsc.out and page.is_file()
    (tmp_path / "results" / "scan_nlls.h5").unlink()
    refused(*words, says=["scan_nlls_report.html", "--force"])


def test_curves_have_no_report(refused, tmp_path):
    (tmp_path / "curves.csv").write_text("name,0,50,100,200,500,800\na,1,0.9,0.8,0.7,0.5,0.4\n")
    refused(
        "fit", tmp_path / "curves.csv", "--out", tmp_path / "out", "--report", says="--report: found a table of curves"
    )


@pytest.mark.parametrize("word", ["--report", "--labels"])
def test_help_names_the_options(ivimsc, word):
    assert ivimsc("fit" if word == "--report" else "report", "--help") == 0
    assert word in ivimsc.out
