"""What several commands print: progress without noise in a log, outcomes, options of a method."""

import pytest

from ivimsc.cli.show import outcome_lines, progress, settings_of, tuple_of
from ivimsc.errors import InputError
from ivimsc.outcome import Outcome


def test_progress_in_a_log_is_a_line_for_each_tenth(capsys):
    with progress("fit nlls") as advance:
        for done in range(0, 1001, 25):
            advance(done, 1000)
        advance(1000, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"fit nlls: {done:,} of 1,000 voxels" for done in range(0, 1001, 100)]


def test_progress_of_nothing_divides_by_nothing(capsys):
    with progress("register", "images") as advance:
        advance(0, 0)
    assert capsys.readouterr().err == "register: 0 of 0 images\n"


def test_outcomes_are_shares_in_the_order_of_their_codes():
    lines = outcome_lines({Outcome.BAD_SIGNAL: 1, Outcome.CONVERGED: 7})
    assert lines == [
        f" 87.50 %  outcome 1: {Outcome.CONVERGED.sentence}",
        f" 12.50 %  outcome 5: {Outcome.BAD_SIGNAL.sentence}",
    ]
    assert outcome_lines({}) == []


def test_settings_are_split_at_the_first_equals_sign():
    assert settings_of(["a=1", " b = x=y ", "a=2"]) == {"a": "2", "b": "x=y"}
    for bad in ("a", "=1", ""):
        with pytest.raises(InputError, match="expected KEY=VALUE"):
            settings_of([bad])


def test_tuples_have_their_count_and_kind():
    assert tuple_of("4,5,6", int, 3, "shape") == (4, 5, 6)
    assert tuple_of(None, int, 3, "shape") is None
    for bad in ("4,5", "4,5,x", "4,5,6.5", ""):
        with pytest.raises(InputError, match=f"shape: found '{bad}', expected 3 numbers"):
            tuple_of(bad, int, 3, "shape")
