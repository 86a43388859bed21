"""NIfTI files that are broken or do not fit together: told in one line that names the file."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.nifti import read_series, write_bval
from tests.nifti_files import BVALUES, patch, save, series, stored


@pytest.fixture
def bval(tmp_path: Path) -> Path:
    return write_bval(tmp_path / "a.bval", BVALUES)


def bad(folder: Path, how: str) -> Path:
    path = folder / "bad.nii.gz"
    if how == "3-D":
        save(path, series()[..., 0])
    elif how == "5-D":
        save(path, series((3, 4, 2, 2, 4)))
    elif how == "truncated":
        save(path, np.random.default_rng(0).integers(0, 9999, (20, 20, 20, 4)).astype(np.int16))
        os.truncate(path, path.stat().st_size // 2)
    elif how == "truncated header":
        save(path, series())
        os.truncate(path, 40)
    elif how == "truncated plain":
        path = save(folder / "bad.nii", series())
        os.truncate(path, 400)
    elif how == "crc":
        plain = save(folder / "plain.nii", series()).read_bytes()
        path.write_bytes(gzip.compress(plain + bytes(1 << 20)))  # the checksum stands far behind the image
        data = bytearray(path.read_bytes())
        data[-7] ^= 255
        path.write_bytes(data)
    elif how == "text":
        path.write_text("this is not an image, however long the text may be " * 20)
    elif how == "gzipped text":
        path.write_bytes(gzip.compress(b"this is not an image " * 40))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pair":
        save(folder / "pair.img", series())
        path = (folder / "pair.hdr").rename(folder / "pair.nii")
    elif how == "half a pair":
        save(folder / "pair.img", series())
        (folder / "pair.img").unlink()
        path = folder / "pair.hdr"
    elif how == "Analyze":
        nib.save(nib.AnalyzeImage(series(), np.eye(4)), folder / "old.img")
        path = folder / "old.hdr"
    elif how in ("vox_offset", "vox_offset nan", "vox_offset inf"):
        path = save(folder / "bad.nii", series())
        patch(path, 108, struct.pack("<f", float(how[11:] or -8)))
    elif how == "qform":
        path = save(folder / "bad.nii", series())
        patch(path, 252, struct.pack("<hhfff", 1, 0, 0.9, 0.9, 0.9))
    elif how == "complex":
        save(path, series().astype(np.complex64))
    elif how == "affine":
        stored(path, series(), 1, 0, affine=np.diag([1, np.nan, 1, 1]))
    elif how == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("3-D", "found a 3-D image (3, 4, 2), expected 4-D"),
        ("5-D", "found a 5-D image (3, 4, 2, 2, 4), expected 4-D"),
        ("truncated", "truncated"),
        ("truncated header", "truncated"),
        ("truncated plain", "found 48 of 192 bytes of image data"),
        ("crc", "damaged gzip data"),
        ("text", "not NIfTI"),
        ("gzipped text", "not NIfTI"),
        ("empty", "not NIfTI"),
        ("pair", "found the header of a pair, expected names that end in .hdr and .img"),
        ("Analyze", "found an Analyze header, which has no orientation"),
        ("vox_offset", "found vox_offset -8"),
        ("vox_offset nan", "found vox_offset nan"),
        ("vox_offset inf", "found vox_offset inf"),
        ("qform", "unusable qform"),
        ("complex", "complex64"),
        ("affine", "affine"),
        ("folder", "directory"),
        ("missing", "No such file"),
    ],
)
def test_bad_series(tmp_path: Path, bval: Path, how: str, found: str) -> None:
    path = bad(tmp_path, how)
    with pytest.raises(InputError) as error:
        read_series(path, bval)
    message = str(error.value)
    assert str(path) in message and found in message and "\n" not in message


def test_half_a_pair_names_the_other_file(tmp_path: Path, bval: Path) -> None:
    with pytest.raises(InputError, match=r"pair\.img: No such file"):
        read_series(bad(tmp_path, "half a pair"), bval)


def test_files_that_do_not_fit_together(tmp_path: Path, bval: Path) -> None:
    path = save(tmp_path / "a.nii", series())
    short = write_bval(tmp_path / "short.bval", [0, 50, 800])
    with pytest.raises(InputError, match=r"short\.bval: found 3 b-values, expected 4, the volumes in .*a\.nii"):
        read_series(path, short)
    with pytest.raises(InputError, match=r"none\.bval: No such file"):
        read_series(path, tmp_path / "none.bval")
    other = save(tmp_path / "m.nii", np.ones((3, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"m\.nii: found a volume of shape \(3, 4, 3\), expected \(3, 4, 2\) as in"):
        read_series(path, bval, other)
    with pytest.raises(InputError, match=r"found a volume of shape \(3, 4, 2, 4\)"):
        read_series(path, bval, path)
    empty = save(tmp_path / "empty.nii", np.zeros((3, 4, 2), np.uint8))
    with pytest.raises(InputError, match=r"empty\.nii: found no voxel above 0"):
        read_series(path, bval, empty)


def test_bvec_is_checked(tmp_path: Path, bval: Path) -> None:
    path, bvec = save(tmp_path / "a.nii", series()), tmp_path / "a.bvec"
    for shape in ((3, 4), (4, 3)):
        np.savetxt(bvec, np.zeros(shape))
        assert len(read_series(path, bval, bvec=bvec)) == 24
    for text, found in (("1 0 0\n0 1 0\n0 0 1", "(3, 3)"), ("a b", "no table"), ("1 2\n3", "no table")):
        bvec.write_text(text)
        with pytest.raises(InputError, match=r"a\.bvec: found") as error:
            read_series(path, bval, bvec=bvec)
        assert found in str(error.value)
    with pytest.raises(InputError, match=r"none\.bvec: No such file"):
        read_series(path, bval, bvec=tmp_path / "none.bvec")


@pytest.mark.parametrize(("place", "content"), [
    (108, struct.pack("<f", 2.5e9)),  # vox_offset
    (42, struct.pack("<hhhh", 32767, 32767, 32767, 4)),  # the shape
])  # fmt: skip
@pytest.mark.parametrize("name", ["bad.nii", "bad.nii.gz"])
def test_declared_sizes_are_compared_with_the_file(tmp_path, bval, place, content, name):
    """Before memory is taken: what Python and NumPy take meanwhile is far below what the header declares, gigabytes."""
    path = patch(save(tmp_path / "bad.nii", series()), place, content)
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes())
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=f"{name}: found .* bytes at most, expected .*: the file is truncated"):
            read_series(tmp_path / name, bval)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_files_beside_the_series_are_not_reached_through_links(tmp_path, bval):
    """A note would tell what is in them."""
    path = save(tmp_path / "a.nii", series())
    (tmp_path / "secret").write_text("1 2 1 2")
    (tmp_path / "a_te.txt").symlink_to(tmp_path / "secret")
    assert not any("a_te.txt" in note for note in read_series(path, bval).attrs["notes"])
    (tmp_path / "a_te.txt").unlink()
    (tmp_path / "a_te.txt").write_text("1 2 1 2")
    assert any("a_te.txt" in note for note in read_series(path, bval).attrs["notes"])
