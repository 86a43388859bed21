"""b-values as text: what people have in their files, and one line for everything that is wrong."""

from pathlib import Path

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.physics.bvalue_text import parse_bvalues, read_bval


@pytest.mark.parametrize(
    "text", ["0 50 800", "0\n50\n800\n", "0 50\n800", "\ufeff0\t50  800 \r\n", "0.0 5e1 800.000", "  0 50 800\n\n", "0,50,800", "0, 50 ,\t800,\n",
    "0;50;800", "# b in s/mm2\n0 50 800 # three\n", "[0, 50, 800]", "[[0.]\n [50.]\n [800.]]", "(0 50 800)", "+0 50. .8E3"]
)  # fmt: skip
def test_read_bval(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.bval"
    path.write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_bval(path), [0, 50, 800])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no b-value"),
        (b" \n ", "no b-value"),
        (b"0 fifty 800", "'fifty' at position 2"),
        (b"0 1_000", "'1_000' at position 2"),
        ("0 \u0665\u0660".encode(), "'\u0665\u0660' at position 2"),
        (b"0,x,50", "'x' at position 2"),
        (b"# nothing else", "no b-value"),
        (b"0 0x10", "'0x10' at position 2"),
        (b"0 nan 800", "nan at position 2 of 3"),
        (b"0 50 -800", "-800 at position 3 of 3"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "binary data"),
        (None, "No such file"),
    ],
)
def test_read_bval_errors(tmp_path: Path, content: bytes | None, found: str) -> None:
    path = tmp_path / "a.bval"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_bval(path)
    message = str(error.value)
    assert str(path) in message and found in message and "expected" in message and "\n" not in message


def test_read_bval_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        read_bval(tmp_path)


def test_parse_bvalues() -> None:
    np.testing.assert_array_equal(parse_bvalues("20, 50,150"), [20, 50, 150])
    with pytest.raises(InputError, match="^bvalues: found 'x'"):
        parse_bvalues("20,x")
