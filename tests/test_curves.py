"""Tables of decay curves: read in the forms that people have, fitted like voxels, refused in one line."""

import csv

import numpy as np
import pytest

import ivimsc
from ivimsc.cli import main
from ivimsc.curves import fit_curves, read_curves
from ivimsc.errors import InputError
from tests.conftest import TEN, equation1

TRUTH = {"liver": (1000.0, 0.2, 1.0e-3, 0.03), "spleen": (800.0, 0.1, 1.4e-3, 0.05)}
CURVES = {name: equation1(*truth, TEN) for name, truth in TRUTH.items()}


def written(path, separator=",", upright=False):
    rows = [["region", *(f"{b:g}" for b in TEN)], *([name, *(f"{s:.4f}" for s in y)] for name, y in CURVES.items())]
    if upright:
        rows[0][0] = "b"
        rows = list(zip(*rows, strict=True))
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n")
    return path


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_form_gives_the_same_curves(tmp_path, separator, upright):
    found = read_curves(written(tmp_path / "roi.csv", separator, upright))
    assert found.names == list(CURVES)
    np.testing.assert_array_equal(found.bvalues, TEN)
    np.testing.assert_allclose(found.signals, list(CURVES.values()), atol=5.1e-5)  # four decimals


def test_the_table_holds_the_fit_of_the_curves(tmp_path):
    (target, picture), estimates = fit_curves(written(tmp_path / "roi.csv"), tmp_path / "out")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    expected = ivimsc.fit_signals(np.round(list(CURVES.values()), 4), TEN)
    np.testing.assert_array_equal(estimates.f, expected.f)
    with open(target, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(CURVES)
    for k, (row, truth) in enumerate(zip(rows, TRUTH.values(), strict=True)):
        assert float(row["f"]) == pytest.approx(truth[1], abs=1e-3)  # float32 signals, conditioning
        assert float(row["d"]) == pytest.approx(truth[2], rel=2e-3)
        assert float(row["dstar"]) == pytest.approx(float(expected.Dstar[k]), rel=1e-6)
        assert row["meaning"] == ivimsc.Outcome(expected.outcome[k]).sentence


def test_the_command_line(tmp_path, capsys):
    table = written(tmp_path / "roi.csv")
    words = ["fit", str(table), "--method", "adc", "--out", str(tmp_path / "o")]
    assert main([*words, "--set", "b_range=200,600"]) == 0
    assert "2 curves fitted by adc" in capsys.readouterr().out
    assert (tmp_path / "o" / "roi_adc.csv").read_text().startswith("name,s0,d,rmse,outcome,dstd,meaning\nliver,")
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "says"), [
    ("", "found 0 rows"),
    ("region,0,100,200\n", "found 1 rows"),
    ("region,0,100,200\nliver,1,2\n", "found 3 cells in row 2, expected 4"),
    ("region,0,100,200\nliver,1,,2\n", "found '' as signal of 'liver', expected a number"),
    ("region;0;100;200\nliver;1,5;1;2\n", "found '1,5' as signal of 'liver', expected a number with a decimal point"),
    ("region,0,100,200\nliver,1,nan,2\n", "found 'nan' as signal of 'liver', expected a number: a curve has no missing"),
    ("region,0,100,200\nliver,1,inf,2\n", "expected a finite number"),
    ("region,0,100,200\n,1,1,2\n", "found no name in row 2"),
    ("region\nliver\n", "found one column"),
    ("region;0;0,1;0,2\nliver;1;1;2\n", "found '0,1' as b-value, expected a number with a decimal point"),
    ("region,0,0.1,0.5\nliver,3,2,1\n", "these are likely to be in ms/µm²"),
    ("region,0,-100,200\nliver,3,2,1\n", "expected finite b-values >= 0"),
    ("region,0,x,200\nliver,1,1,2\n", "found 'x' as b-value"),
    ("region,0,100,200\nliver,3,2,1\nliver,3,2,1\n", "found the name 'liver' twice"),
])  # fmt: skip
def test_bad_tables_are_refused_in_one_line(tmp_path, text, says):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        fit_curves(path, tmp_path / "out")
    assert says in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["nlls", "segmented", "adc", "bayes", "ista", "scdnn"])
def test_every_method_that_needs_no_model_of_its_own_fits_curves(tmp_path, method):
    (target, _), estimates = fit_curves(written(tmp_path / "roi.csv"), tmp_path, method)
    with open(target, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(CURVES) and estimates.method == method
    for row, truth in zip(rows, TRUTH.values(), strict=True):
        assert float(row["s0"]) == pytest.approx(truth[0], rel=0.2)  # one exponential misses S0 by the blood


def test_names_that_spreadsheets_would_compute_are_text(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text("region;0;100;200;500\n=1+1;4;3;2;1\n@x, y;4;3;2;1\n")
    (target, _), _ = fit_curves(path, tmp_path, "adc")
    with open(target, newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["'=1+1", "'@x, y"]


def test_options_of_series_are_refused_for_tables(tmp_path, capsys):
    table = str(written(tmp_path / "roi.csv"))
    assert main(["fit", table, "--out", str(tmp_path / "o"), "--bvalues", "0,100"]) == 2
    assert "--bvalues: found 0,100, expected none" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
