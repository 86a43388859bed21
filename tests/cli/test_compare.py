"""``ivimsc compare``: what it prints and writes, and bad input in one line."""

import csv

import pytest

from ivimsc.cli import main
from tests.compare.conftest import run


def test_command_writes_table_and_figures(folder, tmp_path, capsys):
    files = [str(folder / name) for name in ("u.h5", "u_segmented.h5", "u_nlls.h5")]
    assert main(["compare", *files, "--out", str(tmp_path / "new")]) == 0
    assert "smallest possible" in capsys.readouterr().out
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == ["u_agreement.csv", "u_compare.csv", "u_compare_nlls.png", "u_compare_segmented.png"]
    with (tmp_path / "new" / "u_compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} >= {"nlls", "segmented", "constant guess", "smallest possible"}
    assert main(["compare", *files, "--out", str(tmp_path / "new")]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["compare", *files, "--out", str(tmp_path / "new"), "--force", "--no-bound"]) == 0


def test_the_command_passes_its_seed_on(folder, tmp_path):
    files = [str(folder / name) for name in ("u.h5", "u_nlls.h5")]
    assert main(["compare", *files, "--out", str(tmp_path), "--seed", "8"]) == 0
    with (tmp_path / "u_compare.csv").open(encoding="utf-8") as file:
        rows = {(r["method"], r["parameter"]): float(r["mse"]) for r in csv.DictReader(file)}
    for row in run(folder, "u.h5", ["u_nlls.h5"], seed=8).rows:
        assert rows[row.method, row.parameter] == pytest.approx(row.mse, rel=1e-9)


@pytest.mark.parametrize(("words", "told"), [
    (["other.h5", "m_nlls.h5"], "found estimates of other signals"),
    (["u.h5", "u_nlls.h5", "u_nlls.h5"], "twice"),
    (["missing.h5", "u_nlls.h5"], "missing.h5"),
    (["u_nlls.h5", "u_nlls.h5"], "u_nlls.h5"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line(folder, tmp_path, capsys, words, told):
    assert main(["compare", *(str(folder / word) for word in words), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()
