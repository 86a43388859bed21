"""simulate, pack, maps, info, demo: what they write, what they print, and bad input in one line with nothing written."""

import csv
import json
import os
import subprocess
import sys

import h5py
import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from ivimsc.store import EstimateStore, VoxelStore
from tests.conftest import TEN

SMALL = ("--phantom", "uniform", "--voxels", 500)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def refused(ivimsc, tmp_path):
    """refused(*words, says=…): exit code 2, one line with these parts, and not a file more or less than before."""

    def check(*words, says):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert ivimsc(*words) == 2
        for part in [says] if isinstance(says, str) else says:
            assert part in ivimsc.error, ivimsc.error
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    return check


class TestSimulate:
    def test_the_store_says_what_it_is(self, ivimsc, tmp_path):
        path = tmp_path / "s.h5"
        assert ivimsc("simulate", *SMALL, "--snr", 40, "--seed", 7, "--bvalues", "0,50,100,500", "--out", path) == 0
        with VoxelStore(path) as store:
            assert len(store) == 500
            np.testing.assert_array_equal(store.bvalues, [0, 50, 100, 500])
            assert store.attrs["snr"] == 40 and store.attrs["seed"] == 7 and store.attrs["noise"] == "rician"
            assert store.truth.keys() == {"s0", "f", "d", "dstar"}

    def test_threads_do_not_change_a_byte_and_seeds_do(self, ivimsc, tmp_path):
        found = []
        for name, more in {"one": ("--threads", 1), "all": (), "seed": ("--seed", 1)}.items():
            assert ivimsc("simulate", "--phantom", "uniform", "--voxels", 20_000, *more, "--out", tmp_path / name) == 0
            with VoxelStore(tmp_path / name) as store:
                found.append(store.signals[:])
        np.testing.assert_array_equal(found[0], found[1])
        assert not np.any(np.all(found[0] == found[2], axis=1))

    def test_existing_files_stay_without_force(self, ivimsc, refused, tmp_path):
        words = ("simulate", *SMALL, "--out", tmp_path / "s.h5")
        assert ivimsc(*words) == 0
        refused(*words, says=["s.h5", "--force"])
        refused(*words, "--seed", 3, says=["s.h5", "--force"])
        assert ivimsc(*words, "--seed", 3, "--force") == 0

    def test_nifti_is_fitted_like_the_store(self, ivimsc, tmp_path):
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
    def test_bad_options(self, refused, tmp_path, words, says):
        refused("simulate", "--phantom", "uniform", *words, "--out", tmp_path / "s.h5", says=says)

    def test_bad_places(self, refused, tmp_path):
        refused("simulate", *SMALL, "--out", tmp_path / "none" / "s.h5", says=["none", "expected"])
        refused("simulate", *SMALL, "--out", tmp_path, says=["folder", "expected"])

    def test_a_file_in_place_of_the_folder(self, refused, tmp_path):
        (tmp_path / "file").write_text("mine")
        refused("simulate", *SMALL, "--out", tmp_path / "file" / "s.h5", says=["file", "expected"])


