"""The part file: a kill, a torn end or a full disk loses nothing that was finished, and nothing wrong is taken up."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivimsc.errors import InputError
from ivimsc.store import PartFile
from ivimsc.store.journal import Journal
from ivimsc.voxels import Voxels
from tests.store.makers import contents, fit, make_estimates, make_voxels, quick

ROOT = str(Path(__file__).parents[2])


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
    with pytest.raises(InputError, match="resume.* goes on with it, .*force.* starts anew"):
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
        with pytest.raises(InputError, match="found another process that writes it"):
            PartFile.open(path, header, resume=True)
        with pytest.raises(InputError, match="found another process that writes it"):
            PartFile.open(path, header, force=True)


class TestRecords:
    """A record counts only in its place: right behind the one before, in voxels and in bytes."""

    @pytest.fixture
    def journal(self, tmp_path):
        """Three records of ten voxels; returns the lines of the journal, and a way to resume from others."""
        target = tmp_path / "e.h5"
        with Journal(target, {"fit": 1}) as open_journal:
            for k in range(3):
                open_journal.append(
                    10 * (k + 1), {"f": np.full(10, k, np.float32), "n": np.arange(10 * k, 10 * k + 10)}
                )
        path = tmp_path / "e.h5.part.journal"
        header, *lines = texts(path)

        def resumed(lines):
            path.write_bytes(signed([header, *lines]))
            with Journal(target, {"fit": 1}, resume=True) as again:
                assert bool(again.dropped) == (len(again.records) < len(lines))
                return [again.read(record) for record in again.records], again.done

        return lines, resumed

    def test_they_come_back_in_order(self, journal):
        lines, resumed = journal
        found, done = resumed(lines)
        assert done == 30
        for k, arrays in enumerate(found):
            np.testing.assert_array_equal(arrays["f"], np.full(10, k))
            np.testing.assert_array_equal(arrays["n"], np.arange(10 * k, 10 * k + 10))

    @pytest.mark.parametrize(("kept", "done"), [((0, 2), 10), ((1, 2), 0), ((0, 2, 1), 10), ((0, 0, 1), 10)], ids=str)
    def test_a_record_that_does_not_follow_ends_the_list(self, journal, kept, done):
        lines, resumed = journal
        found, reached = resumed([lines[k] for k in kept])
        assert (reached, len(found)) == (done, done // 10)

    @pytest.mark.parametrize("wrong", ["voxels", "bytes"])
    def test_whole_bytes_in_a_wrong_place_are_no_record(self, journal, wrong):
        """After the first record: the second's bytes for the third's voxels, or the third's bytes for the second's."""
        lines, resumed = journal
        second, third = json.loads(lines[1]), json.loads(lines[2])
        voxels, content = (third, second) if wrong == "voxels" else (second, third)
        assert resumed([lines[0], json.dumps(voxels[:2] + content[2:])])[1] == 10

    def test_a_wrong_checksum_is_no_record(self, journal):
        lines, resumed = journal
        second = json.loads(lines[1])
        second[4] ^= 1
        assert resumed([lines[0], json.dumps(second), lines[2]])[1] == 10

    @pytest.mark.parametrize(("place", "value"), [
        (1, 10), (1, 5), (1, -1), (1, 20.0), (1, True), (1, None), (2, -120), (3, 10**12), (3, -1), (5, 7),
        (6, None), (6, [["f", "<f4", 29]]), (6, [["f", "|O8", 15]]), (6, [[["f"], "<f4", 30]]), (6, [["f", "<f4", -10]]),
    ])  # fmt: skip
    def test_numbers_that_do_not_fit_are_no_record_even_with_right_checksums(self, journal, place, value):
        lines, resumed = journal
        second = json.loads(lines[1])
        second[place] = value
        assert resumed([lines[0], json.dumps(second), lines[2]])[1] == 10

    @pytest.mark.parametrize("lines", ["[]", "{}", "3", "[1, 2]", '"a"', "NaN"])
    def test_other_json_is_no_record(self, journal, lines):
        assert journal[1]([journal[0][0], lines])[1] == 10


def texts(path: Path) -> list[str]:
    """The lines of a journal without their checksums."""
    return [line.split(" ", 1)[1] for line in path.read_text().splitlines()]


def signed(lines: list[str]) -> bytes:
    """Lines of a journal with their checksums, which are right whatever the lines say."""
    content, total = b"", 0
    for text in lines:
        total = zlib.crc32(text.encode(), total)
        content += b"%08x %s\n" % (total, text.encode())
    return content


@quick
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_journal_is_told_and_no_finished_work_is_lost_unsaid(tmp_path, place, bit):
    """In the header it is an error and nothing is touched; in a record, that and the later chunks are fitted again."""
    voxels, path = make_voxels(), tmp_path / "e.h5"
    interrupted(path, voxels)
    part, journal = tmp_path / "e.h5.part", tmp_path / "e.h5.part.journal"
    data = bytearray(journal.read_bytes())
    place, header = place % len(data), data.index(b"\n") + 1
    data[place] ^= 1 << bit
    journal.write_bytes(data)
    before = part.read_bytes()
    if place < header:
        with pytest.raises(InputError, match=r"journal: found a damaged first line, .*force=True"):
            PartFile.open(path, PartFile.header(voxels, "nlls", {"split": 200.0}), resume=True)
        assert (part.read_bytes(), journal.read_bytes()) == (before, data)
    else:
        with PartFile.open(path, PartFile.header(voxels, "nlls", {"split": 200.0}), resume=True) as opened:
            assert opened.done < 80 and bool(opened.dropped) == (place < len(data) - 1)
        resumed = fit(path, voxels, [20], spectrum=True, resume=True)
        assert contents(resumed) == contents(fit(tmp_path / "whole.h5", voxels, [20], spectrum=True, force=True))
        path.unlink()
    for left in (part, journal):
        left.unlink(missing_ok=True)


def test_chunks_of_other_fields_or_lengths_become_no_store(tmp_path):
    """Whatever their checksums say, nothing but whole fields of all voxels gets the final name."""
    voxels, path = make_voxels(), tmp_path / "e.h5"
    header = PartFile.header(voxels, "nlls", {})
    short = {key: np.zeros(99, np.float32) for key in ("s0", "rmse", "outcome")}
    for arrays in (short, {"s0": np.zeros(100, np.float32)}, {**short, "../x": np.zeros(100, np.float32)}, {}):
        with Journal(path, header, force=True) as journal:
            journal.append(100, arrays)
        with PartFile.open(path, header, resume=True) as part:
            with pytest.raises(InputError, match="found chunks with other fields than those of 100 voxels"):
                part.finish(voxels, device="cpu", threads=1, seconds=0)
            assert not path.exists() and Path(f"{path}.part").exists()


def test_bytes_that_change_while_the_fit_runs_are_told(tmp_path):
    voxels, path = make_voxels(), tmp_path / "e.h5"
    with PartFile.open(path, PartFile.header(voxels, "nlls", {})) as part:
        part.append(make_estimates(0, 100))
        with open(f"{path}.part", "r+b") as file:
            file.write(b"?")
        with pytest.raises(InputError, match="found the voxels 0 to 100 damaged"):
            part.finish(voxels, device="cpu", threads=1, seconds=0)
    assert not path.exists()


@pytest.mark.parametrize("name", ["e.h5.part", "e.h5.part.journal"])
@pytest.mark.parametrize("kind", ["link", "dangling", "hard", "pipe", "folder"])
@pytest.mark.parametrize("opening", [{"resume": True}, {"force": True}, {}])
def test_nothing_is_written_through_what_somebody_put_there(tmp_path, name, kind, opening):
    other = tmp_path / "other"
    other.write_text("mine")
    there = tmp_path / name
    {"link": lambda: there.symlink_to(other), "dangling": lambda: there.symlink_to(tmp_path / "none"),
     "hard": lambda: there.hardlink_to(other), "pipe": lambda: os.mkfifo(there), "folder": there.mkdir}[kind]()  # fmt: skip
    with pytest.raises(InputError, match=f"{name}: found|found the part file"):
        PartFile.open(tmp_path / "e.h5", PartFile.header(make_voxels(), "nlls", {}), **opening)
    assert other.read_text() == "mine" and not (tmp_path / "none").exists()


KILLED = """
import sys
sys.path[:0] = [{root!r}]
import random
from pathlib import Path
from ivimsc.store import PartFile
from tests.store.makers import make_estimates, make_voxels
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
    """At least 15 kills: the target is absent or complete, the done part stays, the result has the same bytes."""
    voxels = make_voxels(20000)
    reference = tmp_path / "reference.h5"
    with PartFile.open(reference, PartFile.header(voxels, "nlls", {})) as part:
        part.append(make_estimates(0, 20000, spectrum=True))
        part.finish(voxels, device="cpu", threads=1, seconds=0.0)
    expected = contents(reference)
    script = KILLED.format(root=ROOT)
    target, chance = tmp_path / "e.h5", random.Random(1)
    kills = finished = done = runs = 0
    whole = 60.0  # seconds; replaced by what the first run takes, which nobody kills
    while kills < 15 or not target.exists():
        runs += 1
        assert runs < 150, "the loop does not come to an end"
        command = [sys.executable, "-c", script, tmp_path, str(runs)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        begin = time.perf_counter()
        try:
            errors = child.communicate(timeout=60 if runs == 1 or kills >= 15 else chance.uniform(0, whole))[1]
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
            if kills < 15:
                for name in ("e.h5", "e.h5.part", "e.h5.part.journal"):
                    (tmp_path / name).unlink(missing_ok=True)
    assert finished > 1


FULL = """
import sys, resource
sys.path[:0] = [{root!r}]
from pathlib import Path
from ivimsc.errors import InputError, IvimscError
from ivimsc.store import write_voxels
from tests.store.makers import fit, make_voxels
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
    script = FULL.format(root=ROOT, limit=limit, action=action)
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1 and "x.h5" in done.stdout and "File too large" in done.stdout
    assert set(os.listdir(tmp_path)) == left
