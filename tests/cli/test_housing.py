"""Without a home that can be written to, Matplotlib gets a private folder; else nothing changes."""

import os
import stat

import pytest

from ivimsc.cli.housing import house_matplotlib
from ivimsc.compiling import cache


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.setenv("MPLCONFIGDIR", "to be restored")
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))


def test_no_home(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    house_matplotlib()
    folder = tmp_path / f"ivimsc-kernels-{os.getuid()}"
    assert os.environ["MPLCONFIGDIR"] == str(folder / "matplotlib")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_home_that_is_there_and_a_folder_that_is_given_stay(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    house_matplotlib()
    assert "MPLCONFIGDIR" not in os.environ
    monkeypatch.setenv("HOME", "/dev/null/none")
    monkeypatch.setenv("MPLCONFIGDIR", "/mine")
    house_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == "/mine"
