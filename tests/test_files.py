"""Files are written whole or not at all, several together too, and errors of the disk are one line."""

import errno
import os

import pytest

from ivimsc.errors import InputError, IvimscError
from ivimsc.files import FailSafeFile, make_folder, refuse_existing, told, written_together, written_whole


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a"
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.parent == tmp_path
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a"]


def test_a_failure_leaves_every_file_as_it_was(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("old")
    with pytest.raises(ZeroDivisionError), written_together(paths, force=True) as temporary:
        for path in temporary:
            path.write_text("new")
        raise ZeroDivisionError
    assert paths[0].read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_an_existing_file_is_refused_before_the_block_runs(tmp_path):
    (tmp_path / "b").write_text("old")
    with (
        pytest.raises(InputError, match="b: found an existing file"),
        written_together([tmp_path / "a", tmp_path / "b"]),
    ):
        raise AssertionError
    with pytest.raises(InputError, match="found a folder"):
        refuse_existing(tmp_path, force=True)
    refuse_existing(tmp_path / "b", force=True)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, IvimscError), (errno.EDQUOT, IvimscError), (errno.EIO, IvimscError), (errno.EACCES, InputError)],
)
def test_errors_of_the_system_are_told_in_one_line(tmp_path, code, kind):
    with pytest.raises(IvimscError) as error, told(tmp_path / "a", "a place"):
        raise OSError(code, os.strerror(code))
    assert type(error.value) is kind
    expected = f"{tmp_path / 'a'}: {os.strerror(code)}" + (", expected a place" if kind is InputError else "")
    assert str(error.value) == expected


def test_a_folder_is_made_with_its_parents(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="expected a folder that can be written to"):
        make_folder(tmp_path / "file")


class TestFailSafeFile:
    def test_bytes_lie_where_they_were_written(self, tmp_path):
        file = FailSafeFile(tmp_path / "a")
        assert file.write(memoryview(b"abcdef")) == 6
        file.seek(2)
        file.write(memoryview(b"XY"))
        file.seek(0)
        assert file.read() == b"abXYef" and file.tell() == 6
        file.check()
        file.close()

    def test_what_was_never_written_reads_as_zero(self, tmp_path):
        file = FailSafeFile(tmp_path / "a")
        file.write(memoryview(b"ab"))
        file.seek(0)
        buffer = bytearray(b"????")
        assert file.readinto(buffer) == 4 and bytes(buffer) == b"ab\0\0"
        file.close()

    def test_a_failed_write_is_kept_and_later_ones_go_nowhere(self, tmp_path):
        file = FailSafeFile(tmp_path / "a")
        file.write(memoryview(b"ab"))

        class Full:
            def write(self, _):
                raise OSError(errno.ENOSPC, "No space left on device")

            def truncate(self, _):
                raise AssertionError

        real, file._file = file._file, Full()
        assert file.write(memoryview(b"cd")) == 2 and file.truncate(1) == 1
        with pytest.raises(OSError, match="No space left"):
            file.check()
        real.close()
        assert (tmp_path / "a").read_bytes() == b"ab"
