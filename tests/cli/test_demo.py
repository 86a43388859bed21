"""``ivimsc demo``: everything is there and said, and its table holds the errors of its stores."""

import csv
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from ivimsc.store import EstimateStore, VoxelStore


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo_out"
    done = subprocess.run([sys.executable, "-m", "ivimsc", "demo", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_everything_is_there_and_said(shown):
    out, said = shown
    expected = {
        "placenta.h5",
        "placenta_nlls.h5",
        "placenta_scdnn.h5",
        "placenta_scdnn.safetensors",
        "placenta_bayes.h5",
        "placenta.png",
        "placenta_errors.csv",
    }
    assert expected <= set(files(out))
    assert len([name for name in files(out) if name.endswith("_dwimap.nii.gz")]) == 30
    for word in (
        "placenta core",
        "constant guess",
        "Cramér-Rao bound",
        "smallest possible",
        "bayes",
        "nlls",
        "scdnn",
        "placenta.png",
    ):
        assert word in said


def test_the_picture_is_a_page_with_something_on_it(shown):
    picture = matplotlib.image.imread(shown[0] / "placenta.png")
    assert picture.shape[0] > 1000 and picture.shape[1] > 1000
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 500  # colours


def test_the_table_is_the_error_of_the_stores(shown):
    out, _ = shown
    with open(out / "placenta_errors.csv", encoding="utf-8") as file:
        rows = {(r["tissue"], r["method"], r["parameter"]): r for r in csv.DictReader(file)}
    with VoxelStore(out / "placenta.h5") as voxels, EstimateStore(out / "placenta_nlls.h5") as found:
        code = next(code for code, name in voxels.tissue_names.items() if name == "placenta core")
        inside = voxels.tissue == code
        error = (found["d"][inside].astype(float) - voxels.truth["d"][inside]) * 1e3
    row = rows["placenta core", "nlls", "D"]
    assert float(row["rmse"]) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert row["unit"] == "µm²/ms"
    # nlls is all but unbiased here: the median of its errors is that of the bound to about a fifth
    bound = float(rows["placenta core", "Cramér-Rao bound", "D"]["median"])
    assert 0.8 * bound < float(row["median"]) < 1.25 * bound


def test_an_earlier_demo_stays_without_force(shown, refused):
    out, _ = shown
    before = {path: path.read_bytes() for path in out.rglob("*")}
    refused("demo", "--out", out, says=["placenta.h5", "--force"])
    assert {path: path.read_bytes() for path in out.rglob("*")} == before


def test_out_is_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused("demo", "--out", tmp_path / "file", says=["file", "expected a folder"])
