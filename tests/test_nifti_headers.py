"""NIfTI headers as people have them: what is wrong and harmless is read as it is meant; nibabel tells what is right."""

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ivimsc.nifti import read_series, read_volume, write_bval, write_volume
from tests.nifti_files import BVALUES, OBLIQUE, patch, save, series

PIXDIM, OFFSET, UNITS, CODES, QUATERNION = 76, 108, 123, 252, 256  # places in the header of NIfTI-1


@pytest.fixture
def bval(tmp_path: Path) -> Path:
    return write_bval(tmp_path / "a.bval", BVALUES)


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """A plain series with the same sform and qform."""
    image = nib.Nifti1Image(series(), OBLIQUE)
    image.set_sform(OBLIQUE, 1)
    image.set_qform(OBLIQUE, 1)
    nib.save(image, tmp_path / "a.nii")
    return tmp_path / "a.nii"


@pytest.mark.parametrize(("parts", "code"), [((0.6, 0.8000003, 0.0), 1), ((0.9, 0.9, 0.9), 0), ((np.nan, 0, 0), 0)])
def test_a_bad_qform_beside_a_good_sform(placed: Path, parts: tuple, code: int) -> None:
    """One off by rounding is meant to be 180 degrees about (0.6, 0.8, 0), which nibabel gives; any other is left out."""
    geometry = read_volume(patch(placed, QUATERNION, struct.pack("<fff", *parts)))[1]
    np.testing.assert_allclose(geometry.affine, OBLIQUE, atol=1e-5)
    assert geometry.qform_code == code and geometry.sform_code == 1
    if code:
        turn = nib.quaternions.quat2mat([0, 0.6, 0.8, 0]) @ np.diag([1, 1, np.sign(np.linalg.det(OBLIQUE[:3, :3]))])
        np.testing.assert_allclose(geometry.qform[:3, :3], turn * geometry.zooms, atol=1e-5)
    else:
        assert geometry.qform is None


def test_a_qform_off_by_rounding_alone(placed: Path) -> None:
    patch(placed, CODES, struct.pack("<hhfff", 1, 0, 0.6, 0.8000003, 0))
    geometry = read_volume(placed)[1]
    turn = nib.quaternions.quat2mat([0, 0.6, 0.8, 0]) @ np.diag([1, 1, np.sign(np.linalg.det(OBLIQUE[:3, :3]))])
    np.testing.assert_allclose(geometry.affine[:3, :3], turn * geometry.zooms, atol=1e-5)


@pytest.mark.parametrize(
    ("code", "unit"), [(0, "unknown"), (1, "meter"), (2, "mm"), (3, "micron"), (10, "mm"), (4, "unknown"), (66, "mm"), (255, "unknown")]
)  # fmt: skip
def test_units(placed: Path, code: int, unit: str) -> None:
    geometry = read_volume(patch(placed, UNITS, bytes([code])))[1]
    assert geometry.xyz_unit == unit
    path = write_volume(placed.with_name("map.nii"), series()[..., 0], geometry)
    assert nib.load(path).header.get_xyzt_units()[0] == unit


@pytest.mark.parametrize("sizes", [(-1.25, 1.25, -4.0), (np.nan, 1.25, 4.0), (1.25, np.inf, 4.0), (0, 0, 0)])
def test_voxel_sizes_that_are_none(placed: Path, sizes: tuple) -> None:
    """They are the lengths of the axes of the sform."""
    geometry = read_volume(patch(placed, PIXDIM + 4, struct.pack("<fff", *sizes)))[1]
    np.testing.assert_allclose(geometry.zooms, (1.25, 1.25, 4.0), rtol=1e-6)
    np.testing.assert_allclose(geometry.affine, OBLIQUE, atol=1e-5)
    path = write_volume(placed.with_name("map.nii"), series()[..., 0], geometry)
    np.testing.assert_allclose(nib.load(path).affine, OBLIQUE, atol=1e-5)


def test_a_qfac_of_0_stands_for_1(placed: Path) -> None:
    patch(patch(placed, PIXDIM, struct.pack("<f", 1)), CODES, struct.pack("<hh", 1, 0))
    expected = nib.load(placed).affine
    np.testing.assert_allclose(read_volume(patch(placed, PIXDIM, struct.pack("<f", 0)))[1].affine, expected, atol=1e-5)


@pytest.mark.parametrize("offset", [0, 100, 348, 352])
def test_an_offset_below_the_header(placed: Path, offset: float) -> None:
    np.testing.assert_array_equal(read_volume(patch(placed, OFFSET, struct.pack("<f", offset)))[0], series())


def test_an_offset_behind_extensions(placed: Path) -> None:
    content = placed.read_bytes()
    placed.write_bytes(content[:348] + bytes([1, 0, 0, 0]) + struct.pack("<ii", 32, 6) + bytes(24) + content[352:])
    np.testing.assert_array_equal(read_volume(patch(placed, OFFSET, struct.pack("<f", 384)))[0], series())


@pytest.mark.parametrize("packed", [(), (".img",), (".hdr", ".img")])
@pytest.mark.parametrize("given", [".hdr", ".img"])
def test_pairs(tmp_path: Path, bval: Path, packed: tuple, given: str) -> None:
    save(tmp_path / "a.img", series())
    names = {end: tmp_path / f"a{end}{'.gz' if end in packed else ''}" for end in (".hdr", ".img")}
    for end in packed:
        plain = tmp_path / f"a{end}"
        names[end].write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    voxels = read_series(names[given], bval)
    expected = read_series(save(tmp_path / "b.nii", series()), bval)
    np.testing.assert_array_equal(voxels.signals, expected.signals)
    np.testing.assert_allclose(voxels.geometry.affine, expected.geometry.affine, atol=1e-5)
    assert voxels.source == names[given].name


def test_a_pair_with_an_offset(tmp_path: Path) -> None:
    save(tmp_path / "a.img", series())
    (tmp_path / "a.img").write_bytes(bytes(64) + (tmp_path / "a.img").read_bytes())
    patch(tmp_path / "a.hdr", OFFSET, struct.pack("<f", 64))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.img")[0], series())


@pytest.mark.parametrize("shape", [(3, 4, 2, 1, 4), (3, 4, 2, 4, 1), (3, 4, 2, 1, 4, 1)])
def test_axes_of_size_1_beyond_the_third(tmp_path: Path, bval: Path, shape: tuple) -> None:
    voxels = read_series(save(tmp_path / "a.nii", series().reshape(shape)), bval)
    np.testing.assert_array_equal(voxels.signals, read_series(save(tmp_path / "b.nii", series()), bval).signals)


def test_slices_of_size_1_stay(tmp_path: Path, bval: Path) -> None:
    voxels = read_series(save(tmp_path / "a.nii", series((3, 1, 1, 1, 4))), bval)
    assert voxels.geometry.shape == (3, 1, 1) and voxels.signals.shape == (3, 3)


@pytest.mark.parametrize(("code", "taken"), [(255, 2), (-1, 0)])
def test_a_space_that_nobody_knows(placed: Path, code: int, taken: int) -> None:
    """A positive code counts, as in viewers; what is written from it has a code that NIfTI knows."""
    geometry = read_volume(patch(placed, CODES, struct.pack("<h", code)))[1]
    assert geometry.qform_code == taken and geometry.sform_code == 1
    np.testing.assert_allclose(geometry.affine, OBLIQUE, atol=1e-5)
    write_volume(placed.with_name("b.nii"), np.zeros(geometry.shape, np.float32), geometry)
