"""Plants deliberate faults, one at a time, and tells which of them the tests see. Run by hand; pytest does not collect it.

    python tests/faults.py [-k WORD] [--jobs N] [--list]

The faults are in `faults.toml`: a text of one file, what takes its place, and the tests that should fail then. Each is
planted into a copy of the checkout, never into the checkout itself. A fault has

    died      where a test failed,
    survived  where all passed: a test is missing,
    stale     where its text is not in the file exactly once (the code moved on), or its tests are not there.

Tests that fail without any fault would let every fault die, so each set of tests is run once without one.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("faults.toml")
LEFT_OUT = (".git", ".venv", "bench", "docs", "shared", "demo_out", "*.egg-info", ".pytest_cache", ".ruff_cache")
PATIENCE = 900  # s for the tests of one fault: an endless loop is a death too
FAILED = (1, 2)  # exit codes of pytest: a test failed; a test file could not be imported


class Fault(NamedTuple):
    """`old` of `file` becomes `new`; `tests`: words for pytest."""

    file: str
    old: str
    new: str
    tests: str

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}: {old} -> {new or '(nothing)'}"


def read_faults() -> list[Fault]:
    """All faults of the list, in its order."""
    table = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return [
        Fault(part["file"], old, new, part.get("tests", ""))
        for part in table["part"] for old, new, *_ in part["faults"]
    ]  # fmt: skip


def run_tests(tree: Path, tests: str, compiled: bool) -> tuple[int, str]:
    """Exit code and output of pytest; `compiled` lets it use the machine code that lies beside the copied files."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    if not compiled:  # Numba does not see that a function which it has built in elsewhere has changed
        environment["NUMBA_CACHE_DIR"] = str(tree / ".fresh")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *shlex.split(tests)]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return 1, "no end"
    return done.returncode, done.stdout


def copied(folder: str) -> Path:
    """A copy of the checkout as it is now, changes that are not committed and compiled kernels included."""
    return Path(shutil.copytree(ROOT, Path(folder) / "ivimsc", ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True))


def plant(fault: Fault) -> tuple[str, str]:
    """What became of a fault, and what told it: the test that failed first, or why it is stale."""
    text = (ROOT / fault.file).read_text(encoding="utf-8") if (ROOT / fault.file).is_file() else ""
    if text.count(fault.old) != 1:
        return "stale", f"found its text {text.count(fault.old)} times"
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(folder)
        (tree / fault.file).write_text(text.replace(fault.old, fault.new), encoding="utf-8")
        code, output = run_tests(tree, fault.tests, compiled="jit" not in text)
    first = next((line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))), output[-80:].strip())
    return ("died" if code in FAILED else "survived" if code == 0 else "stale"), first


def sound(tests: str) -> bool:
    """Whether a set of tests passes without a fault."""
    with tempfile.TemporaryDirectory() as folder:
        return run_tests(copied(folder), tests, compiled=True)[0] == 0


def main() -> int:
    """Plant the faults that are asked for; exit code 1 where one survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", metavar="WORD", default="", help="only faults with WORD in their file, text or tests")
    parser.add_argument("--jobs", type=int, default=1, help="faults tried side by side")
    parser.add_argument("--list", action="store_true", help="name the faults, and plant none")
    asked = parser.parse_args()
    faults = [fault for fault in read_faults() if asked.k in f"{fault} {fault.tests}"]
    if asked.list:
        print(*faults, f"{len(faults)} faults", sep="\n")
        return 0
    counts = {"died": 0, "survived": 0, "stale": 0}
    with ThreadPoolExecutor(asked.jobs) as pool:
        groups = list(dict.fromkeys(fault.tests for fault in faults))
        broken = [tests for tests, passes in zip(groups, pool.map(sound, groups), strict=True) if not passes]
        for tests in broken:
            print(f"left out: {tests} fails without a fault", flush=True)
        faults = [fault for fault in faults if fault.tests not in broken]
        begin = time.perf_counter()
        for fault, (end, why) in zip(faults, pool.map(plant, faults), strict=True):
            counts[end] += 1
            print(f"{end:9}{fault}\n         {why}", flush=True)
    tried = counts["died"] + counts["survived"]
    print(f"{counts['died']} of {tried} died, {counts['stale']} stale, {time.perf_counter() - begin:.0f} s")
    return int(counts["survived"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
