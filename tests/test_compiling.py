"""Compiled kernels on disk: damage and staleness are found before they run, and no place for them stops nothing."""

import os
import pickle
import subprocess
import sys
import time
import types
from enum import IntEnum
from pathlib import Path

import numba
import numpy as np
import pytest

from ivimsc.compiling import cache as module
from ivimsc.compiling import stamp
from ivimsc.compiling.cache import CheckedFile, cache_folder, cache_note
from ivimsc.compiling.clock import CompileClock
from ivimsc.compiling.stamp import Stamp

ROOT = Path(__file__).parents[1]


def made(source, name="top", **values):
    """The function `name` of a module of this package with that source."""
    names = {"__name__": "ivimsc.made", "np": np, **values}
    exec(source, names)
    return names[name]


def digest(source, name="top", **values):
    return Stamp(made(source, name, **values)).digest()


class Code(IntEnum):
    GOOD = 1


SOURCE = """
C = 2.5
def low(x): return x + C
def helper(x):
    return low(x) * 3
def top(x):
    parts = [helper(v) for v in x]
    return parts
def unrelated(x): return x
"""


class TestStamp:
    def test_it_is_the_same_for_the_same(self):
        assert digest(SOURCE) == digest(SOURCE) == digest(SOURCE.replace("return x\n", "return 2 * x\n"))

    @pytest.mark.parametrize(("old", "new"), [
        ("2.5", "2.25"), ("* 3", "* 4"), ("x + C", "x - C"), ("2.5", "np.float32(2.5)"), ("2.5", "5 / 2.0, 1"),
    ])  # fmt: skip
    def test_what_a_helper_of_a_helper_does_counts(self, old, new):
        assert digest(SOURCE) != digest(SOURCE.replace(old, new))

    @pytest.mark.parametrize(("one", "other"), [
        (np.arange(3.0), np.arange(3.0) + 1), (np.arange(3.0), np.arange(3)), ((1, 2), (2, 1)), (1, True), (1, 1.0),
        (Code, IntEnum("Code", {"GOOD": 2})), (Code.GOOD, 1), ({"a": {"x", "y"}}, {"a": {"x", "z"}}),
    ])  # fmt: skip
    def test_constants_count(self, one, other):
        source = "def top(x): return x + C"
        assert digest(source, C=one) == digest(source, C=one) != digest(source, C=other)

    def test_modules_of_the_package_count_by_what_is_used_of_them(self):
        source = "def top(x): return numbers.used + x"
        found = []
        for used, other in ((1, 1), (1, 2), (2, 1)):
            numbers = types.ModuleType("ivimsc.numbers")
            numbers.used, numbers.other = used, other
            found.append(digest(source, numbers=numbers))
        assert found[0] == found[1] != found[2]

    def test_the_flags_of_a_compiled_function_count(self):
        def compiled(flags):
            helper = made("def helper(x): return x", "helper")
            return types.SimpleNamespace(py_func=helper, targetoptions={"fastmath": flags})

        source = "def top(x): return helper(x)"
        one, same, other = (digest(source, helper=compiled(f)) for f in ({"nsz", "arcp"}, {"arcp", "nsz"}, {"nsz"}))
        assert one == same != other

    def test_functions_that_call_each_other_come_to_an_end(self):
        assert digest("def top(x): return other(x)\ndef other(x): return top(x)")

    def test_versions_count(self, monkeypatch):
        before = digest(SOURCE)
        monkeypatch.setattr(stamp, "_versions", lambda: b"another numba")
        assert digest(SOURCE) != before


class Vanishing:
    """A class that is not there any more when it is read."""


