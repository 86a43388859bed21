"""Interrupted fits: `kill -9` at random moments, Ctrl-C, and a full disk; nothing is lost, the rest is resumed."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from tests.conftest import TEN, as_voxels, phantom

KILLS = 20
VOXELS = 60_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from ivimsc.store import write_voxels

    path = tmp_path_factory.mktemp("interrupted") / "voxels.h5"
    write_voxels(path, as_voxels(phantom(VOXELS, TEN, 30).signals, TEN))
    return path


def command(store, out, *more):
    return [
        sys.executable,
        "-m",
        "ivimsc",
        "fit",
        store,
        "--out",
        out,
        "--chunk",
        "512",
        "--threads",
        "1",
        "--no-maps",
        *more,
    ]


def datasets(path):
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, item: found.update({name: item[:].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
        return found


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_kill_9_at_any_moment_loses_nothing(store, tmp_path):
    subprocess.run(command(store, tmp_path / "compile"), check=True, capture_output=True)
    whole = tmp_path / "whole"
    begin = time.perf_counter()
    subprocess.run(command(store, whole), check=True, capture_output=True)
    took = time.perf_counter() - begin
    truth, input_sha = datasets(whole / "voxels_nlls.h5"), sha256(store)
    chance = random.Random(0)
    kills = finished = resumed = 0
    out = tmp_path / "out"
    while kills < KILLS:
        part = out / "voxels_nlls.h5.part"
        resumed += part.exists() and part.stat().st_size > 0
        process = subprocess.Popen(
            command(store, out, "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(chance.uniform(0.3, 1.1) * took)
            assert process.returncode == 0
            finished += 1
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        assert sha256(store) == input_sha
        target = out / "voxels_nlls.h5"
        if target.exists():  # complete or absent, never in between
            assert datasets(target) == truth
            assert not part.exists()
            target.unlink()
    assert resumed >= 3, "the kills came too early to test resuming"
    subprocess.run(command(store, out, "--resume"), check=True, capture_output=True)
    assert datasets(out / "voxels_nlls.h5") == truth
    assert sorted(p.name for p in out.iterdir() if "tmp" not in p.name) == ["voxels_nlls.h5"]


def test_ctrl_c_is_exit_130_and_resumable(store, tmp_path):
    process = subprocess.Popen(command(store, tmp_path), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("fit nlls") and not line.startswith("fit nlls: 0 "):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait() == 130
    assert "--resume" in rest and "Traceback" not in rest
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".h5"] == []
    without = subprocess.run(command(store, tmp_path), capture_output=True, text=True)
    assert without.returncode == 2 and "--resume" in without.stderr
    other = subprocess.run(
        command(store, tmp_path, "--resume", "--set", "max_iterations=7"), capture_output=True, text=True
    )
    assert other.returncode == 2 and "max_iterations" in other.stderr
    subprocess.run(command(store, tmp_path, "--resume"), check=True, capture_output=True)
    assert (tmp_path / "voxels_nlls.h5").exists()


def test_a_full_disk_is_one_line_and_leaves_no_result(store, tmp_path):
    """RLIMIT_FSIZE stands in for a full disk: writes beyond it fail as they do there."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    environment = os.environ | {"NUMBA_DISABLE_PERFORMANCE_WARNINGS": "1"}
    done = subprocess.run(command(store, tmp_path), capture_output=True, text=True, preexec_fn=limit, env=environment)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if not line.startswith("fit ")]
    assert len(errors) == 1 and errors[0].startswith("ivimsc: error: "), done.stderr
    assert not (tmp_path / "voxels_nlls.h5").exists()
    subprocess.run(command(store, tmp_path, "--resume"), check=True, capture_output=True)
    with h5py.File(tmp_path / "voxels_nlls.h5") as file:
        assert np.all(np.isin(file["estimates/outcome"][:], [1, 2, 4]))
