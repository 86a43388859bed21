"""The mean spectrum: what goes into it comes out of it."""

import csv

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.simulate import simulate_phantom
from ivimsc.store import EstimateStore, write_voxels


@pytest.fixture
def fitted(tmp_path):
    voxels = simulate_phantom("placenta", snr=50, shape=(32, 32, 3))
    write_voxels(tmp_path / "v.h5", voxels)
    assert main(["fit", str(tmp_path / "v.h5"), "--method", "ista", "--out", str(tmp_path), "--no-maps"]) == 0
    assert main(["fit", str(tmp_path / "v.h5"), "--method", "nlls", "--out", str(tmp_path), "--no-maps"]) == 0
    return tmp_path


def test_spectra_add_up_to_1_and_give_the_mean_f_of_their_region(fitted):
    words = ["spectrum", str(fitted / "v_ista.h5"), "--out", str(fitted / "s"), "--labels", str(fitted / "v.h5")]
    assert main(words) == 0
    with open(fitted / "s" / "v_ista_spectrum.csv", newline="") as file:
        rows = list(csv.reader(file))
    names, part = rows[0][2:], np.array([row[0] for row in rows[1:]])
    values = np.array([[float(cell) for cell in row[2:]] for row in rows[1:]])
    np.testing.assert_allclose(values.sum(axis=0), 1, atol=1e-4)  # six digits of 600 atoms
    assert "placenta core" in names and (fitted / "s" / "v_ista_spectrum.png").stat().st_size > 10_000
    with EstimateStore(fitted / "v_ista.h5") as store:
        f = store["f"]
    assert values[part == "D*", names.index("all")].sum() == pytest.approx(np.nanmean(f), abs=1e-3)
    assert main(words) == 2  # exists


@pytest.mark.parametrize(
    ("store", "more", "says"),
    [("v_nlls.h5", [], "no spectrum"), ("v_ista.h5", ["--labels", "none.nii.gz"], "none.nii.gz")],
)
def test_bad_input_is_one_line(fitted, capsys, store, more, says):
    capsys.readouterr()
    assert main(["spectrum", str(fitted / store), "--out", str(fitted / "s"), *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and says in error[0]
