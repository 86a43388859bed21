"""Tables as CSV: what a spreadsheet would compute is text, and NaN is empty."""

import csv

import pytest

from ivimsc.errors import InputError
from ivimsc.tables import safe_cell, write_table


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-x", "@SUM(1)", '=HYPERLINK("http://x")'])
def test_no_cell_is_a_formula(text):
    assert safe_cell(text) == "'" + text


def test_a_tab_is_written_out():
    assert safe_cell("\t=1") == "\\t=1"


@pytest.mark.parametrize("value", ["-1.5", "+2", "liver", "a=b", -1.5, 0, 3])
def test_numbers_and_words_stay_as_they_are(value):
    assert safe_cell(value) == value


def test_what_is_written_is_read_again_and_not_overwritten(tmp_path):
    path = write_table(tmp_path / "t.csv", ["name", "=x"], [["a, b", float("nan")], [None, 2.5]])
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "'=x"], ["a, b", ""], ["", "2.5"]]
    with pytest.raises(InputError, match="existing file"):
        write_table(path, ["x"], [])
