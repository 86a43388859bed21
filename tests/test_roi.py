"""``ivimsc roi``: the table holds numpy's statistics of the maps, and the fit of the mean curves."""

import csv

import numpy as np
import pytest

import ivimsc
from ivimsc.cli import main
from ivimsc.fit import FitJob, fit_file
from ivimsc.nifti import read_volume, write_volume
from ivimsc.roi import RoiJob, region_values, run_roi
from ivimsc.simulate import simulate_phantom, write_nifti
from ivimsc.store import EstimateStore, VoxelStore, write_voxels
from ivimsc.voxels import Geometry


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """p.h5: placenta phantom, fitted by nlls and segmented; n/: the same as NIfTI with labels and their names."""
    out = tmp_path_factory.mktemp("roi")
    voxels = simulate_phantom("placenta", snr=40, shape=(32, 32, 4))
    write_voxels(out / "p.h5", voxels)
    write_nifti(voxels, out / "n", stem="p")
    for method in ("nlls", "segmented"):
        fit_file(FitJob(out / "p.h5", method, out, maps=False))
    return out


LABELS = "n/p_dseg.nii.gz"


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {(row["estimates"], row["region"], row["map"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def rows(folder):
    job = RoiJob([folder / "p_nlls.h5", folder / "p_segmented.h5"], folder / LABELS, folder / "t.csv", signals=folder / "p.h5")  # fmt: skip
    run_roi(job)
    return rows_of(folder / "t.csv")


@pytest.mark.parametrize("key", ["s0", "f", "d", "dstar", "fstd"])
def test_statistics_are_numpys(folder, rows, key):
    labels, _ = read_volume(folder / LABELS)
    with EstimateStore(folder / "p_nlls.h5") as fit, VoxelStore(folder / "p.h5") as voxels:
        values, outcome, place = fit[key].astype(np.float64), fit["outcome"], tuple(fit.index[:].T)
        code = next(k for k, name in voxels.tissue_names.items() if name == "placenta rim")
    here = labels[place] == code
    counted = values[here & np.isin(outcome, [1] if key == "dstar" else [1, 2, 4]) & np.isfinite(values)]
    row = rows["nlls", "placenta rim", key]
    assert (int(row["voxels"]), int(row["n"])) == (here.sum(), len(counted))
    expected = (counted.mean(), counted.std(ddof=1), np.median(counted), *np.quantile(counted, (0.25, 0.75)))
    found = [float(row[name]) for name in ("mean", "sd", "median", "q25", "q75")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # seven digits are written
    assert float(row["share_converged"]) == pytest.approx(np.mean(outcome[here] == 1), rel=1e-5)
    shares = [float(value) for name, value in row.items() if name.startswith("share_")]
    assert len(shares) == 8 and sum(shares) == pytest.approx(1, abs=1e-5)


def test_the_mean_curve_is_that_of_the_region_fitted_alone(folder, rows):
    labels, _ = read_volume(folder / LABELS)
    with VoxelStore(folder / "p.h5") as voxels:
        code = next(k for k, name in voxels.tissue_names.items() if name == "placenta rim")
        mean = voxels.signals[:][labels[tuple(voxels.index[:].T)] == code].astype(np.float64).mean(axis=0)
        for method in ("nlls", "segmented"):
            expected = ivimsc.fit_signals(mean, voxels.bvalues, method)
            for name, key in (("f", "f"), ("D", "d"), ("Dstar", "dstar")):
                row = rows[method, "placenta rim", key]
                assert float(row["curve"]) == pytest.approx(float(getattr(expected, name)), rel=1e-4)
                assert float(row["curve_sd"]) == pytest.approx(float(getattr(expected, f"{key}std")), rel=1e-3)
            assert int(row["curve_outcome"]) == expected.outcome


def test_the_series_with_the_same_mask_gives_the_same_curves(folder, rows, capsys):
    """A fit of the series itself, by the command line, with the names beside the labels."""
    n = folder / "n"
    series = [str(n / "p_dwi.nii.gz"), "--bval", str(n / "p_dwi.bval"), "--mask", str(n / "p_mask.nii.gz")]
    assert main(["fit", *series, "--out", str(folder / "o"), "--no-maps"]) == 0
    words = [
        "roi",
        str(folder / "o" / "p_nlls.h5"),
        "--labels",
        str(folder / LABELS),
        "--out",
        str(folder / "o" / "r.csv"),
    ]
    assert main([*words, "--signals", *series]) == 0
    out = capsys.readouterr().out
    assert "placenta rim" in out and "nlls: mean curve" in out and f"table: {folder / 'o' / 'r.csv'}" in out
    found = rows_of(folder / "o" / "r.csv")
    for region in ("placenta core", "all"):  # the order of the voxels differs, and with it the last digits of sums
        assert float(found["nlls", region, "f"]["curve"]) == pytest.approx(float(rows["nlls", region, "f"]["curve"]), rel=1e-4)  # fmt: skip
    assert main(words) == 2 and "--force" in capsys.readouterr().err
    before = (folder / "o" / "r.csv").read_bytes()
    assert main([*words, "--force", "--signals", str(n / "p_dwi.nii.gz"), "--bval", str(n / "p_dwi.bval")]) == 2
    assert "found other signals" in capsys.readouterr().err  # without the mask
    assert (folder / "o" / "r.csv").read_bytes() == before


def test_another_method_and_its_options_for_the_mean_curves(folder, tmp_path):
    job = RoiJob([folder / "p_nlls.h5"], folder / LABELS, tmp_path / "t.csv", signals=folder / "p.h5", method="adc",
                 settings={"b_range": "200,1000"})  # fmt: skip
    rows = {(row.region, row.key): row for row in run_roi(job)}
    with VoxelStore(folder / "p.h5") as voxels:
        high = voxels.bvalues >= 200
        mean = voxels.signals[:].mean(axis=0, dtype=np.float64)[high]
    slope = -np.polyfit(voxels.bvalues[high], np.log(mean), 1)[0]
    assert rows["all", "d"].curve == pytest.approx(slope, rel=0.05)  # of logarithms, with other weights
    assert np.isnan(rows["all", "f"].curve)


def test_values_by_region_are_those_that_count(folder):
    with EstimateStore(folder / "p_nlls.h5") as fit:
        inside = {"some": np.arange(len(fit)) < 100}
        found = region_values(fit, inside, "dstar")["some"]
        expected = fit["dstar"][:100][fit["outcome"][:100] == 1]
    np.testing.assert_array_equal(found, expected.astype(np.float64))


def bad_labels(folder, tmp_path, kind):
    volume, geometry = read_volume(folder / LABELS)
    if kind == "shape":
        volume = volume[:-1]
        geometry = Geometry(volume.shape, geometry.affine, zooms=geometry.zooms)
    if kind == "affine":
        mirrored = geometry.affine @ np.diag([-1.0, 1, 1, 1])
        geometry = Geometry(volume.shape, mirrored, mirrored, mirrored, 1, 1, geometry.zooms)
    write_volume(tmp_path / "l.nii.gz", volume * (kind != "empty"), geometry)
    return tmp_path / "l.nii.gz"


@pytest.mark.parametrize(("kind", "says"), [
    ("shape", "found a volume of shape"),
    ("affine", "mm away from where"),
    ("empty", "found no label above 0"),
    ("same", "found twice, expected different estimate stores"),
    ("voxels", "expected"),
])  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_written(folder, tmp_path, capsys, kind, says):
    stores = [str(folder / "p_nlls.h5")] * (1 + (kind == "same"))
    if kind == "voxels":
        stores = [str(folder / "p.h5")]
    labels = bad_labels(folder, tmp_path, kind) if kind in ("shape", "affine", "empty") else folder / LABELS
    capsys.readouterr()
    assert main(["roi", *stores, "--labels", str(labels), "--out", str(tmp_path / "new" / "r.csv")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and says in error[0]
    assert not (tmp_path / "new").exists()
