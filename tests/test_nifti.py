"""NIfTI: nibabel is the referee for values and places. Bad files: test_nifti_bad_input.py."""

import gzip
import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ivimsc.errors import InputError
from ivimsc.nifti import read_series, read_volume, write_bval, write_volume
from ivimsc.voxels import Geometry
from tests.nifti_files import BVALUES, OBLIQUE, save, series, stored

quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def bval(tmp_path: Path) -> Path:
    return write_bval(tmp_path / "a.bval", BVALUES)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (0.03463050723075867, 565.7), (0, 0), (np.nan, np.nan), (-2, 3)])
def test_any_type_and_scaling(tmp_path: Path, bval: Path, dtype: str, order: str, slope: float, inter: float) -> None:
    path = stored(tmp_path / "a.nii.gz", series(dtype=dtype), slope, inter, order)
    volumes = nib.load(path).get_fdata().reshape(-1, 4, order="F")
    expected = np.stack([volumes[:, 0], volumes[:, [1, 3]].mean(1), volumes[:, 2]], 1)
    voxels = read_series(path, bval)
    assert voxels.signals.dtype == np.float32 and voxels.signals.flags.c_contiguous
    # float64 arithmetic, rounded once to float32: half a unit in the last place is 6e-8
    np.testing.assert_allclose(voxels.signals, expected, rtol=6e-8)
    np.testing.assert_array_equal(voxels.bvalues, [0, 50, 800])


@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (0.25, 0), (1, -3), (0.0346, 565.7), (np.nan, np.nan)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_volume_is_scaled_as_its_header_says(tmp_path: Path, dtype: str, slope: float, inter: float) -> None:
    data = series((3, 4, 2), dtype)
    path = stored(tmp_path / "a.nii.gz", data, slope, inter)
    found, place = read_volume(path)
    # float64 arithmetic, rounded once to float32: half a unit in the last place is 6e-8
    np.testing.assert_allclose(found, nib.load(path).get_fdata(), rtol=6e-8)
    assert found.dtype == (np.float32 if (slope, inter) not in ((1, 0),) and np.isfinite(slope) else data.dtype)
    np.testing.assert_allclose(place.affine, OBLIQUE, atol=1e-5)


def test_large_integers_are_exact_before_scaling(tmp_path: Path, bval: Path) -> None:
    """2**24 + 1 is no float32: scaling in float32 would lose the difference that the intercept leaves over."""
    data = np.full((1, 1, 1, 4), 2**24 + 1, np.int32)
    voxels = read_series(stored(tmp_path / "a.nii", data, 1, -(2.0**24)), bval)
    np.testing.assert_array_equal(voxels.signals, 1)


def test_index_leads_back_to_the_volume(tmp_path: Path, bval: Path) -> None:
    data = series()
    mask = np.zeros((3, 4, 2), np.float32)
    mask[1, 2, 0], mask[2, 0, 1], mask[0, 3, 1], mask[0, 0, 0], mask[1, 1, 1] = 0.5, 1, 1, np.nan, -1
    voxels = read_series(save(tmp_path / "a.nii", data), bval, save(tmp_path / "m.nii", mask))
    assert sorted(map(tuple, voxels.index.tolist())) == [(0, 3, 1), (1, 2, 0), (2, 0, 1)]
    assert voxels.index.dtype == np.int32
    for place, signal in zip(voxels.index, voxels.signals, strict=True):
        values = data[tuple(place)].astype(float)
        np.testing.assert_allclose(signal, [values[0], (values[1] + values[3]) / 2, values[2]], rtol=6e-8)
    assert voxels.attrs["mask"] == "m.nii" and voxels.attrs["volumes"] == 4
    assert "4 volumes averaged to 3 b-values" in voxels.attrs["notes"][0]


def test_more_voxels_than_a_block(tmp_path: Path) -> None:
    data = series((64, 64, 9, 2), "uint16")
    write_bval(tmp_path / "b.bval", [500, 0])
    voxels = read_series(save(tmp_path / "a.nii.gz", data), tmp_path / "b.bval")
    np.testing.assert_array_equal(voxels.signals, data[..., ::-1].reshape(-1, 2, order="F"))
    np.testing.assert_array_equal(data[tuple(voxels.index.T)][:, ::-1], voxels.signals)
    mask = save(tmp_path / "m.nii", (np.arange(64 * 64 * 9) % 3 > 0).astype(np.uint8).reshape(64, 64, 9))
    masked = read_series(tmp_path / "a.nii.gz", tmp_path / "b.bval", mask)
    assert len(masked) == 24576
    np.testing.assert_array_equal(data[tuple(masked.index.T)][:, ::-1], masked.signals)


