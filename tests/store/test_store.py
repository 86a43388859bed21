"""Stores: what is written is read back, byte by byte; what is broken is told in one line; a kill loses nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ivimsc.errors import InputError, IvimscError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.store import EstimateStore, PartFile, StoredDictionary, VoxelStore, VoxelWriter, open_store, write_voxels
from ivimsc.voxels import Geometry, Voxels

AFFINE = np.array([[-2, 0.1, 0, 90], [0.1, 2, 0.3, -126], [0, -0.3, 4, -72], [0, 0, 0, 1.0]])
GEOMETRY = Geometry((7, 8, 9), AFFINE, sform=AFFINE, sform_code=2, zooms=(2.0, 2.0, 4.0), xyz_unit="mm")
floats = st.floats(width=32)  # NaN and Inf among them
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_voxels(n: int = 100, nb: int = 4, seed: int = 0, **more) -> Voxels:
    draw = np.random.default_rng(seed)
    index = np.stack(np.unravel_index(np.arange(n) % 504, (7, 8, 9), order="F"), 1).astype(np.int32)
    return Voxels(draw.random((n, nb), np.float32), np.arange(nb) * 50.0, index, GEOMETRY, "a.nii.gz", "ab12", **more)


def make_estimates(start: int, stop: int, spectrum: bool = False, extras: bool = True) -> Estimates:
    """Estimates that depend on the voxel alone, as those of a method do."""
    voxel = np.arange(start, stop)
    base = np.sin(voxel + 0.5).astype(np.float32)
    base[voxel % 7 == 0] = np.nan
    rows = voxel % 4  # entries per voxel, some none
    entries = np.concatenate([np.arange(r) + 10 * v for v, r in zip(voxel, rows, strict=True)] + [np.empty(0)])
    sparse = Spectrum(np.float32(entries) / 3, np.int32(entries % 97), np.concatenate([[0], np.cumsum(rows)]))
    return Estimates(
        S0=base, f=base * 2, D=base * 3, Dstar=base * 4, rmse=base * 5, outcome=np.uint8(1 + voxel % 6),
        fstd=base * 6 if extras else None, spectrum=sparse if spectrum else None,
    )  # fmt: skip


def fit(path: Path, voxels: Voxels, chunks: list[int], spectrum: bool = False, **opening) -> Path:
    """A whole fit in chunks of the given sizes (repeated)."""
    with PartFile.open(path, PartFile.header(voxels, "nlls", {"split": 200.0}), **opening) as part:
        turn = 0
        while part.done < len(voxels):
            stop = min(part.done + chunks[turn % len(chunks)], len(voxels))
            part.append(make_estimates(part.done, stop, spectrum))
            turn += 1
        dictionary = StoredDictionary(np.linspace(0, 5e-3, 3), np.linspace(5e-3, 0.2, 4)) if spectrum else None
        return part.finish(voxels, device="cpu", threads=2, seconds=1.5, notes=["a note"], dictionary=dictionary)


def contents(path: Path) -> dict[str, tuple]:
    """Every dataset as (dtype, chunks, bytes)."""
    found = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.chunks, item[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


# -- voxel stores


@quick
@given(
    signals=hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.integers(1, 6)), elements=floats),
    labelled=st.booleans(),
    pieces=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_voxels_come_back_as_they_were(tmp_path: Path, signals: np.ndarray, labelled: bool, pieces: list[int]) -> None:
    n, nb = signals.shape
    about = {"truth": {"f": signals[:, 0], "dstar": signals[:, -1]}, "tissue": np.arange(n, dtype=np.uint8)}
    about |= {"tissue_names": {0: "wall", 3: "placenta µ"}}
    attrs = {"snr": 30.0, "seed": 7, "notes": ["x"]}
    index = np.arange(3 * n, dtype=np.int32).reshape(n, 3)
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


def assert_same_place(found: Geometry, expected: Geometry) -> None:
    for name in Geometry.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_streaming_gives_the_same_bytes(tmp_path: Path) -> None:
    voxels = make_voxels(1000, truth={"f": np.arange(1000, dtype=np.float32)}, tissue=np.ones(1000, np.uint8))
    write_voxels(tmp_path / "whole.h5", voxels)
    with VoxelWriter(tmp_path / "pieces.h5", 1000, voxels.bvalues, GEOMETRY) as writer:
        for start in range(0, 1000, 77):
            at = slice(start, start + 77)
            writer.append(voxels.signals[at], voxels.index[at], {"f": voxels.truth["f"][at]}, voxels.tissue[at])
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
    with pytest.raises(InputError, match=r"v\.h5: found an existing file.*force=True"):
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


# -- stores that are broken


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
        del file["estimates/f"]
        file.move("estimates/outcome", "estimates/kept")
    with pytest.raises(InputError, match="found no estimates/outcome, expected s0, rmse, outcome"):
        EstimateStore(target)


# -- estimate stores and part files


def test_estimates_come_back_with_what_made_them(tmp_path: Path) -> None:
    voxels = make_voxels(attrs={"phantom": "placenta"})
    target = fit(tmp_path / "e.h5", voxels, [30], spectrum=True)
    assert sorted(os.listdir(tmp_path)) == ["e.h5"]
    whole = make_estimates(0, 100, spectrum=True)
    with EstimateStore(target) as store:
        assert len(store) == 100
        assert store.keys == ["s0", "f", "d", "dstar", "rmse", "outcome", "fstd"]
        found = store.read()
        for key, values in whole.items():
            np.testing.assert_array_equal(store[key], values)
            assert store[key].dtype == values.dtype
        np.testing.assert_array_equal(found.Dstar, whole.Dstar)
        np.testing.assert_array_equal(store.read(10, 20).f, whole.f[10:20])
        for name in Spectrum._fields:
            np.testing.assert_array_equal(getattr(store.spectrum, name), getattr(whole.spectrum, name))
        assert store.spectrum.indptr.dtype == np.int64
        np.testing.assert_array_equal(store.dictionary.Dstar, np.linspace(5e-3, 0.2, 4))
        assert (store.method, store.options, store.notes) == ("nlls", {"split": 200.0}, ["a note"])
        assert (store.device, store.threads, store.seconds) == ("cpu", 2, 1.5)
        assert (store.signals_sha256, store.source_sha256) == (voxels.signals_sha256, "ab12")
        assert store.attrs == {"phantom": "placenta"}
        np.testing.assert_array_equal(store.bvalues, voxels.bvalues)
        np.testing.assert_array_equal(store.index, voxels.index)
        assert_same_place(store.geometry, GEOMETRY)
        with pytest.raises(InputError, match="no field 'gap', expected one of s0"):
            store["gap"]


@quick
@given(chunks=st.lists(st.integers(1, 60), min_size=1, max_size=6), spectrum=st.booleans())
def test_the_chunk_size_does_not_matter(tmp_path: Path, chunks: list[int], spectrum: bool) -> None:
    voxels = make_voxels()
    one = fit(tmp_path / "one.h5", voxels, [100], spectrum, force=True)
    two = fit(tmp_path / "two.h5", voxels, chunks, spectrum, force=True)
    assert contents(one) == contents(two)


def interrupted(path: Path, voxels: Voxels, chunks: int = 4) -> PartFile:
    with PartFile.open(path, PartFile.header(voxels, "nlls", {"split": 200.0}), resume=True) as part:
        for _ in range(chunks):
            part.append(make_estimates(part.done, part.done + 20, spectrum=True))
    return part


@quick
@given(cut=st.integers(0, 400), cut_journal=st.integers(0, 400), flip=st.integers(0, 3000) | st.none())
def test_a_torn_end_is_dropped_on_resume(tmp_path: Path, cut: int, cut_journal: int, flip: int | None) -> None:
    """What a power cut may leave: either file shorter than it was, or bytes of the data wrong."""
    voxels, path = make_voxels(), tmp_path / "e.h5"
    interrupted(path, voxels)
    part, journal = tmp_path / "e.h5.part", tmp_path / "e.h5.part.journal"
    os.truncate(part, max(part.stat().st_size - cut, 0))
    os.truncate(journal, max(journal.stat().st_size - cut_journal, 0))
    if flip is not None and part.stat().st_size:
        data = bytearray(part.read_bytes())
        data[flip % len(data)] ^= 1
        part.write_bytes(data)
    resumed = fit(path, voxels, [20], spectrum=True, resume=True)
    whole = fit(tmp_path / "whole.h5", voxels, [20], spectrum=True, force=True)
    assert contents(resumed) == contents(whole)
    assert not part.exists() and not journal.exists()
    path.unlink()


@pytest.mark.parametrize("torn", [b"[80, 100, 12", b"\xff\n", b"", None])
def test_resume_goes_on_where_it_stopped(tmp_path: Path, torn: bytes | None) -> None:
    """Twice: what the first resume drops must not stand in the way of the second."""
    voxels, path = make_voxels(), tmp_path / "e.h5"
    interrupted(path, voxels)
    assert not path.exists()
    journal = Path(f"{path}.part.journal")
    if torn is None:
        os.truncate(journal, journal.stat().st_size - 1)  # only the end of the line is missing
    else:
        journal.write_bytes(journal.read_bytes() + torn)
    done = 60 if torn is None else 80
    for _ in range(2):
        with PartFile.open(path, PartFile.header(voxels, "nlls", {"split": 200.0}), resume=True) as part:
            assert part.done == done
            part.append(make_estimates(done, done + 10, spectrum=True))
            done += 10


def test_a_part_file_is_not_lost_by_accident(tmp_path: Path) -> None:
    voxels, path = make_voxels(), tmp_path / "e.h5"
    header = PartFile.header(voxels, "nlls", {"split": 200.0})
    interrupted(path, voxels)
    before = Path(f"{path}.part").read_bytes()
    with pytest.raises(InputError, match="resume=True goes on with it, force=True starts anew"):
        PartFile.open(path, header)
    with pytest.raises(InputError, match='found method nlls|found method "nlls", expected "segmented"'):
        PartFile.open(path, header | {"method": "segmented"}, resume=True)
    with pytest.raises(InputError, match=r"found signals_sha256 .* expected \"00\""):
        PartFile.open(path, header | {"signals_sha256": "00"}, resume=True)
    with pytest.raises(InputError, match=r"found option split 200.0, expected 100.0"):
        PartFile.open(path, header | {"options": {"split": 100.0}}, resume=True)
    assert Path(f"{path}.part").read_bytes() == before
    with PartFile.open(path, header, force=True) as part:
        assert part.done == 0


def test_two_fits_into_one_file(tmp_path: Path) -> None:
    voxels, path = make_voxels(), tmp_path / "e.h5"
    header = PartFile.header(voxels, "nlls", {})
    with PartFile.open(path, header):
        with pytest.raises(InputError, match="found another fit writing it"):
            PartFile.open(path, header, resume=True)
        with pytest.raises(InputError, match="found another fit writing it"):
            PartFile.open(path, header, force=True)


def test_only_s0_rmse_and_outcome_are_needed(tmp_path: Path) -> None:
    """Methods without f and D*, and in the end without D: each field is absent, not filled."""
    voxels, whole = make_voxels(10), make_estimates(0, 10)
    few = Estimates(S0=whole.S0, f=None, D=None, Dstar=None, rmse=whole.rmse, outcome=whole.outcome)
    path = tmp_path / "few.h5"
    with PartFile.open(path, PartFile.header(voxels, "few", {})) as part:
        part.append(few)
        assert part.done == 10
        part.finish(voxels, device="cpu", threads=1, seconds=0.0)
    with EstimateStore(path) as store:
        assert store.keys == ["s0", "rmse", "outcome"] and len(store) == 10
        np.testing.assert_array_equal(store["rmse"], whole.rmse)
        with pytest.raises(InputError, match="found no field 'f', expected one of s0, rmse, outcome"):
            store["f"]
    with h5py.File(path, "r+") as file:
        del file["estimates/rmse"]
    with pytest.raises(InputError, match="found no estimates/rmse, expected s0, rmse, outcome"):
        EstimateStore(path)


def test_finish_wants_all_voxels(tmp_path: Path) -> None:
    voxels, path = make_voxels(), tmp_path / "e.h5"
    with PartFile.open(path, PartFile.header(voxels, "nlls", {})) as part:
        part.append(make_estimates(0, 30))
        with pytest.raises(InputError, match="found 30 voxels fitted, expected 100"):
            part.finish(voxels, device="cpu", threads=1, seconds=0.0)
        part.append(make_estimates(30, 100, extras=False))
        with pytest.raises(InputError, match="different fields"):
            part.finish(voxels, device="cpu", threads=1, seconds=0.0)
    assert not path.exists()


def test_an_estimate_store_is_not_overwritten(tmp_path: Path) -> None:
    voxels = make_voxels()
    path = fit(tmp_path / "e.h5", voxels, [50])
    for resume in (False, True):
        with pytest.raises(InputError, match="found an existing file"):
            fit(path, voxels, [50], resume=resume)
    fit(path, voxels, [50], force=True)


# -- kills and full disks, in processes of their own

KILLED = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import numpy as np, random
from pathlib import Path
from test_store import make_voxels, make_estimates, PartFile, StoredDictionary
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
voxels = make_voxels(20000)
chunk = random.Random(seed).choice([100, 333, 1000])
print("ready", flush=True)
with PartFile.open(folder / "e.h5", PartFile.header(voxels, "nlls", {{}}), resume=True) as part:
    print(part.done, flush=True)
    while part.done < len(voxels):
        part.append(make_estimates(part.done, min(part.done + chunk, len(voxels)), spectrum=True))
    part.finish(voxels, device="cpu", threads=1, seconds=0.0)
"""


