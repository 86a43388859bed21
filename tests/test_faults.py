"""The list of deliberate faults keeps up with the code: each can be planted, and the tests that should see it are there.

No fault is planted here, that takes minutes: `python tests/faults.py` does it.
"""

import re
import shlex

import pytest

from tests.faults import ROOT, Fault, main, read_faults

FAULTS = read_faults()


def selection(words: str) -> tuple[list[str], str]:
    """The paths among the words for pytest, and the expression that follows ``-k``."""
    paths = shlex.split(words)
    if "-k" not in paths:
        return paths, ""
    at = paths.index("-k")
    return paths[:at] + paths[at + 2 :], paths[at + 1]


def text_of(path: str) -> str:
    """What pytest finds names in: the path of a test file, or those of a folder's test files, and their text."""
    place = ROOT / path
    files = sorted(place.rglob("test_*.py")) if place.is_dir() else [place]
    return "\n".join(f"{file.relative_to(ROOT)}\n{file.read_text(encoding='utf-8')}" for file in files)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.file)
def test_a_fault_can_be_planted(fault: Fault) -> None:
    """Its text is in its file once, as `tests/faults.py` needs it; with what takes its place the file is still Python."""
    source = (ROOT / fault.file).read_text(encoding="utf-8")
    assert source.count(fault.old) == 1
    assert fault.new != fault.old
    if fault.file.endswith(".py"):
        compile(source.replace(fault.old, fault.new), fault.file, "exec")


@pytest.mark.parametrize("words", sorted({fault.tests for fault in FAULTS}))
def test_the_tests_of_a_fault_are_there(words: str) -> None:
    """Its paths exist, and every word after ``-k`` is somewhere in them: else pytest would select nothing."""
    paths, chosen = selection(words)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path
    text = "\n".join(map(text_of, paths)).lower()
    for word in set(re.findall(r"\w+", chosen)) - {"and", "or", "not"}:
        assert word.lower() in text, word


def test_no_fault_is_there_twice() -> None:
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)


def test_the_runner_lists_every_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["faults.py", "--list"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [*map(str, FAULTS), f"{len(FAULTS)} faults"]
