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

KILLS = 12
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


def killed(store, out, chance):
    """Start or resume the fit and kill it at a random moment: after some progress, or within the first second."""
    process = subprocess.Popen(
        command(store, out, "--resume"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    if chance.random() < 0.7:  # moments that the speed of the machine does not shift
        for _ in range(chance.randint(2, 4)):
            process.stderr.readline()
        time.sleep(chance.uniform(0, 0.03))
    else:
        time.sleep(chance.uniform(0, 1.0))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_kill_9_at_any_moment_loses_nothing(store, tmp_path):
    whole = tmp_path / "whole"
    subprocess.run(command(store, whole), check=True, capture_output=True)
    truth, input_sha = datasets(whole / "voxels_nlls.h5"), sha256(store)
    chance = random.Random(0)
    kills = resumed = 0
    out = tmp_path / "out"
    target, part = out / "voxels_nlls.h5", out / "voxels_nlls.h5.part"
    while kills < KILLS:
        resumed += part.exists() and part.stat().st_size > 0
        kills += killed(store, out, chance)
        assert sha256(store) == input_sha
        if target.exists():  # complete or absent, never in between
            assert datasets(target) == truth
            target.unlink()
            part.unlink(missing_ok=True)  # the kill fell between the rename and the end
            part.with_name(part.name + ".journal").unlink(missing_ok=True)
    assert resumed >= 3
    subprocess.run(command(store, out, "--resume"), check=True, capture_output=True)
    assert datasets(target) == truth
    assert [p.name for p in out.iterdir()] == ["voxels_nlls.h5"]


def hear_signals():
    """What a process in the background was told to ignore (`nohup`, `&`) would be ignored by its children too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def interrupted(store, out):
    """Interrupt a fit after its first chunk: the exit code, and what it wrote on stderr after that."""
    process = subprocess.Popen(command(store, out), stderr=subprocess.PIPE, text=True, preexec_fn=hear_signals)
    for line in process.stderr:
        if line.startswith("fit nlls") and not line.startswith("fit nlls: 0 "):
            process.send_signal(signal.SIGINT)
            break
    return process.stderr.read(), process.wait()


def test_ctrl_c_is_exit_130_and_resumable(store, tmp_path):
    for _ in range(10):  # on a busy machine the fit may end before the signal reaches it
        rest, code = interrupted(store, tmp_path)
        if code != 0:
            break
        (tmp_path / "voxels_nlls.h5").unlink()
    assert code == 130
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