def test_kill_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    """At least 20 kills: the target is absent or complete, the done part stays, the result has the same bytes."""
    voxels = make_voxels(20000)
    reference = tmp_path / "reference.h5"
    with PartFile.open(reference, PartFile.header(voxels, "nlls", {})) as part:
        part.append(make_estimates(0, 20000, spectrum=True))
        part.finish(voxels, device="cpu", threads=1, seconds=0.0)
    expected = contents(reference)
    script = KILLED.format(root=str(Path(__file__).parents[2]), tests=str(Path(__file__).parent))
    target, chance = tmp_path / "e.h5", random.Random(1)
    kills = finished = done = runs = 0
    whole = 60.0  # seconds; replaced by what the first run takes, which nobody kills
    while kills < 25 or not target.exists():
        runs += 1
        assert runs < 150, "the loop does not come to an end"
        command = [sys.executable, "-c", script, tmp_path, str(runs)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        begin = time.perf_counter()
        try:
            errors = child.communicate(timeout=60 if runs == 1 or kills >= 25 else chance.uniform(0, whole))[1]
            assert child.returncode == 0, errors
            whole = min(whole, time.perf_counter() - begin) if runs == 1 else whole
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            output = child.communicate()[0].split()
            kills += 1
            if output:
                assert int(output[0]) >= done or target.exists(), "chunks that were done are gone"
                done = int(output[0])
        if target.exists():
            assert contents(target) == expected
            finished, done = finished + 1, 0
            if kills < 25:
                for name in ("e.h5", "e.h5.part", "e.h5.part.journal"):
                    (tmp_path / name).unlink(missing_ok=True)
    assert finished > 1


FULL = """
import sys, resource
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from test_store import fit, make_voxels, write_voxels, IvimscError, InputError
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    {action}
except IvimscError as error:
    assert not isinstance(error, InputError)
    print(error)
"""


@pytest.mark.parametrize("limit", [1000, 100_000, 400_000])
@pytest.mark.parametrize(
    ("action", "left"),
    [
        ("write_voxels(Path(sys.argv[1]) / 'x.h5', make_voxels(200000))", set()),
        ("fit(Path(sys.argv[1]) / 'x.h5', make_voxels(50000), [5000])", {"x.h5.part", "x.h5.part.journal"}),
    ],
)
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, limit: int, action: str, left: set) -> None:
    """The largest file size stands for the disk; HDF5 itself would crash the process at its end."""
    root, tests = str(Path(__file__).parents[2]), str(Path(__file__).parent)
    script = FULL.format(root=root, tests=tests, limit=limit, action=action)
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1 and "x.h5" in done.stdout and "File too large" in done.stdout
    assert set(os.listdir(tmp_path)) == left


def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    """3 million voxels, 12 b-values: 144 MB of signals and 110 MB of estimates through far less memory."""
    script = f"""
import sys, resource
sys.path[:0] = [{str(Path(__file__).parents[2])!r}, {str(Path(__file__).parent)!r}]
import numpy as np
from test_store import *
n, folder = 3_000_000, Path(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
piece = make_voxels(100_000, 12)
values = np.ones(100_000, np.float32)
estimates = Estimates(*[values] * 5, np.ones(100_000, np.uint8), values, values, values)
before = peak()
with VoxelWriter(folder / "v.h5", n, piece.bvalues, GEOMETRY) as writer:
    for _ in range(30):
        writer.append(piece.signals, piece.index)
with VoxelStore(folder / "v.h5") as store, PartFile.open(folder / "e.h5", PartFile.header(store, "nlls", {{}})) as part:
    while part.done < n:
        store.read(part.done, part.done + 100_000)
        part.append(estimates)
    part.finish(store, device="cpu", threads=1, seconds=0.0)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # MB: some blocks of 65,536 voxels and HDF5's caches; the data are 250 MB


def test_errors_of_the_disk_are_no_bad_input(tmp_path: Path) -> None:
    assert issubclass(InputError, IvimscError)
