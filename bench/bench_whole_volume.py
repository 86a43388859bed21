"""From file to maps: a whole volume of the paper's size, the start-up, and the memory, each in a process of its own."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from ivimsc.nifti import read_series
from ivimsc.simulate import simulate_phantom, write_nifti, write_phantom

# The peak is that of the command's own memory (VmHWM): ru_maxrss would count this process, from which it is forked.
WITH_PEAK = """
import re, sys
from ivimsc.cli import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


def run(*words, **environment):
    """(seconds, peak resident memory in MiB) of a command."""
    start = time.perf_counter()
    command = [sys.executable, "-c", WITH_PEAK, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - start, int(done.stderr.split()[-1]) / 1024


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
    times, peaks = zip(*(run(*words, "--out", tmp_path) for _ in range(3)), strict=True)
    bare = min(run(*words, "--out", tmp_path, "--no-maps")[0] for _ in range(2))
    start = time.perf_counter()
    read_series(series / "volume_dwi.nii.gz", series / "volume_dwi.bval")
    read = time.perf_counter() - start
    record("whole_volume", "256 × 256 × 15 × 10 int16 .nii.gz to nine float32 .nii.gz maps, warm cache", method=method,
           **{"seconds": float(min(times)), "of it maps": float(min(times) - bare), "of it reading": float(read), "peak MiB": float(max(peaks))})  # fmt: skip


def bench_start(record, tmp_path):
    small = tmp_path / "small.h5"
    write_phantom(small, "uniform", voxels=1000)
    rows = {"--help": run("--help")[0], "fit --help": run("fit", "--help")[0]}
    for method in ("segmented", "nlls", "bayes", "ista", "scdnn"):
        words = ("fit", small, "--method", method, "--out", tmp_path / method, "--force")
        fresh = {"NUMBA_CACHE_DIR": str(tmp_path / f"cache-{method}")}
        rows[f"first {method} of an installation"] = run(*words, **fresh)[0]
        rows[f"{method} after that"] = run(*words, **fresh)[0]
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
        }
        for what, words in steps.items():
            took, peak = run(*words)
            record(
                "memory", "Peak resident memory, stores of ten b-values", what=what, voxels=voxels,
                **{"seconds": took, "MiB": float(peak)},
            )  # fmt: skip
        store.unlink()
