"""Prints stop no command, whatever becomes of stdout and stderr."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]


def run(words, redirect="", **environment):
    """The package's command line in a process of its own, in a shell, with `redirect` behind it."""
    quoted = " ".join(f"'{word}'" for word in words)
    env = {**os.environ, "PYTHONPATH": str(PACKAGE), **environment}
    command = f"'{sys.executable}' -m ivimsc {quoted} {redirect}"
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, env=env, check=False)


def pack(series, name):
    bval = series / "scan.bval"
    bval.write_text(bval.read_text().replace("500", "501"))
    return ["pack", series / "scan_dwi.nii.gz", "--bval", bval, "--out", series / name]


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "utf-8"])
def test_characters_that_the_encoding_lacks(series, encoding):
    done = run(pack(series, "a.h5"), PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and (series / "a.h5").exists()
    assert ("s/mm²" if encoding == "utf-8" else "s/mm?") in done.stdout.decode(encoding, "replace")
    assert not done.stderr


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "1</dev/null", "| true"])
def test_streams_that_are_closed(series, redirect):
    done = run(pack(series, "a.h5"), redirect)
    assert (series / "a.h5").exists()
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr
    assert done.returncode == (1 if redirect.startswith("1<") else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_behind_stdout_is_told_when_the_work_is_done(series):
    done = run(pack(series, "a.h5"), ">/dev/full")
    assert done.returncode == 1 and (series / "a.h5").exists()
    assert done.stderr.decode() == "ivimsc: error: stdout: No space left on device\n"


def test_an_error_keeps_its_code_on_closed_streams(series):
    assert run(["pack", series / "none.nii", "--bval", "b", "--out", series / "x.h5"], ">&- 2>&-").returncode == 2


def test_progress_on_a_closed_stderr(series):
    done = run(["fit", *pack(series, "out")[1:]], "2>&-")
    assert done.returncode == 0 and (series / "out" / "scan_nlls.h5").exists()
