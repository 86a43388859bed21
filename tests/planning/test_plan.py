"""A design from end to end: better than usual protocols where it is judged, and written to files whole."""

import csv
import json

import numpy as np
import pytest

import ivimsc
from ivimsc.errors import InputError
from ivimsc.physics.bvalue_text import read_bval
from ivimsc.planning import design, write_design
from ivimsc.planning.plan import BOUND, DESIGN
from tests.planning.makers import TISSUE


@pytest.fixture(scope="module")
def made():
    told = []
    result = design(TISSUE, 30.0, 8, 800.0, lambda done, total: told.append(done), 1, step=20.0, fixed=(0, 500))
    return result, told


def test_the_protocol_is_what_was_asked_for(made):
    result, told = made
    assert result.images.shape == (8,) and 0 in result.bvalues and 500 in result.bvalues and result.bvalues.max() <= 800
    assert len(result.bvalues) >= 5 and (np.diff(result.bvalues) > 0).all() and (result.bvalues % 20 == 0).all()
    assert told == sorted(told) and told[-1] == 100 and len(set(told)) > 5


def test_no_usual_protocol_has_a_smaller_error_on_average(made):
    """Of the criterion: the mean share of the prior's variance; by 1 %, the Monte Carlo of the judgement."""
    result, _ = made
    left = {
        p.name: np.mean([(r.rmse / r.prior) ** 2 for r in result.rows if r.protocol == p.name])
        for p in result.protocols
    }
    assert left[DESIGN] == pytest.approx(result.value, rel=0.1)
    assert all(left[DESIGN] <= value * 1.01 for value in left.values())
    assert left["equally spaced"] > 1.05 * left[DESIGN] and BOUND in left


def test_rows_are_errors_at_equal_scan_time(made):
    """The bound of a protocol of K images is that of its own images, less the square root of K over the design's images."""
    result, _ = made
    row = next(r for r in result.rows if r.protocol == "the paper's ten" and r.parameter == "D")
    from ivimsc.physics.cramer_rao import cramer_rao

    expected = cramer_rao(
        1.0, *(getattr(TISSUE, n)[0] for n in ("f", "D", "Dstar")), result.protocols[2].images, 1 / 30
    )[0, 2]
    assert result.protocols[2].name == "the paper's ten" and row.images == 10
    assert row.cramer_rao == pytest.approx(expected * 1e3 * np.sqrt(10 / 8), rel=1e-9)
    assert row.rmse < min(row.prior, row.cramer_rao) and row.unit == "µm²/ms"


def test_errors_fall_with_scan_time_and_meet_the_table(made):
    result, _ = made
    for curve in result.curves:
        assert (np.diff(curve.rmse[:, 0], axis=0) < 0).all()
    middle = result.curves[0].rmse[len(result.curves[0].images) // 2, 0]
    table = np.array([r.rmse for r in result.rows[:3]]) / (1, 1e3, 1e3)
    np.testing.assert_allclose(middle, table, rtol=0.08)  # two Monte Carlos of 256 and 3000 voxels


def test_files(made, tmp_path):
    result, _ = made
    paths = write_design(result, tmp_path / "new")
    assert [p.name for p in paths] == ["design.bval", "design.csv", "design.json", "design.png"]
    np.testing.assert_array_equal(read_bval(paths[0]), result.images)
    with paths[1].open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(result.rows) and float(rows[0]["rmse"]) == result.rows[0].rmse
    record = json.loads(paths[2].read_text(encoding="utf-8"))
    assert record["bvalues"] == result.bvalues.tolist() and record["repeats"] == result.repeats.tolist()
    assert record["request"]["tissues"][0]["name"] == "made up" and record["request"]["snr"] == 30
    assert paths[3].read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match=r"design\.bval: found an existing file"):
        write_design(result, tmp_path / "new")
    write_design(result, tmp_path / "new", force=True)


def test_the_best_by_the_bound_has_shares_with_a_proof():
    result = design(TISSUE, 30.0, 12, 800.0, threads=1, step=20.0, criterion="cramer-rao")
    assert result.optimum is not None and result.optimum.value <= result.value * (1 + 1e-9)
    assert result.value < 1.08 * result.optimum.value  # 12 whole images, and a fifth b-value for the noise level
    assert any(note.startswith("best shares of the scan time by b-value") for note in result.notes)


def test_shorter_echoes_are_used_where_they_pay():
    """A T2 of 15 ms: the largest b-value falls, and the note says what that gained."""
    plain = design(TISSUE, 30.0, 8, 800.0, threads=1, step=50.0, criterion="cramer-rao")
    short = design(TISSUE, 30.0, 8, 800.0, threads=1, step=50.0, criterion="cramer-rao", te=80, gradient=30, t2=15)
    assert short.bvalues.max() < plain.bvalues.max() and short.value < plain.value
    assert any(note.startswith("echo time ") for note in short.notes)


def test_the_public_name():
    assert ivimsc.design is design
