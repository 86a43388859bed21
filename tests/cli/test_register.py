"""``ivimsc register``: everything beside the result, and bad input in one line."""

import json

import nibabel as nib
import numpy as np
import pytest

from ivimsc.cli import main
from tests.test_register import phantom

pytest.importorskip("SimpleITK", reason="the extra [register] is not installed")


@pytest.fixture
def series(tmp_path):
    volume, zooms = phantom((32, 32, 4), [0, 100, 400])
    nib.save(nib.Nifti1Image(volume, np.diag([*zooms, 1.0])), tmp_path / "scan.nii.gz")
    (tmp_path / "scan.bval").write_text("0 100 400\n")
    np.savetxt(tmp_path / "scan.bvec", np.eye(3))
    return tmp_path


def run(series, *more, out="reg.nii.gz"):
    return main(["register", str(series / "scan.nii.gz"), "--bval", str(series / "scan.bval"), "--out", str(series / out), *map(str, more)])  # fmt: skip


def test_everything_is_written_beside_the_result(series, capsys):
    assert run(series, "--bvec", series / "scan.bvec") == 0
    names = {path.name for path in series.iterdir()}
    assert {
        "reg.nii.gz",
        "reg.bval",
        "reg.bvec",
        "reg_transforms.json",
        "reg_displacement.csv",
        "reg_displacement.png",
    } <= names
    image = nib.load(series / "reg.nii.gz")
    assert image.shape == (32, 32, 4, 3) and image.get_data_dtype() == np.float32
    assert np.shape(json.loads((series / "reg_transforms.json").read_text())["matrices"]) == (3, 1, 4, 4)
    assert "kept" in capsys.readouterr().out
    assert run(series) == 2  # exists
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--passes", "3"], "6 to 10"),
        (["--bvec", "missing.bvec"], "missing.bvec"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_bad_input_is_one_line(series, capsys, more, says):
    assert run(series, *more) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("register:")]
    assert len(error) == 1 and says in error[0]
    assert not (series / "reg.nii.gz").exists()
