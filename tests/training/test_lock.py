"""One training at a time: the lock, its end, and what a killed process leaves."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("fcntl")

from ivimsc.errors import InputError
from ivimsc.training.lock import alone

HOLDER = """
import sys
from pathlib import Path
from ivimsc.training.lock import alone
with alone(Path(sys.argv[1]), Path("m")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_one_is_refused_until_the_first_ends(tmp_path):
    lock = tmp_path / ".m.lock"
    with alone(lock, tmp_path / "m"):
        with pytest.raises(InputError, match="m: found another training that writes it, expected to be the only one"), alone(lock, tmp_path / "m"):  # fmt: skip
            pass
        assert lock.exists()
    with alone(lock, tmp_path / "m"):
        assert lock.exists()
    assert not list(tmp_path.iterdir())


def test_it_dies_with_its_process(tmp_path):
    lock = tmp_path / ".m.lock"
    words = [sys.executable, "-c", HOLDER, str(lock)]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another training"), alone(lock, tmp_path / "m"):
        pass
    holder.kill()
    holder.communicate()
    assert lock.exists()  # nobody was left to remove it
    with alone(lock, tmp_path / "m"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"), alone(tmp_path / "lock", tmp_path / "m"):
        pass
