"""Voxel stores: what is written is read back, byte by byte; nothing half-written appears; memory stays flat."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ivimsc.errors import InputError
from ivimsc.store import VoxelStore, VoxelWriter, write_voxels
from ivimsc.voxels import Voxels
from tests.store.makers import GEOMETRY, assert_same_place, contents, make_voxels, quick

floats = st.floats(width=32)  # NaN and Inf among them


@quick
@given(
    signals=hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.integers(1, 6)), elements=floats),
    labelled=st.booleans(),
    pieces=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_voxels_come_back_as_they_were(tmp_path: Path, signals: np.ndarray, labelled: bool, pieces: list[int]) -> None:
    n, nb = signals.shape
    about = {
        "truth": {"s0": signals[:, 0], "f": signals[:, -1], "d": signals[:, 0], "dstar": signals[:, -1]},
        "tissue": np.arange(n, dtype=np.uint8),
    }
    about |= {"tissue_names": {0: "wall", 3: "placenta µ"}}
    attrs = {"snr": 30.0, "seed": 7, "notes": ["x"]}
    index = np.stack(np.unravel_index(np.arange(n), GEOMETRY.shape, order="F"), 1).astype(np.int32)
    given_ = Voxels(signals, np.arange(nb) * 20.0, index, GEOMETRY, "a.nii", attrs=attrs, **(about if labelled else {}))
    path = write_voxels(tmp_path / "v.h5", given_, force=True)
    with VoxelStore(path) as store:
        assert len(store) == n
        assert store.signals[:].tobytes() == signals.tobytes()
        assert store.signals_sha256 == given_.signals_sha256
        at = 0
        for size in pieces:
            assert store.read(at, at + size).tobytes() == signals[at : at + size].tobytes()
            at += size
        np.testing.assert_array_equal(store.index, given_.index)
        np.testing.assert_array_equal(store.bvalues, given_.bvalues)
        assert (store.source, store.attrs, store.tissue_names) == ("a.nii", attrs, given_.tissue_names)
        assert (store.truth is None) == (not labelled) == (store.tissue is None)
        for key, values in (given_.truth or {}).items():
            np.testing.assert_array_equal(store.truth[key], values)
        assert_same_place(store.geometry, GEOMETRY)


def test_streaming_gives_the_same_bytes(tmp_path: Path) -> None:
    voxels = make_voxels(
        1000,
        truth=dict.fromkeys(("s0", "f", "d", "dstar"), np.arange(1000, dtype=np.float32)),
        tissue=np.ones(1000, np.uint8),
    )
    write_voxels(tmp_path / "whole.h5", voxels)
    with VoxelWriter(tmp_path / "pieces.h5", 1000, voxels.bvalues, GEOMETRY) as writer:
        for start in range(0, 1000, 77):
            at = slice(start, start + 77)
            writer.append(
                voxels.signals[at],
                voxels.index[at],
                {key: values[at] for key, values in voxels.truth.items()},
                voxels.tissue[at],
            )
    assert contents(tmp_path / "whole.h5") == contents(tmp_path / "pieces.h5")
    with VoxelStore(tmp_path / "pieces.h5") as store:
        assert store.signals_sha256 == voxels.signals_sha256


def test_other_types_and_layouts(tmp_path: Path) -> None:
    signals = np.asfortranarray(np.arange(40).reshape(10, 4)).astype(np.int16)
    with VoxelWriter(tmp_path / "v.h5", 5, [0, 1, 2, 3], GEOMETRY) as writer:
        writer.append(signals[::2], np.zeros((5, 3), int))
    with VoxelStore(tmp_path / "v.h5") as store:
        np.testing.assert_array_equal(store.signals[:], signals[::2])


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    path.write_text("precious")
    with pytest.raises(InputError, match=r"v\.h5: found an existing file.*force"):
        write_voxels(path, make_voxels())
    assert path.read_text() == "precious"
    write_voxels(path, make_voxels(), force=True)
    with VoxelStore(path) as store:
        assert len(store) == 100


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with pytest.raises(ZeroDivisionError), VoxelWriter(path, 10, [0, 1], GEOMETRY):
        raise ZeroDivisionError
    with pytest.raises(InputError, match="found 4 voxels, expected 10"), VoxelWriter(path, 10, [0, 1], GEOMETRY) as w:
        w.append(np.ones((4, 2)), np.zeros((4, 3)))
    with pytest.raises(InputError, match="10 in all"), VoxelWriter(path, 10, [0, 1], GEOMETRY) as writer:
        writer.append(np.ones((11, 2)), np.zeros((11, 3)))
    with pytest.raises(InputError, match="rows"), VoxelWriter(path, 2, [0, 1], GEOMETRY) as writer:
        writer.append(np.ones((1, 2)), np.zeros((1, 3)), tissue=np.ones(1))
        writer.append(np.ones((1, 2)), np.zeros((1, 3)))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        write_voxels(tmp_path / "none" / "v.h5", make_voxels())
    with pytest.raises(InputError, match="found a folder"):
        write_voxels(tmp_path, make_voxels(), force=True)


def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    """3 million voxels, 12 b-values: 144 MB of signals and 110 MB of estimates through far less memory."""
    script = f"""
import dataclasses, sys, resource
sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
import numpy as np
from ivimsc.estimates import Estimates
from ivimsc.store import PartFile, VoxelStore, VoxelWriter
from pathlib import Path
from tests.store.makers import GEOMETRY, make_voxels
n, folder = 3_000_000, Path(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
piece = make_voxels(100_000, 12)
values = np.ones(100_000, np.float32)
estimates = Estimates(*[values] * 5, np.ones(100_000, np.uint8), values, values, values)
before = peak()
geometry = dataclasses.replace(GEOMETRY, shape=(100, 1000, 30))
index = np.stack(np.unravel_index(np.arange(100_000), (100, 1000, 1), order="F"), 1).astype(np.int32)
with VoxelWriter(folder / "v.h5", n, piece.bvalues, geometry) as writer:
    for _ in range(30):
        writer.append(piece.signals, index)
        index[:, 2] += 1
with VoxelStore(folder / "v.h5") as store, PartFile.open(folder / "e.h5", PartFile.header(store, "nlls", {{}})) as part:
    while part.done < n:
        store.read(part.done, part.done + 100_000)
        part.append(estimates)
    part.finish(store, device="cpu", threads=1, seconds=0.0)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # MB: some blocks of 65,536 voxels and HDF5's caches; the data are 250 MB