def test_a_shell_is_the_mean_of_its_finite_volumes(tmp_path: Path, bval: Path) -> None:
    data = np.ones((1, 1, 5, 4))
    data[0, 0, :, 1] = [np.nan, np.inf, 1e300, 0, 1]
    data[0, 0, 4, 2] = np.nan  # the only volume of its shell
    voxels = read_series(save(tmp_path / "a.nii", data), bval)
    np.testing.assert_array_equal(voxels.signals[:, 1], [1, 1, np.inf, 0.5, 1])
    np.testing.assert_array_equal(voxels.signals[:, 2], [1, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(voxels.signals[:, 0], 1)
    assert "3 voxels have volumes that are NaN or Inf" in voxels.attrs["notes"][-1]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_mask_of_any_type(tmp_path: Path, bval: Path, dtype: str) -> None:
    mask = np.zeros((3, 4, 2), dtype)
    mask[1] = 3
    one = read_series(save(tmp_path / "a.nii", series()), bval, save(tmp_path / "m.nii.gz", mask))
    two = read_series(tmp_path / "a.nii", bval, save(tmp_path / "m4.nii.gz", mask[..., None]))
    assert len(one) == len(two) == 8 and (one.index[:, 0] == 1).all()


def test_a_mask_that_is_scaled(tmp_path: Path, bval: Path) -> None:
    mask = np.arange(24, dtype=np.uint8).reshape(3, 4, 2)
    path = stored(tmp_path / "m.nii", mask, 1, -20)  # above 0 from 21 on
    assert len(read_series(save(tmp_path / "a.nii", series()), bval, path)) == 3


def test_tolerance_of_the_affine(tmp_path: Path, bval: Path) -> None:
    """Rounding of headers passes, a shift of half a voxel does not."""
    path, mask = save(tmp_path / "a.nii", series()), np.ones((3, 4, 2), np.uint8)
    for shift, wrong in ((1e-3, False), (0.6, True)):
        moved = OBLIQUE.copy()
        moved[0, 3] += shift
        save(tmp_path / "m.nii", mask, moved)
        if wrong:
            with pytest.raises(InputError, match=r"m\.nii: found an affine .* 0\.6 mm away from where .*a\.nii has it"):
                read_series(path, bval, tmp_path / "m.nii")
        else:
            assert len(read_series(path, bval, tmp_path / "m.nii")) == 24
    flipped = OBLIQUE @ np.diag([-1, 1, 1, 1])
    with pytest.raises(InputError, match="affine"):
        read_series(path, bval, save(tmp_path / "m.nii", mask, flipped))


def test_names_of_files_do_not_decide(tmp_path: Path, bval: Path) -> None:
    """Gzip data are known by their first bytes, not by the name."""
    plain = save(tmp_path / "a.nii", series())
    packed = tmp_path / "b.nii"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(read_series(plain, bval).signals, read_series(packed, bval).signals)


def test_source_and_checksum(tmp_path: Path, bval: Path) -> None:
    path = save(tmp_path / "a_dwi.nii.gz", series())
    voxels = read_series(path, bval)
    assert voxels.source == "a_dwi.nii.gz"
    assert voxels.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# -- places: what is written lies where the input lay


@pytest.mark.parametrize(("qform", "sform"), [(1, 0), (0, 2), (1, 1), (3, 4), (0, 0)])
@pytest.mark.parametrize("unit", ["mm", "unknown", "micron"])
def test_geometry_is_kept(tmp_path: Path, bval: Path, qform: int, sform: int, unit: str) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((3, 4, 2, 4))
    header.set_zooms((1.25, 1.25, 4, 1))
    header.set_xyzt_units(unit)
    header.set_qform(OBLIQUE if qform else None, qform)
    header.set_sform(OBLIQUE @ np.diag([1, 1, 1.01, 1]) if sform else None, sform)
    header["vox_offset"] = 352
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(4) + series().tobytes(order="F"))
    before = nib.load(tmp_path / "a.nii")
    assert (int(before.header["qform_code"]), int(before.header["sform_code"])) == (qform, sform)
    geometry = read_series(tmp_path / "a.nii", bval).geometry
    write_volume(tmp_path / "map.nii.gz", np.ones((3, 4, 2), np.float32), geometry)
    after = nib.load(tmp_path / "map.nii.gz")
    # float32 header fields, and qform as a unit quaternion: 1e-6 of a few hundred mm
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-4)
    for form in ("get_qform", "get_sform"):
        (one, code), (two, code_after) = getattr(before, form)(coded=True), getattr(after, form)(coded=True)
        assert code == code_after
        if code:
            np.testing.assert_allclose(one, two, atol=1e-4)
    np.testing.assert_allclose(after.header.get_zooms(), before.header.get_zooms()[:3], rtol=1e-6)
    assert after.header.get_xyzt_units()[0] == unit
    with gzip.open(tmp_path / "map.nii.gz") as file:  # nibabel hides scl_slope and scl_inter
        np.testing.assert_array_equal(np.frombuffer(file.read(120)[112:], "<f4"), [1, 0])


