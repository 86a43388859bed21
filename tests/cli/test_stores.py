"""``ivimsc pack`` and ``ivimsc maps``: into the stores and out of them, and bad input in one line."""

import nibabel as nib
import numpy as np
import pytest

from ivimsc.nifti import read_series
from ivimsc.store import VoxelStore


@pytest.fixture
def packed(ivimsc, series):
    words = ("pack", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--mask", series / "mask.nii.gz")
    assert ivimsc(*words, "--out", series / "scan.h5") == 0
    return series / "scan.h5"


def test_pack_keeps_the_voxels_of_the_mask(ivimsc, series, packed):
    assert "96 voxels" in ivimsc.out
    mask = np.asarray(nib.load(series / "mask.nii.gz").dataobj) > 0
    data = np.asarray(nib.load(series / "scan_dwi.nii.gz").dataobj)
    with VoxelStore(packed) as store:
        index = store.index[:]
        assert len(store) == mask.sum() and mask[tuple(index.T)].all()
        np.testing.assert_array_equal(store.signals[:], data[tuple(index.T)])


def test_pack_refuses(refused, series, packed):
    words = ("pack", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--out")
    refused(*words, packed, says=["scan.h5", "--force"])
    refused("pack", packed, "--bval", series / "scan.bval", "--out", series / "x.h5", says=["scan.h5", "expected"])
    refused("pack", series / "none.nii", "--bval", series / "scan.bval", "--out", series / "x.h5", says="none.nii")
    refused("pack", series / "scan_dwi.nii.gz", "--out", series / "x.h5", says="--bval")


def test_maps_refuse(ivimsc, refused, series, packed):
    refused("maps", packed, "--out", series / "out", says=["scan.h5", "ivimsc-estimates"])
    refused("maps", series / "none.h5", "--out", series / "out", says=["none.h5", "expected"])
    assert ivimsc("fit", packed, "--out", series / "out") == 0
    estimates = series / "out" / "scan_nlls.h5"
    refused("maps", estimates, "--out", series / "out", says=["nii.gz", "--force"])
    refused("maps", estimates, "--out", series / "mask.nii.gz", says=["mask.nii.gz", "expected a folder"])
    refused("fit", estimates, "--out", series / "out2", says=["scan_nlls.h5", "ivimsc-voxels"])
    assert ivimsc("maps", estimates, "--out", series / "out", "--force") == 0
    assert len(ivimsc.out.split()) == 10


def test_a_mask_without_voxels_is_refused(refused, series):
    mask = nib.load(series / "mask.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine), series / "empty.nii.gz")
    words = (series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--mask", series / "empty.nii.gz", "--out")
    refused("pack", *words, series / "x.h5", says=["empty.nii.gz", "expected"])
    refused("fit", *words, series / "out", says=["empty.nii.gz", "expected"])


def test_truncated_stores(ivimsc, refused, series, packed, truncate):
    assert ivimsc("fit", packed, "--out", series / "out") == 0
    for path in (packed, series / "out" / "scan_nlls.h5"):
        truncate(path, 0.7)
    refused("fit", packed, "--out", series / "o2", says=["scan.h5", "expected"])
    refused("maps", series / "out" / "scan_nlls.h5", "--out", series / "o2", says=["scan_nlls.h5", "expected"])
    refused("info", packed, says=["scan.h5", "expected"])


def test_every_option_of_pack_reaches_the_reader(ivimsc, series):
    scan, bval, mask = series / "scan_dwi.nii.gz", series / "scan.bval", series / "mask.nii.gz"
    np.savetxt(series / "scan.bvec", np.zeros((3, 9)))
    assert ivimsc("pack", scan, "--bval", bval, "--bvec", series / "scan.bvec", "--out", series / "s.h5") == 2
    assert "scan.bvec" in ivimsc.error
    assert ivimsc("pack", scan, "--bval", bval, "--mask", mask, "--out", series / "s.h5") == 0
    with VoxelStore(series / "s.h5") as store:
        assert store.signals_sha256 == read_series(scan, bval, mask).signals_sha256
        assert store.attrs["mask"] == "mask.nii.gz"


def test_some_volumes_and_an_automatic_mask(ivimsc, series):
    words = ("pack", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval")
    assert ivimsc(*words, "--volumes", "0-4,9", "--mask", "auto", "--out", series / "some.h5") == 0
    assert "6 of 10 volumes are used" in ivimsc.out and "mask: 480 of 480 voxels" in ivimsc.out
    with VoxelStore(series / "some.h5") as store:
        np.testing.assert_array_equal(store.bvalues, [0, 10, 20, 50, 80, 500])
    (series / "keep.txt").write_text("0\n1\n2\n3\n9\n")
    assert ivimsc("fit", *words[1:], "--volumes", series / "keep.txt", "--out", series / "out") == 0
    assert "5 of 10 volumes are used" in ivimsc.out and "b = 0, 10, 20, 50, 500 s/mm²" in ivimsc.out


def test_bad_volumes_name_their_option(refused, series, packed):
    words = ("fit", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval", "--out", series / "out", "--volumes")
    refused(*words, "0-10", says="--volumes: found 0-10, expected volumes from 0 to 9")
    refused(*words, "none.txt", says="none.txt: No such file")
    refused("fit", packed, "--out", series / "out", "--volumes", "0-4", says="--volumes: found 0-4, expected none")
    refused("fit", packed, "--out", series / "out", "--mask", "auto", says="--mask: found auto, expected none")
