"""What does a whole study cost? 100 subjects of 102,400 voxels and ten b-values, fitted, looked at again, and told as a group.

The command line runs in processes of its own, so that imports and the start of workers count. ``cpu`` is the time of the processor over all
processes. The images of the subjects differ by a constant, so that no two checksums are the same.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ivimsc.nifti import bval_text, write_volume
from ivimsc.simulate import simulate_phantom

SUBJECTS, SHAPE = 100, (80, 80, 16)
TITLE = f"A study of {SUBJECTS} subjects of {np.prod(SHAPE):,} voxels, 10 b-values, nlls, without masks"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The data set, int16 images with noise around a placenta."""
    root = tmp_path_factory.mktemp("study") / "data"
    voxels = simulate_phantom("placenta", snr=40, shape=SHAPE, seed=1)
    images = np.random.default_rng(0).rayleigh(20, (*voxels.geometry.shape, len(voxels.bvalues))).astype(np.int16)
    images[tuple(voxels.index.T)] = 1000 * voxels.signals
    for k in range(1, SUBJECTS + 1):
        folder = root / f"sub-{k:03d}" / "dwi"
        folder.mkdir(parents=True)
        write_volume(folder / f"sub-{k:03d}_dwi.nii.gz", images + np.int16(k), voxels.geometry)
    (root / "dwi.bval").write_text(bval_text(voxels.bvalues))
    return root


def run(root: Path, out: Path, *words: str) -> dict[str, float]:
    """Wall-clock and processor time of ``ivimsc bids`` [s], and the most memory of one process so far [MiB]."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "ivimsc", "bids", root, out, *words], check=True, capture_output=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall [s]": wall, "cpu [s]": cpu, "peak so far [MiB]": after.ru_maxrss / 1024}


def bench_study(study, tmp_path, record):
    participant = ("participant", "--mask-from", "none")
    run(study, tmp_path / "warm", *participant, "--participant-label", "001")  # compiles
    record("study", TITLE, what="one process", **run(study, tmp_path / "a", *participant))
    record("study", TITLE, what="the same again: all is complete", **run(study, tmp_path / "a", *participant))
    record("study", TITLE, what="group", **run(study, tmp_path / "a", "group"))
    record("study", TITLE, what="two processes", **run(study, tmp_path / "b", *participant, "--n-procs", "2"))
