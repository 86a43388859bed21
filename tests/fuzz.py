"""Damaged and hostile files for every parser: each has to give one line (InputError) or a right answer.

By hand, for minutes:  python tests/fuzz.py --parser voxels --count 10000 --seed 1   (no --parser: all of them)

Every file is made from a good one by one of the mutators, from seed and number alone, and judged in a process of its
own for each 500 of them: a crash, a hang, a traceback and memory beyond `ROOM` are failures, and so is another answer
than that of the good file where the format has a checksum. The files that failed are kept in --keep DIR.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from tests.fuzzing import files, mutators

SECONDS, ROOM, BATCH = 20, 300, 500  # per file; MB beyond what the good file takes; files per process


def failures(parser: str, count: int, seed: int, keep: Path | None = None) -> list[str]:
    """What went wrong with the files 0..count of a parser, a line for each."""
    found, start = [], 0
    while start < count:
        stop = min(start + BATCH, count)
        words = [sys.executable, __file__, "--parser", parser, "--seed", str(seed), "--range", f"{start}:{stop}"]
        words += ["--keep", str(keep)] if keep else []
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found += [f"{parser} {line['number']} ({line['how']}): {line['wrong']}" for line in lines if line["wrong"]]
        last = lines[-1]["number"] if lines else start - 1
        if done.returncode:
            tail = (done.stderr.strip().splitlines() or ["no word"])[-1]
            found.append(f"{parser} {last + 1}: the process ended with {done.returncode}: {tail}")
        start = max(last + 1, start) + (done.returncode != 0) if done.returncode else stop
    return found


def _judge_range(parser: str, seed: int, numbers: range, keep: Path | None) -> None:
    """In the process of a batch: a JSON line for every file."""
    import resource

    from ivimsc.errors import InputError

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind = files.KINDS[parser]
        good = kind.make(folder / "good")
        expected = [kind.judge(path) for path in good]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in numbers:
            random = np.random.Generator(np.random.Philox([seed, number]))
            which = int(random.integers(len(good)))
            target = folder / f"{number}" / good[which].name
            target.parent.mkdir()
            how, wrong = mutators.mutate(good[which], target, kind, random), ""
            signal.alarm(SECONDS)
            try:
                found = kind.judge(target)
                if kind.exact and "meant" not in how and not _equal(found, expected[which]):
                    wrong = "another answer than that of the whole file"
            except InputError as error:
                wrong = "" if "\n" not in str(error) and len(str(error)) < 2000 else f"no line: {str(error)[:200]!r}"
            except BaseException as error:
                wrong = f"{type(error).__name__}: {str(error)[:200]}"
            signal.alarm(0)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if after - before > ROOM * 1024:
                wrong = wrong or f"{(after - before) // 1024} MB"
                before = after
            print(json.dumps({"number": number, "how": how, "wrong": wrong}), flush=True)
            if wrong and keep:
                keep.mkdir(exist_ok=True)
                (keep / f"{parser}-{seed}-{number}-{target.name}").write_bytes(target.read_bytes())
            for path in target.parent.iterdir():
                path.unlink()


def _too_long(*_: object) -> None:
    raise TimeoutError(f"longer than {SECONDS} s")


def _equal(found: object, expected: object) -> bool:
    """Nested lists and dicts of arrays and plain values, NaN equal to NaN."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and found.keys() == expected.keys() and all(_equal(found[k], v) for k, v in expected.items())  # fmt: skip
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(_equal, found, expected))
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")
    return found == expected


def main() -> int:
    """The command line."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--parser", choices=sorted(files.KINDS))
    words.add_argument("--count", type=int, default=1000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--keep", type=Path)
    words.add_argument("--range", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.range:
        start, stop = map(int, given.range.split(":"))
        _judge_range(given.parser, given.seed, range(start, stop), given.keep)
        return 0
    wrong = []
    for parser in [given.parser] if given.parser else sorted(files.KINDS):
        found = failures(parser, given.count, given.seed, given.keep)
        print(f"{parser}: {len(found)} of {given.count} failed", *found, sep="\n  ", flush=True)
        wrong += found
    return int(bool(wrong))


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    sys.exit(main())
