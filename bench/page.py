"""One page of benchmarks: programs side by side on the same voxels in one run, quality beside speed.

Run ``python -m bench.page``: it takes some minutes, and writes docs/benchmarks.md and bench/results/benchmarks.json, where it
finds the figures of the run before. ``--dry`` prints the page and writes nothing.

How it is measured. All programs take turns, round by round, so that other work on the machine touches them alike. A speed is
the median over the rounds, with the least and the largest beside it. Kernels are compiled before the clock starts, and what that
takes is measured apart, in a process of its own with an empty cache. What rose or fell is told by speeds over that of `REFERENCE`
in the same run, because machines differ and are shared; within `SAME` it is called the same.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.peers import CORES, MANY, PROGRAMS, Program
from ivimsc import __version__
from ivimsc.compare.bound import smallest_error
from ivimsc.device.launch import choose_device
from tests.conftest import TEN, phantom

ROOT = Path(__file__).resolve().parents[1]
PAGE, RECORD = ROOT / "docs" / "benchmarks.md", ROOT / "bench" / "results" / "benchmarks.json"
SNR, SEED = 30, 1
REFERENCE = "numpy segmented"  # neither its code nor its compiler is ours
SAME = 0.1  # of a speed: runs on shared machines differ by that
RANGES = ((0.05, 0.5), (0.5, 2.5), (10, 100))  # of f, D and D* [µm²/ms], uniform: those of `tests.conftest.phantom`
COLUMNS = ("f", "D", "D*")
SCALES = np.array([1, 1e3, 1e3])  # to µm²/ms
FIRST = """
import sys, time
from tests.conftest import TEN, phantom, run_method
signals = phantom(500, TEN, 30).signals
times = []
for _ in range(2):
    start = time.process_time()
    run_method(sys.argv[1], signals, TEN, 1)
    times.append(time.process_time() - start)
