"""Regular files alone are read: a pipe hangs no command, and a text has a size that memory bears."""

import os
from pathlib import Path

import pytest

from ivimsc.curves import read_curves
from ivimsc.errors import InputError
from ivimsc.models import read_model
from ivimsc.nifti import read_volume
from ivimsc.nifti.volumes import chosen_volumes
from ivimsc.physics.bvalue_text import read_bval
from ivimsc.regular import MOST_TEXT, open_regular, read_text
from ivimsc.store import open_store
from ivimsc.store.dictionaries import read_dictionary

READERS = {
    "a.bval": read_bval, "a.csv": read_curves, "a.safetensors": read_model, "a.nii.gz": read_volume, "a.h5": open_store,
    "d.h5": read_dictionary, "v.txt": lambda path: chosen_volumes(path, 10),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_pipe_is_refused_by_every_reader(tmp_path: Path, name: str) -> None:
    """Without a writer, opening a pipe waits for ever."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: .*found a pipe, socket or device"):
        READERS[name](tmp_path / name)


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf0 50")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_text(tmp_path / "b", "b-values") == "0 50"


def test_large_and_binary_texts_and_odd_names(tmp_path: Path) -> None:
    with open(tmp_path / "a", "wb") as file:
        file.truncate(MOST_TEXT + 1)  # sparse
    with pytest.raises(InputError, match="at most"):
        read_text(tmp_path / "a", "b-values")
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="found binary data"):
        read_text(tmp_path / "b", "b-values")
    for name, says in (("none", "No such file"), (".", "directory"), ("a\0b", "null")):
        with pytest.raises(InputError, match=says):
            open_regular(f"{tmp_path}/{name}", "a file")
