"""Text from strangers is harmless on a terminal, in a table, in JSON and in file names."""

import csv
import json

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.text import cell, one_line, printable, readable_name, require_name, strict_json


@pytest.mark.parametrize(("text", "shown"), [
    ("\x1b[31mred", r"\x1b[31mred"), ("\x9b31m", r"\x9b31m"), ("a\rb", r"a\rb"), ("a\x00b\x7f", r"a\x00b\x7f"),
    ("abc\u202edef", r"abc\u202edef"), ("\udcff.nii", r"\udcff.nii"), ("µm²/ms, D* Δ 脑 é\n\tx", "µm²/ms, D* Δ 脑 é\n\tx"),
])  # fmt: skip
def test_what_steers_a_terminal_is_written_out(text, shown):
    assert printable(text) == shown
    assert one_line(text) == shown.replace("\n", r"\n").replace("\t", r"\t")


@pytest.mark.parametrize(("name", "written"), [
    ("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-a", "'-a"),
    ("-1.5", "-1.5"), ("+3", "+3"), ("liver", "liver"), ("a=b", "a=b"), ("", ""), ("\t=1", r"\t=1"), ("\n=1", r"\n=1"),
    ("\r=1", r"\r=1"), ("-inf", "-inf"),
])  # fmt: skip
def test_no_name_is_a_formula(name, written):
    assert cell(name) == written


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "/a", "a\\b", "a\0b", "a\nb", "a\x1bb", "C:a", "x" * 300, None, 3, ["a"], "a\udcff"])  # fmt: skip
def test_a_word_that_leads_elsewhere_is_no_part_of_a_file_name(name):
    with pytest.raises(InputError, match="^v.h5: found the method .*, expected a word that can be part") as told:
        require_name(name, "method", "v.h5")
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["nlls", "my-method_2.1", "cohort-3t", "est.h5 (nlls)", "脑"])
def test_words_that_are_names(name):
    assert require_name(name, "method", "v.h5") == name


def test_json_is_strict():
    value = {"a": [1.5, float("nan"), -np.inf, (np.float64("nan"), True, None, 3)], "b\udcff": {"c\udcff": "x"}}
    text = json.dumps(strict_json(value), ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")
    assert json.loads(text) == {"a": [1.5, None, None, [None, True, None, 3]], r"b\udcff": {r"c\udcff": "x"}}


def test_a_file_name_that_is_no_utf_8_can_be_stored():
    assert readable_name("/x/b\udcff\udcc3\udca9.nii") == "b\\xffé.nii"


def test_tables_hold_no_formula(tmp_path):
    """Every table that has names from a stranger's file."""
    from ivimsc.compare.table import Agreement, write_csv
    from ivimsc.curves import fit_curves
    from ivimsc.simulate.as_nifti import _label_table

    row = Agreement("=tissue", "@a", "+b", "f", "1", 3, 0, -0.5, 0.1, -0.7, float("nan"), 0.9)
    write_csv([row], tmp_path / "t.csv")
    (found,) = csv.DictReader((tmp_path / "t.csv").open(newline=""))
    assert [found[k] for k in ("tissue", "first", "second", "difference", "upper")] == [
        "'=tissue",
        "'@a",
        "'+b",
        "-0.5",
        "",
    ]
    (tmp_path / "c.csv").write_text("name,0,50,200,800\n=HYPERLINK(1),1,.9,.7,.4\n")
    (target, _), _ = fit_curves(tmp_path / "c.csv", tmp_path / "out", "adc")
    assert list(csv.reader(target.open(newline="")))[1][0] == "'=HYPERLINK(1)"
    assert _label_table({1: "=a\tb\nc"}) == "index\tname\n1\t'=a\\tb\\nc\n"