print(times[0] - times[1])
"""


def measure(programs: tuple[Program, ...]) -> dict[str, dict]:
    """name -> speed, slowest and fastest round [voxels/s], CPU seconds, and errors, of every program."""
    data = phantom(MANY, TEN, SNR, seed=SEED)
    truth = np.stack([data.f, data.D, data.Dstar]) * SCALES[:, None]
    times, cpu, errors = ({program.name: [] for program in programs} for _ in range(3))
    for turn in range(-1, max(program.rounds for program in programs)):  # turn -1 compiles and loads
        for program in programs:
            if turn >= program.rounds:
                continue
            signals = data.signals[: 200 if turn < 0 else program.voxels]
            with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
                start, before = time.perf_counter(), time.process_time()
                found = program.fit(signals)
                spent = time.perf_counter() - start, time.process_time() - before
            if turn >= 0:
                times[program.name].append(spent[0])
                cpu[program.name].append(spent[1])
                errors[program.name] = np.stack(found) * SCALES[:, None] - truth[:, : program.voxels]
            print(f"{program.name}: {len(signals):,} voxels in {spent[0]:.3g} s", file=sys.stderr)
    return {program.name: _row(program, times[program.name], cpu[program.name], errors[program.name]) for program in programs}  # fmt: skip


def _row(program: Program, times: list[float], cpu: list[float], error: np.ndarray) -> dict:
    rates = program.voxels / np.array(times)
    return {
        "voxels": program.voxels,
        "threads": program.threads,
        "speed": float(np.median(rates)),
        "slowest": float(rates.min()),
        "fastest": float(rates.max()),
        "per_cpu_second": float(program.voxels / np.median(cpu)),
        "rmse": np.sqrt(np.nanmean(error**2, axis=1)).tolist(),
        "median": np.nanmedian(np.abs(error), axis=1).tolist(),
        "failed": float(np.mean(~np.isfinite(error).all(axis=0))),
    }


def floors() -> dict[str, list[float]]:
    """Root mean squared errors of f, D, D* of a constant guess, and the smallest possible ones with S0 unknown."""
    data = phantom(40_000, TEN, SNR, seed=SEED + 1)
    truth = {"s0": data.S0, "f": data.f, "d": data.D, "dstar": data.Dstar}
    bound = smallest_error(data.signals, truth, TEN, 1 / SNR, True, False, choose_device())
    constant = [(high - low) / np.sqrt(12) for low, high in RANGES]  # the SD of a uniform distribution
    return {"constant": constant, "smallest": (np.sqrt(bound.mean("noisy")[0]) * SCALES).tolist()}


def compile_times(names: list[str]) -> dict[str, float]:
    """CPU seconds that a method's first fit of an installation takes more than its second."""
    found = {}
    for name in names:
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
            done = subprocess.run([sys.executable, "-c", FIRST, name.split()[1]], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # fmt: skip
            found[name] = float(done.stdout)
            print(f"{name}: {found[name]:.1f} s of compilation", file=sys.stderr)
    return found


def machine() -> str:
    """The kind of the machine, never its name, and the versions of what was measured."""
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    width = next((words for name, words in (("avx512f", " with AVX-512"), ("avx2", " with AVX2")) if features.get(name)), "")  # fmt: skip
    packages = []
    for name in ("numba", "numpy", "scipy", "dipy", "osipi-ivim"):
        with contextlib.suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    return f"{CORES} cores, {platform.machine()}{width}, Python {platform.python_version()}, {', '.join(packages)}"


def _busy(loads: list[float]) -> str:
    """What other work did to the run, from the load averages before and after the rounds."""
    if max(loads) <= 1.5 * CORES:
        return ""
    low, high = sorted(loads)
    return (
        f"**Other work kept the machine busy (load {low:.0f} to {high:.0f}), so that speeds by the clock are too low, and their spread is wide; "
        "compare the voxels per CPU second.**"
    )


def change(name: str, now: dict, before: dict) -> str:
    """What became of the speed of a program, over that of the reference in the same run."""
    rows, old = now["rows"], before.get("rows", {})
    if name not in old or REFERENCE not in old or REFERENCE not in rows:
        return "new"
    if name == REFERENCE:
        return "the reference"
    ratio = (rows[name]["speed"] / rows[REFERENCE]["speed"]) / (old[name]["speed"] / old[REFERENCE]["speed"])
    return "the same" if abs(np.log(ratio)) <= SAME else f"{'rose' if ratio > 1 else 'fell'}, × {ratio:.2f}"


def quality_change(name: str, now: dict, before: dict) -> str:
    """Which errors of a program are no longer what they were, to 2 %."""
    old = before.get("rows", {}).get(name)
    if old is None:
        return ""
    moved = [(key, new / then) for key, new, then in zip(COLUMNS, now["rows"][name]["rmse"], old["rmse"], strict=True) if abs(new / then - 1) > 0.02]  # fmt: skip
    return ", ".join(f"{key} {'rose' if ratio > 1 else 'fell'}, × {ratio:.2f}" for key, ratio in moved) or "the same"


def page(now: dict, before: dict) -> str:
    """The page, in Markdown."""
    rows, about = now["rows"], {program.name: program.about for program in PROGRAMS}
    first = next(iter(rows))
    speeds = ["| program | voxels/s: median (least to largest round) | threads | voxels per CPU second | " f"{first} is faster by | RMSE f | D [µm²/ms] | D* [µm²/ms] | median error f | D | D* | not fitted |", "|---" * 12 + "|"]  # fmt: skip
    for name, row in rows.items():
        rmse, median = ([f"{value:.3g}" for value in row[key]] for key in ("rmse", "median"))
        spread = f"{_count(row['speed'])} ({_count(row['slowest'])} to {_count(row['fastest'])})"
        ratio = f"{rows[first]['speed'] / row['speed']:.3g}"
        speeds.append("| " + " | ".join([name, spread, str(row["threads"]), _count(row["per_cpu_second"]), ratio, *rmse, *median, f"{100 * row['failed']:.2g} %"]) + " |")  # fmt: skip
    for name, key in (("always the middle of the ranges", "constant"), ("smallest possible (S0 unknown)", "smallest")):
        speeds.append("| " + " | ".join([name, *[""] * 4, *(f"{value:.3g}" for value in now["floors"][key]), *[""] * 4]) + " |")  # fmt: skip
    what = [f"- **{name}**: {about[name]}; {rows[name]['voxels']:,} voxels, {_rounds(name)} rounds." for name in rows]
    compiled = [f"| {name} | {seconds:.1f} |" for name, seconds in now["compiled"].items()]
    compiled = compiled or ["| (not measured in this run: [start-up](../bench/results/start.md)) | |"]
    moved = [f"| {name} | {change(name, now, before)} | {quality_change(name, now, before)} |" for name in rows]
    since = f"the run of {before['date']} (ivimsc {before['version']})" if before else "nothing: this is the first run"
    gone = ", ".join(now["left_out"]) or "none"
    return TEMPLATE.format(
        date=now["date"], version=now["version"], machine=now["machine"], busy=_busy(now["loads"]), snr=SNR, many=MANY, speeds="\n".join(speeds), what="\n".join(what),
        compiled="\n".join(compiled), since=since, moved="\n".join(moved), gone=gone, reference=REFERENCE, same=f"{100 * SAME:.0f} %",
    )  # fmt: skip


def _count(value: float) -> str:
    return f"{value / 1e6:.3g} million" if value >= 1e6 else f"{float(f'{value:.3g}'):,.0f}"


def _rounds(name: str) -> int:
    return next(program.rounds for program in PROGRAMS if program.name == name)


TEMPLATE = """\
# Benchmarks

<!-- Made by `python -m bench.page`; do not edit it by hand. -->

Programs side by side, on the same voxels, in one run. Speeds are to be read as ratios: machines differ and are shared. Read quality
beside speed: a fit that is fast and wrong is not fast.

Made by `python -m bench.page` on {date} with ivimsc {version}, on a shared machine of {machine}. {busy}

## Fits

Voxels with f 0.05 to 0.5, D 0.5 to 2.5 and D* 10 to 100 µm²/ms (independent, uniform), S0 = 1, b = 0, 10, 20, 50, 80, 100, 150, 200, 300, 500 s/mm²,
Rician noise, SNR {snr}. Slow programs fit the first of the {many:,} voxels alone; all errors are of the voxels that were fitted.

{speeds}

{what}

Two rows are no programs. A fit whose error is above that of the middle of the ranges tells less than a constant; no estimate whatever can
have a smaller mean squared error than the last row. Least squares uses no prior: where the data say little it is noisy. `bayes` learns its prior
from the voxels.

Not installed in this run, and left out: {gone}. OSIPI's collection is installed by `pip install --no-deps osipi-ivim`: the two algorithms here need numpy
alone, and are called as they are, over all voxels at once, without the collection's wrapper, which goes voxel by voxel.

## Compilation

CPU seconds that the first fit of an installation takes more than the second, one process each with an empty cache, one thread. They are paid
once; the compiled kernels are kept.

| method | CPU seconds |
|---|---|
{compiled}

## What rose or fell

Since {since}. Speeds over that of {reference} in the same run, and errors (RMSE); up to {same} of a speed is the spread of runs.

| program | speed | errors |
|---|---|---|
{moved}

## Quoted, not measured here

| program | figure | source |
|---|---|---|
| Gpufit, on a GPU | 3.0 million fits/s of a two-dimensional Gaussian (5 parameters), 50 times its own CPU code | example output in the README of its performance test ([gpufit/Gpufit](https://github.com/gpufit/Gpufit)) |
| Gpufit, on a GPU | up to 42 times an identical algorithm on a CPU | abstract of Przybylski et al., Sci. Rep. 7:15722 (2017), [doi 10.1038/s41598-017-15313-9](https://doi.org/10.1038/s41598-017-15313-9) |
| Gpufit's CPU reference, equation (1), float32 | 128,000 voxels/s with bounds, 113,000 without, one thread | measured by us in November 2026 in another run: [What other programs reach](peers.md) |

A Gaussian on a patch of pixels is another problem than equation (1) at ten b-values; the first two rows say what a GPU gains, not how fast IVIM
would be. This project's own CUDA kernels are not in the table before they have run on a card in a run that this page can show: [On a GPU](cuda.md).

More questions, each with its own table: [all tables of results](results.md).
"""


def main() -> None:
    """Measure, compare with the run before, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="print the page and write nothing")
    asked = parser.parse_args()
    before = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    there = tuple(program for program in PROGRAMS if not program.needs or find_spec(program.needs))
    begin = os.getloadavg()[0]
    rows = measure(there)
    now = {
        "date": datetime.now(UTC).date().isoformat(),
        "version": __version__,
        "machine": machine(),
        "loads": [begin, os.getloadavg()[0]],  # the rounds lie between
        "rows": rows,
        "floors": floors(),
        "compiled": compile_times([program.name for program in there if program.name.startswith("ivimsc")]),
        "left_out": [program.name for program in PROGRAMS if program not in there],
    }
    text = page(now, before)
    if not asked.dry:
        RECORD.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
