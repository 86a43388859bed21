"""``ivimsc paper``: words that mean nothing are refused in one line."""

import pytest

from ivimsc.cli import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table4"], "paper: found 'table4', expected one of table1, table2"),
        (["table1", "--scale", "0"], "--scale: found 0, expected 0.02 to 1"),
        (["table1", "--scale", "2"], "--scale: found 2, expected 0.02 to 1"),
        (["all", "--seeds", "0"], "--seeds: found 0, expected 1 to 20"),
    ],
)
def test_bad_words_are_refused_in_one_line(words, message, tmp_path, capsys):
    assert main(["paper", *words, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
