"""From file to maps: a whole volume of the paper's size, the start-up, and the memory, each in a process of its own.

Run ``python -m pytest bench/bench_whole_volume.py``; it writes bench/results/whole_volume.md, start.md and memory.md. One
question alone: ``python -m pytest bench/bench_whole_volume.py::bench_whole_volume``, ``::bench_start`` or ``::bench_memory``
(which needs 2 GB of disk).
"""

import os
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
import pytest

from ivimsc.maps import write_maps
from ivimsc.nifti import read_series
from ivimsc.simulate import simulate_phantom, write_nifti, write_phantom
from ivimsc.store import EstimateStore

# The peak is that of the command's own memory (VmHWM): ru_maxrss would count this process, from which it is forked.
WITH_PEAK = """
import re, sys
from ivimsc.cli import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


class Run(NamedTuple):
    """What a command took: wall time and time of all cores [s], and its peak resident memory [MiB]."""

    seconds: float
    cpu: float
    peak: float


def run(*words, **environment):
    """Run a command of ivimsc in a process of its own."""
    start, before = time.perf_counter(), children()
    command = [sys.executable, "-c", WITH_PEAK, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return Run(time.perf_counter() - start, children() - before, int(done.stderr.split()[-1]) / 1024)


def children():
    """CPU seconds of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def best_seconds(call, rounds=3):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """256 × 256 × 15 × 10, int16 as scanners write it, all 983,040 voxels with signal, gzip."""
    import nibabel as nib

    folder = tmp_path_factory.mktemp("series")
    voxels = simulate_phantom("uniform", shape=(256, 256, 15))
    write_nifti(voxels, folder, stem="volume")
    image = nib.load(folder / "volume_dwi.nii.gz")
    nib.save(nib.Nifti1Image((image.get_fdata() * 1000).astype(np.int16), image.affine), folder / "volume_dwi.nii.gz")
    return folder


@pytest.mark.parametrize("method", ["nlls", "segmented"])
def bench_whole_volume(series, method, record, tmp_path):
    words = ("fit", series / "volume_dwi.nii.gz", "--bval", series / "volume_dwi.bval", "--method", method, "--force")
    run(*words, "--out", tmp_path)  # compile, and the files into the page cache
    runs, store = [run(*words, "--out", tmp_path) for _ in range(7)], tmp_path / f"volume_{method}.h5"
    read = best_seconds(lambda: read_series(series / "volume_dwi.nii.gz", series / "volume_dwi.bval"))
    maps = best_seconds(lambda: write_maps(store, tmp_path, force=True))
    with EstimateStore(store) as estimates:
        fitted = estimates.seconds
    record(
        "whole_volume", "256 × 256 × 15 × 10 int16 .nii.gz to nine .nii.gz maps, warm cache; best of seven runs", method=method,
        **{
            "seconds": min(r.seconds for r in runs), "median": float(np.median([r.seconds for r in runs])),
            "CPU seconds": min(r.cpu for r in runs), "reading": read, "fitting (last run)": float(fitted), "writing maps": maps,
            "peak MiB": max(r.peak for r in runs),
        },
    )  # fmt: skip


def bench_start(record, tmp_path):
    small = tmp_path / "small.h5"
    write_phantom(small, "uniform", voxels=1000)
    rows = {"--help": run("--help").seconds, "fit --help": run("fit", "--help").seconds}
    for method in ("segmented", "nlls", "bayes", "ista", "scdnn"):
        words = ("fit", small, "--method", method, "--out", tmp_path / method, "--force")
        fresh = {"NUMBA_CACHE_DIR": str(tmp_path / f"cache-{method}")}
        rows[f"first {method} of an installation"] = run(*words, **fresh).seconds
        rows[f"{method} after that"] = run(*words, **fresh).seconds
    for what, seconds in rows.items():
        record(
            "start", "Start-up: 1,000 voxels, each command in a process of its own", what=what, seconds=float(seconds)
        )


def bench_memory(record, tmp_path):
    for voxels in (1_000_000, 20_000_000):
        store = tmp_path / f"{voxels}.h5"
        steps = {
            "simulate": ("simulate", "--phantom", "uniform", "--voxels", voxels, "--out", store),
            "fit nlls": ("fit", store, "--out", tmp_path / "out", "--no-maps"),
            "nine maps": ("maps", tmp_path / "out" / f"{voxels}_nlls.h5", "--out", tmp_path / "out"),
            "compare one fit": ("compare", store, tmp_path / "out" / f"{voxels}_nlls.h5", "--out", tmp_path / "out"),
        }
        for what, words in steps.items():
            took = run(*words)
            record(
                "memory", "Peak resident memory, stores of ten b-values", what=what, voxels=voxels,
                **{"seconds": took.seconds, "MiB": took.peak},
            )  # fmt: skip
        store.unlink()