class TestFile:
    @pytest.fixture
    def file(self, tmp_path):
        return CheckedFile(str(tmp_path / "deep" / "er"), "kernel-1.py", Stamp(made(SOURCE)))

    def test_what_is_saved_comes_back_by_its_key(self, file):
        assert file.load(("a",)) is None
        for key in ("a", "b"):
            file.save((key,), {"key": key})
        file.save(("a",), {"key": "again"})
        assert file.load(("a",)) == {"key": "again"} and file.load(("b",)) == {"key": "b"}
        file.flush()
        assert file.load(("a",)) is None

    def test_no_flipped_bit_and_no_cut_is_read(self, file):
        file.save("key", list(range(50)))
        (path,) = file._base.parent.iterdir()
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
            assert file.load("key") is None, place
        for length in (0, 5, 16, 40, 48, 80, len(whole) - 1):
            path.write_bytes(whole[:length])
            assert file.load("key") is None, length
        path.write_bytes(whole)
        assert file.load("key") == list(range(50))

    def test_another_source_makes_it_stale_and_is_written_over(self, file):
        file.save("key", 1)
        newer = CheckedFile(str(file._base.parent), file._base.name, Stamp(made(SOURCE.replace("2.5", "3.5"))))
        assert newer.load("key") is None
        newer.save("key", 2)
        assert newer.load("key") == 2 and file.load("key") is None and len(list(file._base.parent.iterdir())) == 1

    def test_a_class_that_vanished_is_compiled_anew(self, file, monkeypatch):
        monkeypatch.setattr(module, "dumps", pickle.dumps)
        file.save("key", Vanishing())
        assert isinstance(file.load("key"), Vanishing)
        monkeypatch.delattr(sys.modules[__name__], "Vanishing")
        assert file.load("key") is None

    def test_what_was_compiled_ahead_is_read_from_a_folder_that_cannot_be_written_to(self, file, tmp_path):
        file.save("key", 1)
        later = CheckedFile(str(tmp_path / "mine"), file._base.name, Stamp(made(SOURCE), [file._base.parent]))
        assert later.load("key") == 1 and later.load("other") is None
        later.save("other", 2)
        assert later.load("other") == 2 and file.load("other") is None
        stale = CheckedFile(
            str(tmp_path / "my"), file._base.name, Stamp(made(SOURCE.replace("2.5", "3")), [file._base.parent])
        )
        assert stale.load("key") is None

    def test_no_place_is_no_error(self, tmp_path):
        (tmp_path / "taken").write_text("a file")
        for folder in (tmp_path / "taken", Path(os.devnull) / "none"):
            file = CheckedFile(str(folder), "k", Stamp(made(SOURCE)))
            file.save("key", 1)
            assert file.load("key") is None

    def test_named_tuples_of_other_fields_are_other_types(self):
        def kind(fields):
            return types.SimpleNamespace(types=(), instance_class=types.SimpleNamespace(_fields=fields))

        one, other = (CheckedFile("f", "k", None)._path((3, [x])) for x in (kind(("a", "b")), kind(("b", "a"))))
        assert one != other


class TestPlace:
    @pytest.fixture(autouse=True)
    def fresh(self):
        cache_folder.cache_clear()
        yield
        cache_folder.cache_clear()

    def test_where_nothing_else_can_be_written_to_a_folder_of_this_user_is_made(self, tmp_path, monkeypatch):
        real = module._is_writable
        monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
        monkeypatch.setattr(module, "_is_writable", lambda folder: folder.parent == tmp_path and real(folder))
        folder, kind = cache_folder()
        assert kind == "temporary" and str(folder) in cache_note() and folder.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("put", ["link", "open", "file", "nothing"])
    def test_a_folder_of_somebody_else_is_not_used(self, tmp_path, monkeypatch, put):
        monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path / ("none" if put == "nothing" else "")))
        monkeypatch.setattr(module, "_is_writable", lambda folder: folder.parent == tmp_path)
        there = tmp_path / f"ivimsc-kernels-{os.getuid()}"
        (tmp_path / "other").mkdir(mode=0o700)
        if put == "link":
            there.symlink_to(tmp_path / "other")
        elif put == "open":
            there.mkdir()
            there.chmod(0o777)
        elif put == "file":
            there.write_text("")
        assert cache_folder() == (None, "none") and "compiled anew each time" in cache_note()

    def test_a_folder_that_is_given_comes_first_and_is_no_news(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module.numba.config, "CACHE_DIR", str(tmp_path))
        assert cache_folder() == (tmp_path, "given") and cache_note() == ""
        assert module._ahead(Path(module.__file__)) == []

    def test_what_is_given_but_cannot_be_written_to_is_read_before_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module.numba.config, "CACHE_DIR", str(tmp_path))
        monkeypatch.setattr(module, "_is_writable", lambda folder: False)
        source = Path(module.__file__)
        assert module._ahead(source) == [tmp_path / "ivimsc_compiling", source.parent / "__pycache__"]


COMPUTE = "import ivimsc; print(float(ivimsc.simulate_signals(1.0, 0.3, 1.6e-3, 45e-3, [0, 50, 500])[1]).hex())"


def test_a_kernel_is_kept_and_a_damaged_one_is_compiled_anew(tmp_path):
    """In processes of their own: from the file, and with every part of the file damaged in turn, the number is the same."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def compute():
        done = subprocess.run([sys.executable, "-c", COMPUTE], capture_output=True, text=True, env=env, check=True)
        assert not done.stderr
        return done.stdout

    truth = compute()
    (path,) = tmp_path.rglob("*forward*.kernel")
    whole, time = path.read_bytes(), path.stat().st_mtime_ns
    assert compute() == truth and path.stat().st_mtime_ns == time
    for place in (len(whole) // 3, 2 * len(whole) // 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        damaged = path.stat().st_mtime_ns
        assert compute() == truth and path.stat().st_mtime_ns != damaged
        assert not list(tmp_path.rglob("*.nb[ic]")) and not list(tmp_path.rglob("*.tmp"))


class TestClock:
    def test_compilations_count_and_calls_do_not(self):
        told = []
        inner = numba.njit(lambda x: x + 1)
        outer = numba.njit(lambda x: inner(x) * 2)  # compiles the other inside: one stretch of time
        begin = time.perf_counter()
        with CompileClock(lambda: told.append(1)) as clock:
            assert outer(1) == 4
            first = clock.seconds
            assert outer(2) == 6
        assert 0 < first == clock.seconds < time.perf_counter() - begin and told == [1]
        with CompileClock() as quiet:
            outer(3)
        assert quiet.seconds == 0
