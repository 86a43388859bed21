"""The mean spectrum: what goes into it comes out of it."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.errors import InputError
from ivimsc.nifti import write_volume
from ivimsc.simulate import simulate_phantom
from ivimsc.spectrum import mean_spectra, regions_of
from ivimsc.store import EstimateStore, write_voxels
from ivimsc.voxels import Geometry


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


class Fit:
    """As much of an estimate store as `mean_spectra` reads: three voxels, a dictionary of two D and one D*."""

    spectrum = (np.array([3.0, 1.0, 8.0]), np.array([0, 2, 1]), np.array([0, 2, 3, 3]))
    dictionary = SimpleNamespace(D=np.array([1e-3, 2e-3]), Dstar=np.array([0.05]))

    def __len__(self):
        return 3


def test_a_spectrum_is_the_mean_of_shares_over_the_voxels_that_have_one():
    """Not the sum of weights: a voxel counts the same however bright it is. The third voxel was not fitted."""
    regions = {
        "all": np.ones(3, bool),
        "first": np.array([True, False, False]),
        "third": np.array([False, False, True]),
    }
    found = mean_spectra(Fit(), regions)
    np.testing.assert_allclose(found["all"], [0.375, 0.5, 0.125], rtol=1e-15)
    np.testing.assert_allclose(found["first"], [0.75, 0, 0.25], rtol=1e-15)
    np.testing.assert_array_equal(found["third"], 0)


class Place:
    """As much of an estimate store as `regions_of` reads of a label volume: four voxels in a row of eight."""

    path = Path("fit.h5")
    geometry = Geometry((8, 1, 1), np.diag([2.0, 2, 3, 1]), zooms=(2.0, 2.0, 3.0))
    index = np.array([[1, 0, 0], [2, 0, 0], [5, 0, 0], [6, 0, 0]], np.int32)

    def __len__(self):
        return 4


@pytest.mark.parametrize("shape", [(8, 1, 1), (8, 1, 1, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_regions_of_labels_in_the_place_of_the_estimates(tmp_path, shape, dtype):
    labels = np.repeat([1, 2], 4).astype(dtype).reshape(shape)
    write_volume(tmp_path / "l.nii", labels, Place.geometry)
    regions = regions_of(Place(), tmp_path / "l.nii")
    np.testing.assert_array_equal(regions["label 1"], [True, True, False, False])
    np.testing.assert_array_equal(regions["label 2"], [False, False, True, True])


@pytest.mark.parametrize(
    ("affine", "first", "says"),
    [
        (np.array([[-2.0, 0, 0, 14], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]), 1, "mm away from where fit.h5 has it"),
        (np.diag([2.0, 2, 3, 1]), 1.5, "found the label 1.5, expected whole numbers"),
        (np.diag([2.0, 2, 3, 1]), np.nan, "found the label nan, expected whole numbers"),
    ],
)
def test_labels_of_another_place_and_of_no_whole_number_are_refused(tmp_path, affine, first, says):
    labels = np.where(np.arange(8) < 4, first, 2).astype(np.float32).reshape(8, 1, 1)
    write_volume(tmp_path / "l.nii", labels, Geometry((8, 1, 1), affine, zooms=(2.0, 2.0, 3.0)))
    with pytest.raises(InputError, match=f"l.nii: .*{says}"):
        regions_of(Place(), tmp_path / "l.nii")
