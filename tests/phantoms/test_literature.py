"""data/literature.csv: every value has a source, and is read as it is written."""

import csv
import re

import pytest

from ivimsc.phantoms.literature import data_folder, tissues


@pytest.fixture(scope="module")
def rows():
    with (data_folder() / "literature.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_row_has_a_source_or_says_assumption(rows):
    assert len(rows) > 100
    for row in rows:
        if row["doi"]:
            assert re.fullmatch(r"10\.\d{4,}/\S+", row["doi"]) and row["reference"]
        else:
            assert row["notes"].startswith("assumption") and not row["reference"]
        assert float(row["mean"]) > 0 and 0 < float(row["sd"]) < float(row["mean"])
        assert (
            row["unit"]
            == {"S0": "relative", "f": "1", "D": "mm2/s", "Dstar": "mm2/s", "Dstar2": "mm2/s"}[row["parameter"]]
        )


def test_every_tissue_has_its_four_parameters():
    for organ in ("placenta", "brain", "abdomen"):
        for tissue in tissues(organ).values():
            assert 0 < tissue.f[0] < 1 and tissue.D[0] < 3.2e-3 < tissue.Dstar[0]


def test_tissues_hold_the_numbers_of_their_rows(rows):
    for row in rows:
        if row["organ"] in ("placenta", "brain", "abdomen"):
            found = getattr(tissues(row["organ"])[row["tissue"]], row["parameter"])
            assert found == (float(row["mean"]), float(row["sd"]))
