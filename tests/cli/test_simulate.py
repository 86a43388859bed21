"""``ivimsc simulate``: what it writes, and bad input in one line with nothing written."""

import nibabel as nib
import numpy as np
import pytest

from ivimsc.simulate import simulate_phantom
from ivimsc.store import VoxelStore
from tests.conftest import TEN

SMALL = ("--phantom", "uniform", "--voxels", 500)


def test_the_store_says_what_it_is(ivimsc, tmp_path):
    path = tmp_path / "s.h5"
    assert ivimsc("simulate", *SMALL, "--snr", 40, "--seed", 7, "--bvalues", "0,50,100,500", "--out", path) == 0
    with VoxelStore(path) as store:
        assert len(store) == 500
        np.testing.assert_array_equal(store.bvalues, [0, 50, 100, 500])
        assert store.attrs["snr"] == 40 and store.attrs["seed"] == 7 and store.attrs["noise"] == "rician"
        expected = simulate_phantom("uniform", [0, 50, 100, 500], snr=40, seed=7, voxels=500)
        np.testing.assert_array_equal(store.read(0, 500), expected.signals)
        assert store.truth.keys() == expected.truth.keys()
        for key, values in expected.truth.items():
            np.testing.assert_array_equal(store.truth[key], values)


def test_threads_do_not_change_a_byte_and_seeds_do(ivimsc, tmp_path):
    found = []
    for name, more in {"one": ("--threads", 1), "all": (), "seed": ("--seed", 1)}.items():
        assert ivimsc("simulate", "--phantom", "uniform", "--voxels", 20_000, *more, "--out", tmp_path / name) == 0
        with VoxelStore(tmp_path / name) as store:
            found.append(store.signals[:])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.any(np.all(found[0] == found[2], axis=1))


def test_existing_files_stay_without_force(ivimsc, refused, tmp_path):
    words = ("simulate", *SMALL, "--out", tmp_path / "s.h5")
    assert ivimsc(*words) == 0
    refused(*words, says=["s.h5", "--force"])
    refused(*words, "--seed", 3, says=["s.h5", "--force"])
    assert ivimsc(*words, "--seed", 3, "--force") == 0


def test_nifti_is_fitted_like_the_store(ivimsc, tmp_path):
    folder = tmp_path / "nifti"
    words = ("simulate", "--phantom", "uniform", "--shape", "9,8,3", "--out", tmp_path / "s.h5", "--nifti", folder)
    assert ivimsc(*words) == 0
    dwi, bval = next(folder.glob("*_dwi.nii.gz")), next(folder.glob("*.bval"))
    np.testing.assert_array_equal(np.loadtxt(bval), TEN)
    assert nib.load(dwi).shape == (9, 8, 3, 10)
    assert ivimsc("fit", dwi, "--bval", bval, "--out", tmp_path / "a") == 0
    assert ivimsc("fit", tmp_path / "s.h5", "--out", tmp_path / "b") == 0
    a, b = (nib.load(next((tmp_path / out).glob("*param-f_*.nii.gz"))).get_fdata() for out in "ab")
    np.testing.assert_allclose(a, b, atol=1e-5)  # the series is float32 too, so no rounding lies between


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--phantom", "nope"), "uniform, placenta, brain, abdomen"),
        (("--voxels", 0), "--voxels"),
        (("--voxels", -5), "--voxels"),
        (("--shape", "3,4"), ["--shape", "3,4"]),
        (("--shape", "3,0,4"), "--shape"),
        (("--shape", "a,b,c"), "a,b,c"),
        (("--snr", 0), "--snr"),
        (("--snr", "nan"), "--snr"),
        (("--noise", "pink"), "rician, gaussian, none"),
        (("--seed", -1), "--seed"),
        (("--threads", 0), "--threads"),
        (("--bvalues", "0,x"), "x"),
        (("--bvalues", "0,-10"), "-10"),
        (("--bvalues", ""), "expected"),
    ],
)
def test_bad_options(refused, tmp_path, words, says):
    refused("simulate", "--phantom", "uniform", *words, "--out", tmp_path / "s.h5", says=says)


def test_bad_places(refused, tmp_path):
    refused("simulate", *SMALL, "--out", tmp_path / "none" / "s.h5", says=["none", "expected"])
    refused("simulate", *SMALL, "--out", tmp_path, says=["folder", "expected"])


def test_a_file_in_place_of_the_folder(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused("simulate", *SMALL, "--out", tmp_path / "file" / "s.h5", says=["file", "expected"])