class TestPackAndMaps:
    @pytest.fixture
    def packed(self, ivimsc, series):
        words = ("pack", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--mask", series / "mask.nii.gz")
        assert ivimsc(*words, "--out", series / "scan.h5") == 0
        return series / "scan.h5"

    def test_pack_keeps_the_voxels_of_the_mask(self, ivimsc, series, packed):
        assert "96 voxels" in ivimsc.out
        mask = np.asarray(nib.load(series / "mask.nii.gz").dataobj) > 0
        data = np.asarray(nib.load(series / "scan_dwi.nii.gz").dataobj)
        with VoxelStore(packed) as store:
            index = store.index[:]
            assert len(store) == mask.sum() and mask[tuple(index.T)].all()
            np.testing.assert_array_equal(store.signals[:], data[tuple(index.T)])

    def test_pack_refuses(self, refused, series, packed):
        words = ("pack", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--out")
        refused(*words, packed, says=["scan.h5", "--force"])
        refused("pack", packed, "--bval", series / "scan.bval", "--out", series / "x.h5", says=["scan.h5", "expected"])
        refused("pack", series / "none.nii", "--bval", series / "scan.bval", "--out", series / "x.h5", says="none.nii")
        refused("pack", series / "scan_dwi.nii.gz", "--out", series / "x.h5", says="--bval")

    def test_maps_refuse(self, ivimsc, refused, series, packed):
        refused("maps", packed, "--out", series / "out", says=["scan.h5", "ivimsc-estimates"])
        refused("maps", series / "none.h5", "--out", series / "out", says=["none.h5", "expected"])
        assert ivimsc("fit", packed, "--out", series / "out") == 0
        estimates = series / "out" / "scan_nlls.h5"
        refused("maps", estimates, "--out", series / "out", says=["nii.gz", "--force"])
        refused("maps", estimates, "--out", series / "mask.nii.gz", says=["mask.nii.gz", "expected a folder"])
        refused("fit", estimates, "--out", series / "out2", says=["scan_nlls.h5", "ivimsc-voxels"])
        assert ivimsc("maps", estimates, "--out", series / "out", "--force") == 0
        assert len(ivimsc.out.split()) == 9

    def test_a_mask_without_voxels_is_refused(self, refused, series):
        mask = nib.load(series / "mask.nii.gz")
        nib.save(nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine), series / "empty.nii.gz")
        words = (series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--mask", series / "empty.nii.gz", "--out")
        refused("pack", *words, series / "x.h5", says=["empty.nii.gz", "expected"])
        refused("fit", *words, series / "out", says=["empty.nii.gz", "expected"])

    def test_truncated_stores(self, ivimsc, refused, series, packed, truncate):
        assert ivimsc("fit", packed, "--out", series / "out") == 0
        for path in (packed, series / "out" / "scan_nlls.h5"):
            truncate(path, 0.7)
        refused("fit", packed, "--out", series / "o2", says=["scan.h5", "expected"])
        refused("maps", series / "out" / "scan_nlls.h5", "--out", series / "o2", says=["scan_nlls.h5", "expected"])
        refused("info", packed, says=["scan.h5", "expected"])


class TestInfo:
    def test_this_machine(self, ivimsc):
        assert ivimsc("info") == 0
        for part in ("Python", "numba", "cores usable", "GPU", "cache", "[learn]", "method nlls", "method segmented"):
            assert part in ivimsc.out
        assert ivimsc.err == ""

    def test_stores(self, ivimsc, tmp_path):
        assert ivimsc("simulate", *SMALL, "--out", tmp_path / "s.h5") == 0
        assert ivimsc("fit", tmp_path / "s.h5", "--out", tmp_path, "--no-maps") == 0
        assert ivimsc("info", tmp_path / "s.h5") == 0
        assert "500 voxels" in ivimsc.out and "truth:    yes" in ivimsc.out
        assert ivimsc("info", tmp_path / "s_nlls.h5") == 0
        assert "nlls on cpu" in ivimsc.out and "outcome 1: converged" in ivimsc.out

    def test_other_files(self, refused, tmp_path):
        (tmp_path / "text.h5").write_text("no HDF5")
        refused("info", tmp_path / "text.h5", says=["text.h5", "expected"])
        with h5py.File(tmp_path / "foreign.h5", "w") as file:
            file["x"] = 1
        refused("info", tmp_path / "foreign.h5", says=["foreign.h5", "expected"])
        refused("info", tmp_path / "none.h5", says=["none.h5", "expected"])


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo_out"
    done = subprocess.run([sys.executable, "-m", "ivimsc", "demo", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


class TestDemo:
    def test_everything_is_there_and_said(self, shown):
        out, said = shown
        expected = {
            "placenta.h5",
            "placenta_nlls.h5",
            "placenta_scdnn.h5",
            "placenta_segmented.h5",
            "placenta.png",
            "placenta_errors.csv",
        }
        assert expected <= set(files(out))
        assert len([name for name in files(out) if name.endswith("_dwimap.nii.gz")]) == 24
        for word in (
            "placenta core",
            "constant guess",
            "Cramér-Rao bound",
            "segmented",
            "nlls",
            "scdnn",
            "placenta.png",
        ):
            assert word in said

    def test_the_picture_is_a_page_with_something_on_it(self, shown):
        picture = matplotlib.image.imread(shown[0] / "placenta.png")
        assert picture.shape[0] > 1000 and picture.shape[1] > 1000
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 500  # colours

    def test_the_table_is_the_error_of_the_stores(self, shown):
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
        # nlls is all but unbiased here, so it lies near the bound, and below neither a tenth of it nor above twice it
        bound = float(rows["placenta core", "Cramér-Rao bound", "D"]["median"])
        assert 0.8 * bound < float(row["median"]) < 1.25 * bound

    def test_an_earlier_demo_stays_without_force(self, shown, refused):
        out, _ = shown
        before = {path: path.read_bytes() for path in out.rglob("*")}
        refused("demo", "--out", out, says=["placenta.h5", "--force"])
        assert {path: path.read_bytes() for path in out.rglob("*")} == before

    def test_out_is_a_file(self, refused, tmp_path):
        (tmp_path / "file").write_text("mine")
        refused("demo", "--out", tmp_path / "file", says=["file", "expected a folder"])


def test_help_names_every_command_and_version_is_the_package(ivimsc):
    for words in ((), ("--help",), ("-h",)):
        assert ivimsc(*words) == 0
        for name in ("demo", "fit", "info", "maps", "pack", "simulate"):
            assert f"\n  {name} " in ivimsc.out
    import ivimsc as package

    assert ivimsc("--version") == 0
    assert ivimsc.out == f"ivimsc {package.__version__}\n"


@pytest.mark.parametrize("words", [("--bad",), ("fit", "--bad"), ("fit",), ("demo", "extra"), ("fit", "x", "--out")])
def test_usage_errors_are_one_line(ivimsc, words):
    assert ivimsc(*words) == 2
    assert ivimsc.error
    assert ivimsc.out == ""


def test_a_reader_that_has_seen_enough_makes_no_noise(tmp_path):
    """`ivimsc info | head -0`: the pipe is closed before a word is written."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "ivimsc", "info"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.stderr == ""


def test_sidecars_name_version_and_input(ivimsc, series):
    words = ("fit", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--out", series / "out")
    assert ivimsc(*words, "--set", "max_iterations=50") == 0
    about = json.loads((series / "out" / "scan_model-ivim_desc-nlls_param-d_dwimap.json").read_text())
    assert about["Units"] == "mm²/s" and about["options"]["max_iterations"] == 50
    assert about["bvalues"] == TEN.tolist() and len(about["input_sha256"]) == 64
