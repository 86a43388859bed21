"""SIGTERM, SIGHUP and `kill -9`: no unfinished file is left by the first two, and the next run removes what the last leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_interrupted import command, hear_signals, store  # noqa: F401, the store that fits are interrupted on

ROOT = Path(__file__).parents[2]
NUMBERS = [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


def run(words, **more):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    more = {"preexec_fn": hear_signals} | more
    return subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True, env=env, **more)


def ivimsc(*words):
    return [sys.executable, "-m", "ivimsc", *words]


def stopped_at(words, there, number, **more):
    """Run the command until the file `there` has content, and send the signal; what it says."""
    process = run(words, stdout=subprocess.DEVNULL, **more)
    for _ in range(3000):
        if process.poll() is not None or (there.exists() and there.stat().st_size):
            break
        time.sleep(0.01)
    process.send_signal(number)
    errors = process.communicate()[1]
    assert process.returncode == -number, errors
    assert "Traceback" not in errors
    return errors


@pytest.mark.parametrize("number", NUMBERS)
def test_a_simulation(tmp_path, number):
    words = ivimsc("simulate", "--phantom", "uniform", "--device", "cpu", "--out", tmp_path / "v.h5", "--voxels")
    stopped_at([*words, 200_000_000], tmp_path / ".v.h5.tmp", number)
    assert os.listdir(tmp_path) == ([".v.h5.tmp"] if number == signal.SIGKILL else [])
    assert run([*words, 100], stdout=subprocess.DEVNULL).wait() == 0
    assert os.listdir(tmp_path) == ["v.h5"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_fit_keeps_its_finished_chunks(store, tmp_path, number):  # noqa: F811
    errors = stopped_at(command(store, tmp_path), tmp_path / "voxels_nlls.h5.part", number)
    assert sorted(os.listdir(tmp_path)) == ["voxels_nlls.h5.part", "voxels_nlls.h5.part.journal"]
    assert ("--resume" in errors) == (number != signal.SIGKILL)
    assert run(command(store, tmp_path, "--resume"), stdout=subprocess.DEVNULL).wait() == 0
    assert os.listdir(tmp_path) == ["voxels_nlls.h5"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_training_keeps_its_finished_epochs(tmp_path, number):
    pytest.importorskip("torch")
    from ivimsc.simulate import write_phantom

    write_phantom(tmp_path / "v.h5", "uniform", voxels=2000)
    out = tmp_path / "out"
    words = ivimsc("train", "mlp", tmp_path / "v.h5", "--out", out / "m.safetensors", "--set", "epoch_voxels=2000")
    stopped_at([*words, "--epochs", 100_000], out / ".m.safetensors.checkpoint", number)
    assert {".m.safetensors.checkpoint"} <= set(os.listdir(out))
    if number != signal.SIGKILL:
        assert os.listdir(out) == [".m.safetensors.checkpoint"]
    assert run([*words, "--epochs", 1], stdout=subprocess.DEVNULL).wait() == 0
    assert os.listdir(out) == ["m.safetensors"]


def test_nohup_is_obeyed(tmp_path):
    """A signal that is ignored when the command starts stays ignored."""
    words = ivimsc(
        "simulate", "--phantom", "uniform", "--device", "cpu", "--out", tmp_path / "v.h5", "--voxels", 3_000_000
    )
    ignore = (
        "import signal, sys, os; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    process = run([sys.executable, "-c", ignore, *words], stdout=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / ".v.h5.tmp").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 0 and (tmp_path / "v.h5").exists()


@pytest.mark.parametrize("command", ["simulate", "pack", "train"])
def test_of_two_that_make_one_file_one_wins_and_the_other_says_so(series, command):
    out = series / ("m.safetensors" if command == "train" else "o.h5")
    if command == "train":
        pytest.importorskip("torch")
        from ivimsc.simulate import write_phantom

        write_phantom(series / "v.h5", "uniform", voxels=2000)
        words = ivimsc("train", "mlp", series / "v.h5", "--epochs", 2)
    elif command == "pack":
        words = ivimsc("pack", series / "scan_dwi.nii.gz", "--bval", series / "scan.bval")
    else:
        words = ivimsc("simulate", "--phantom", "uniform", "--device", "cpu", "--voxels", 500_000)
    before = set(os.listdir(series))
    both = [run([*words, "--out", out], stdout=subprocess.DEVNULL) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], errors
    loser = errors[[process.returncode for process in both].index(2)].splitlines()
    assert len(loser) == 1 and ("another process that writes it" in loser[0] or "found an existing file" in loser[0])
    assert set(os.listdir(series)) - before == {out.name}
