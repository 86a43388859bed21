"""HDF5 files read without the HDF5 library: the same as h5py reads, and nothing that leads out of the file."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.store import EstimateStore, VoxelStore, write_voxels
from ivimsc.store.reading import Damaged, File
from tests.store.makers import fit, make_voxels

RANDOM = np.random.default_rng(0)


def opened(path: Path) -> File:
    return File(path, InputError)


def test_everything_is_as_h5py_reads_it(tmp_path: Path) -> None:
    """Numbers of every type, contiguous and in chunks, the last of which are not full; many names; long texts."""
    arrays = {"a": RANDOM.random((3, 4)), "chunks": RANDOM.random((1000, 31)), "none": np.zeros((0, 3), np.float32)}
    arrays |= {
        f"g/{kind}": np.arange(100).astype(kind)
        for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
    }
    arrays |= {f"many/t{k}": np.arange(k) for k in range(60)}
    attrs = {
        "text": "x" * 100_000,
        "empty": "",
        "µ": "ä",
        "whole": 3,
        "real": 1.5,
        "numbers": np.array([[1.0, 2], [3, 4]]),
    }
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=(77, 10) if name == "chunks" else None)
        file.attrs.update(attrs)
    with opened(tmp_path / "a.h5") as file:
        assert file.tables().keys() == arrays.keys() and file.attrs.keys() == attrs.keys()
        for name, values in arrays.items():
            assert file[name].dtype == values.dtype and file[name].shape == values.shape
            np.testing.assert_array_equal(file[name][:], values)
            np.testing.assert_array_equal(file[name][5:90], values[5:90])
        for name, value in attrs.items():
            np.testing.assert_array_equal(file.attrs[name], value)


def _external_data(file: h5py.File, secret: Path) -> None:
    file.create_dataset("index", (100, 3), "i4", external=[(str(secret), 0, 1200)])


def _virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((100, 3), "i4")
    layout[...] = h5py.VirtualSource(str(secret), "x", (100, 3), "i4")
    file.create_virtual_dataset("index", layout)


def _packed(file: h5py.File, secret: Path) -> None:
    file.create_dataset("index", data=np.zeros((100, 3), "i4"), compression="gzip")


@pytest.mark.parametrize(("how", "says"), [
    (_external_data, "data in another file"),
    (_virtual, "newer kind|in a layout|message"),
    (_packed, "compressed"),
    (lambda file, secret: file.__setitem__("index", h5py.ExternalLink(str(secret), "x")), "link"),
    (lambda file, secret: file.__setitem__("index", h5py.SoftLink("/signals")), "index as a link"),
    (lambda file, secret: file.__setitem__("index", file["signals"]), "second name"),
    (lambda file, secret: file.create_dataset("index", (600_000_000, 3), "i4", chunks=(4096, 3)), "beyond its"),
])  # fmt: skip
def test_nothing_leads_out_of_the_file(tmp_path: Path, how, says: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"p" * 1200)
    path = write_voxels(tmp_path / "v.h5", make_voxels())
    with h5py.File(path, "r+") as file:
        del file["index"]
        how(file, secret)
    with pytest.raises(InputError, match=says) as error:
        VoxelStore(path)
    assert str(error.value).startswith(f"{path}: found ") and "\n" not in str(error.value)


def test_pieces_that_share_a_place_are_refused(tmp_path: Path) -> None:
    """Or a small file could say that it holds much: every piece has to be a part of the file of its own."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=np.arange(400, dtype="u8"), chunks=(100,))
        places = [file["a"].id.get_chunk_info(k).byte_offset for k in range(4)]
    whole = (tmp_path / "a.h5").read_bytes()
    first, second = (np.uint64(place).tobytes() for place in places[:2])
    assert whole.count(second) == 1
    (tmp_path / "a.h5").write_bytes(whole.replace(second, first))
    with pytest.raises(Damaged, match="pieces of a"):
        opened(tmp_path / "a.h5")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "v.h5")
    for store in (VoxelStore, EstimateStore):
        with pytest.raises(InputError, match="pipe"):
            store(tmp_path / "v.h5")


class TestChecksums:
    @pytest.mark.parametrize("name", ["signals", "index", "truth/f", "tissue"])
    def test_a_changed_bit_is_seen_where_it_is_read(self, tmp_path: Path, name: str) -> None:
        truth = {key: RANDOM.random(70_000).astype(np.float32) for key in ("s0", "f", "d", "dstar")}
        voxels = make_voxels(70_000, truth=truth, tissue=np.ones(70_000, np.uint8), tissue_names={1: "a"})
        path = write_voxels(tmp_path / "v.h5", voxels)
        with h5py.File(path) as file:
            place = file[name].id.get_chunk_info(0).byte_offset
        data = bytearray(path.read_bytes())
        data[place + 1001] ^= 1
        path.write_bytes(data)
        with (
            VoxelStore(path) as store,
            pytest.raises(InputError, match=f"{name} that do not agree with their checksum"),
        ):
            store.verify()
        reads = {"signals": lambda s: [s.read(k, k + 30_000) for k in range(0, 70_000, 30_000)], "index": lambda s: list(s.places()),
                 "truth/f": lambda s: s.truth, "tissue": lambda s: s.tissue}  # fmt: skip
        with VoxelStore(path) as store, pytest.raises(InputError, match="checksum"):
            store.read(100, 200)  # out of order: not yet known
            reads[name](store)

    def test_whole_stores_agree_and_attributes_are_part_of_it(self, tmp_path: Path) -> None:
        voxels = make_voxels(300)
        target = fit(tmp_path / "e.h5", voxels, [70], spectrum=True)
        with EstimateStore(target) as store:
            assert store.verify() == [] and store.has_checksums
        with h5py.File(target, "r+") as file:
            file.attrs["seconds"] = 7.0
        with pytest.raises(InputError, match="attributes that do not agree"):
            EstimateStore(target)

    def test_stores_of_an_earlier_version_have_that_of_their_signals(self, tmp_path: Path) -> None:
        path = write_voxels(tmp_path / "v.h5", make_voxels())
        with h5py.File(path, "r+") as file:
            del file.attrs["checksums"]
        with VoxelStore(path) as store:
            assert store.verify() == ["bvalues", "index"]
        with h5py.File(path, "r+") as file:
            file["signals"][50, 1] += 1
        with VoxelStore(path) as store, pytest.raises(InputError, match="checksum"):
            store.read(0, len(store))
