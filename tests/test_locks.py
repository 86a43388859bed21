"""One process at a time: claims, their end, and what a killed process leaves; nothing is written through links."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

fcntl = pytest.importorskip("fcntl")

from ivimsc import locks
from ivimsc.errors import InputError
from ivimsc.files import alone, written_together, written_whole
from ivimsc.locks import claim, claim_new, open_plain

ROOT = str(Path(__file__).parents[1])
HOLDER = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from ivimsc.files import alone, written_whole
target = Path(sys.argv[1])
with {held}:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """held(code): a process inside ``with code``; killed at the end."""
    made = []

    def start(code, target="m"):
        words = [sys.executable, "-c", HOLDER.format(root=ROOT, held=code), str(tmp_path / target)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        made.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in made:
        process.kill()
        process.communicate()


def test_a_second_one_is_refused_until_the_first_ends(tmp_path):
    lock = tmp_path / ".m.lock"
    with alone(lock, tmp_path / "m"):
        with pytest.raises(InputError, match="m: found another process that writes it, expected to be the only one"), alone(lock, tmp_path / "m"):  # fmt: skip
            pass
        assert lock.exists()
    with alone(lock, tmp_path / "m"):
        assert lock.exists()
    assert not list(tmp_path.iterdir())


def test_it_dies_with_its_process(tmp_path, held):
    lock = tmp_path / ".m.lock"
    holder = held('alone(target.with_name(".m.lock"), target)')
    with pytest.raises(InputError, match="another process"), alone(lock, tmp_path / "m"):
        pass
    holder.kill()
    holder.communicate()
    assert lock.exists()  # nobody was left to remove it
    with alone(lock, tmp_path / "m"):
        pass
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_write_one_file_and_what_a_killed_one_leaves_is_removed(tmp_path, held):
    """Also with force: the second says so before it starts its work."""
    target = tmp_path / "m"
    holder = held("written_whole(target)")
    for force in (False, True):
        with pytest.raises(InputError, match="m: found another process that writes it"), written_whole(target, force):
            pytest.fail("the block ran")
    assert [path.name for path in tmp_path.iterdir()] == [".m.tmp"]
    holder.kill()
    holder.communicate()
    assert (tmp_path / ".m.tmp").exists()
    with written_whole(target) as temporary:
        temporary.write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_file_that_appears_meanwhile_stays_and_is_told(tmp_path):
    target = tmp_path / "m"
    with pytest.raises(InputError, match="m: found an existing file"), written_whole(target) as temporary:
        temporary.write_text("ours")
        target.write_text("theirs")
    assert target.read_text() == "theirs" and [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_all_files_get_their_names_or_none(tmp_path, monkeypatch, links):
    def link(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", link)
    paths = [tmp_path / name for name in "abc"]
    with pytest.raises(InputError, match="c: found an existing file"), written_together(paths) as temporary:
        for name in temporary:
            name.write_text("ours")
        paths[2].write_text("theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["c"] and paths[2].read_text() == "theirs"
    paths[2].unlink()
    with written_together(paths) as temporary:
        for name in temporary:
            name.write_text("ours")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_killed_between_its_two_names_a_file_stays_whole(tmp_path):
    target, left = tmp_path / "m", tmp_path / ".m.tmp"
    target.write_text("whole")
    left.hardlink_to(target)
    with written_whole(target, force=True) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "whole"
    assert target.read_text() == "new" and not left.exists()


@pytest.mark.parametrize("make", [
    lambda there, other: there.symlink_to(other), lambda there, other: there.symlink_to(other.with_name("none")),
    lambda there, other: os.mkfifo(there), lambda there, other: there.mkdir(),
], ids=["link", "dangling", "pipe", "folder"])  # fmt: skip
def test_what_somebody_put_under_our_names_is_refused(tmp_path, make):
    other = tmp_path / "other"
    other.write_text("mine")
    for name, use in ((".m.tmp", lambda p: written_whole(p)), (".m.lock", lambda p: alone(p.with_name(".m.lock"), p))):
        make(tmp_path / name, other)
        with pytest.raises(InputError, match=f"{name}: found "), use(tmp_path / "m"):
            pytest.fail("the block ran")
    assert other.read_text() == "mine" and not (tmp_path / "none").exists()


def test_the_target_itself_is_replaced_and_not_written_through(tmp_path):
    other, target = tmp_path / "other", tmp_path / "m"
    other.write_text("mine")
    for to in (other, tmp_path / "none"):
        target.symlink_to(to)
        with pytest.raises(InputError, match="m: found an existing file"), written_whole(target):
            pytest.fail("the block ran")
        with written_whole(target, force=True) as temporary:
            temporary.write_text("new")
        assert other.read_text() == "mine" and not target.is_symlink() and not (tmp_path / "none").exists()
        target.unlink()


def test_without_locks_every_process_has_a_file_of_its_own(tmp_path, monkeypatch):
    """Some network folders have none; two that write one target are then told apart when the first is done."""

    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(InputError, match="found an existing file"), written_whole(tmp_path / "m") as first:
        first.write_text("first")
        with written_whole(tmp_path / "m") as second:
            assert second != first
            second.write_text("second")
    assert (tmp_path / "m").read_text() == "second" and [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_claim_that_lost_its_name_is_taken_again(tmp_path, monkeypatch):
    """The holder removes the file after it was opened here and before it is locked: what is locked must be what is there."""
    path, real, turns = tmp_path / "f", fcntl.flock, []

    def flock(descriptor, how):
        if not turns:
            path.unlink()
        turns.append(descriptor)
        real(descriptor, how)

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    for make in (claim, claim_new):
        turns.clear()
        held = make(path, tmp_path / "m")
        assert len(turns) == 2 and held.same()
        held.remove()
        assert not path.exists()


def test_remove_leaves_the_file_of_another_process(tmp_path):
    path = tmp_path / "f"
    held = claim(path, tmp_path / "m")
    path.rename(tmp_path / "renamed")
    path.write_text("theirs")
    held.remove()
    assert path.read_text() == "theirs"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"), alone(tmp_path / "lock", tmp_path / "m"):
        pass
    with pytest.raises(PermissionError):
        open_plain(tmp_path / "f")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_library_itself_installs_no_handler(tmp_path, held, number):
    """Python code that imports ivimsc keeps its own way to end; what it leaves is removed by the next."""
    holder = held("written_whole(target)")
    holder.send_signal(number)
    assert holder.wait() == -number
    with written_whole(tmp_path / "m") as temporary:
        temporary.write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