def test_an_affine_without_codes_is_not_lost(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", np.ones((3, 4, 2)), Geometry((3, 4, 2), OBLIQUE, zooms=(1.25, 1.25, 4.0)))
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii").affine, OBLIQUE, atol=1e-5)


@quick
@given(
    volume=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.int16, np.dtype(">f4"), np.bool_]),
        hnp.array_shapes(min_dims=3, max_dims=4, max_side=5),
    ),
    order=st.sampled_from("CF"),
    ending=st.sampled_from([".nii", ".nii.gz"]),
)
def test_volumes_come_back(tmp_path: Path, volume: np.ndarray, order: str, ending: str) -> None:
    volume = np.array(volume, order=order)
    geometry = Geometry(volume.shape[:3], OBLIQUE, sform=OBLIQUE, sform_code=1)
    path = write_volume(tmp_path / f"v{ending}", volume, geometry, force=True)
    found, place = read_volume(path)
    np.testing.assert_array_equal(found, volume)
    np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), volume)
    np.testing.assert_allclose(place.affine, OBLIQUE, atol=1e-5)
    assert place.shape == volume.shape[:3]


def test_the_same_bytes_at_every_run(tmp_path: Path) -> None:
    geometry = Geometry((3, 4, 2), OBLIQUE, sform=OBLIQUE, sform_code=1)
    one = write_volume(tmp_path / "a.nii.gz", series()[..., 0], geometry).read_bytes()
    two = write_volume(tmp_path / "b.nii.gz", series()[..., 0], geometry).read_bytes()
    assert one == two and one[4:8] == bytes(4)  # the time that gzip keeps


def test_more_voxels_in_a_row_than_nifti_1_counts(tmp_path: Path) -> None:
    geometry = Geometry((40000, 1, 1), np.eye(4), sform=np.eye(4), sform_code=1)
    path = write_volume(tmp_path / "a.nii.gz", np.arange(40000, dtype=np.float32).reshape(-1, 1, 1), geometry)
    assert isinstance(nib.load(path), nib.Nifti2Image)
    np.testing.assert_array_equal(read_volume(path)[0].ravel(), np.arange(40000))


def test_writing_refuses(tmp_path: Path) -> None:
    geometry = Geometry((3, 4, 2), OBLIQUE)
    write_volume(tmp_path / "a.nii", np.ones((3, 4, 2)), geometry)
    with pytest.raises(InputError, match="existing file"):
        write_volume(tmp_path / "a.nii", np.ones((3, 4, 2)), geometry)
    with pytest.raises(InputError, match=r"found shape \(3, 4, 3\)"):
        write_volume(tmp_path / "b.nii", np.ones((3, 4, 3)), geometry)
    assert os.listdir(tmp_path) == ["a.nii"]


# -- real data


def test_real_series_against_nibabel(real_data: Path) -> None:
    folder = real_data / "levy_spinalcord_7T"
    path, mask = folder / "dwi_AP_native.nii.gz", folder / "mask_cord_dilated.nii.gz"
    voxels = read_series(path, folder / "dwi_AP_native.bval", mask)
    inside = nib.load(mask).get_fdata() > 0
    expected = nib.load(path).get_fdata()[tuple(voxels.index.T)]
    assert len(voxels) == inside.sum() and inside[tuple(voxels.index.T)].all()
    np.testing.assert_allclose(voxels.signals, expected, rtol=6e-8)  # one rounding to float32


def test_real_repeats_and_directions(real_data: Path) -> None:
    folder = real_data / "froeling_muscle_legs"
    voxels = read_series(
        folder / "dwi_all42.nii.gz", folder / "dwi_all42.bval", folder / "labels.nii.gz", folder / "dwi_all42.bvec"
    )
    assert voxels.signals.shape == (35588, 8)
    values = np.loadtxt(folder / "dwi_all42.bval")
    volumes = nib.load(folder / "dwi_all42.nii.gz").get_fdata()[tuple(voxels.index.T)]
    for b, signal in zip(voxels.bvalues, voxels.signals.T, strict=True):
        np.testing.assert_allclose(signal, volumes[:, values == b].mean(1), rtol=1e-7)
