"""``ivimsc compare``: what it prints and writes, and bad input in one line."""

import csv

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.store import EstimateStore
from tests.compare.conftest import run


def test_command_writes_table_and_figures(folder, tmp_path, capsys):
    files = [str(folder / name) for name in ("u.h5", "u_segmented.h5", "u_nlls.h5")]
    assert main(["compare", *files, "--out", str(tmp_path / "new")]) == 0
    assert "smallest possible" in capsys.readouterr().out
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == [
        "u_agreement.csv",
        "u_compare.csv",
        "u_compare_nlls.png",
        "u_compare_segmented.png",
        "u_maps.png",
    ]
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


def test_one_fit_without_truth_is_described(folder, tmp_path, capsys):
    assert main(["compare", str(folder / "m.h5"), str(folder / "m_nlls.h5"), "--out", str(tmp_path)]) == 0
    assert "no truth in this store: what the method found" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m_compare.csv", "m_maps.png"]
    with (tmp_path / "m_compare.csv").open(encoding="utf-8") as file:
        rows = {row["parameter"]: row for row in csv.DictReader(file)}
    with EstimateStore(folder / "m_nlls.h5") as fit:
        d = fit["d"].astype(float) * 1e3
    assert float(rows["D"]["mean"]) == pytest.approx(np.nanmean(d), rel=1e-9)
    assert float(rows["D"]["sd"]) == pytest.approx(np.nanstd(d, ddof=1), rel=1e-9)


def test_two_fits_of_one_method_are_told_apart(folder, tmp_path, capsys):
    """By their files, and by their folders where the files are called alike."""
    (tmp_path / "other").mkdir()
    for name in ("m_nlls.h5", "again.h5"):
        (tmp_path / "other" / name).write_bytes((folder / "m_nlls.h5").read_bytes())
    alike = [folder / "m.h5", folder / "m_nlls.h5", tmp_path / "other" / "m_nlls.h5"]
    assert main(["compare", *map(str, alike), "--out", str(tmp_path / "a")]) == 0
    assert "other_m_nlls" in capsys.readouterr().out
    assert (
        main(["compare", *map(str, [*alike[:2], tmp_path / "other" / "again.h5"]), "--out", str(tmp_path / "b")]) == 0
    )
    assert (tmp_path / "b" / "m_compare_again.png").exists()


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
