"""HDF5 files that are broken, of another kind or of another version are told in one line."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ivimsc.errors import InputError, IvimscError
from ivimsc.store import EstimateStore, VoxelStore, open_store, write_voxels
from tests.store.makers import fit, make_voxels


def broken(path: Path, how: str) -> None:
    """Damage a good voxel store."""
    if how == "missing":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("b-values: 0 50 800")
    elif how == "truncated":
        os.truncate(path, path.stat().st_size * 2 // 3)
    else:
        with h5py.File(path, "r+") as file:
            if how.startswith("no "):
                del file[how[3:]]
            elif how.startswith("no@"):
                del file.attrs[how[3:]]
            elif how == "version":
                file.attrs["format_version"] = 99
            elif how == "foreign":
                del file.attrs["format"]
            elif how == "short index":
                del file["index"]
                file["index"] = np.zeros((3, 3), np.int32)
            elif how == "long bvalues":
                del file["bvalues"]
                file["bvalues"] = np.arange(9.0)
            elif how == "short truth":
                file["truth/f"] = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("missing", "no such file"),
        ("folder", "a folder"),
        ("empty", "no readable HDF5 file"),
        ("text", "no readable HDF5 file"),
        ("truncated", "truncated"),
        ("foreign", "something else"),
        ("version", "format_version 99"),
        ("no signals", "signals"),
        ("no bvalues", "bvalues"),
        ("no index", "index"),
        ("no@affine", "affine"),
        ("no@signals_sha256", "signals_sha256"),
        ("short index", "3 rows in index, expected 100"),
        ("short truth", "3 rows in truth/f, expected 100"),
        ("long bvalues", "expected float32 (voxel, b) with 9 b-values"),
    ],
)
def test_broken_voxel_stores(tmp_path: Path, how: str, found: str) -> None:
    path = write_voxels(tmp_path / "v.h5", make_voxels())
    broken(path, how)
    for opening in (VoxelStore, open_store):
        with pytest.raises(InputError) as error:
            opening(path)
        message = str(error.value)
        assert str(path) in message and found in message and "expected" in message and "\n" not in message


def test_the_wrong_kind_of_store(tmp_path: Path) -> None:
    voxels = make_voxels()
    path = write_voxels(tmp_path / "v.h5", voxels)
    target = fit(tmp_path / "e.h5", voxels, [30])
    with pytest.raises(InputError, match="found format 'ivimsc-estimates', expected 'ivimsc-voxels'"):
        VoxelStore(target)
    with pytest.raises(InputError, match="found format 'ivimsc-voxels', expected 'ivimsc-estimates'"):
        EstimateStore(path)
    with open_store(path) as one, open_store(target) as two:
        assert (type(one), type(two)) == (VoxelStore, EstimateStore)


def test_a_broken_estimate_store(tmp_path: Path) -> None:
    target = fit(tmp_path / "e.h5", make_voxels(), [30])
    with h5py.File(target, "r+") as file:
        file["estimates/f2"] = file["estimates/f"][:5]
        file.move("estimates/f", "estimates/old")
        file.move("estimates/f2", "estimates/f")
    with pytest.raises(InputError, match="found 5 rows in estimates/f, expected 100"):
        EstimateStore(target)
    with h5py.File(target, "r+") as file:
        file.move("estimates/outcome", "estimates/kept")
    with pytest.raises(InputError, match="found no estimates/outcome, expected s0, rmse, outcome"):
        EstimateStore(target)


def test_errors_of_the_disk_are_no_bad_input(tmp_path: Path) -> None:
    assert issubclass(InputError, IvimscError)
