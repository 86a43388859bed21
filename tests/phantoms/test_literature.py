"""data/literature.csv: every value has a source that says the same, or says assumption and why; it is read as it is written."""

import csv
import re

import pytest

from ivimsc.phantoms.literature import data_folder, tissues

UNITS = {"S0": "relative", "f": "1", "D": "mm2/s", "Dstar": "mm2/s", "Dstar2": "mm2/s"}
# A parameter of ours -> what the source calls it. An ADC is not D: then the confidence is 1.
CALLED = {"f": {"f"}, "D": {"D", "Dblood", "ADC"}, "Dstar": {"Dstar", "Dstar intermediate"}, "Dstar2": {"Dstar"}}


def read(name):
    with (data_folder() / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def rows():
    return read("literature.csv")


def test_every_row_has_a_source_or_says_assumption(rows):
    assert len(rows) > 100
    for row in rows:
        if row["doi"]:
            assert re.fullmatch(r"10\.\d{4,}/\S+", row["doi"]) and row["reference"] and row["confidence"] in "123"
        else:
            assert "assumption" in row["notes"] and not row["reference"]
            assert len(row["notes"].removeprefix("assumption")) > 10  # and why
        assert float(row["mean"]) > 0 and 0 < float(row["sd"]) < float(row["mean"])
        assert row["unit"] == UNITS[row["parameter"]]


def test_values_with_a_doi_equal_those_of_the_source_table(rows):
    sources = [row for row in read("sources.csv") if re.fullmatch(r"[\d.e-]+", row["value"])]
    for row in rows:
        if not row["doi"]:
            continue
        published = [s for s in sources if s["doi"] == row["doi"] and s["parameter"] in CALLED[row["parameter"]]]
        same = [s for s in published if float(s["value"]) == pytest.approx(float(row["mean"]), rel=1e-9)]
        assert same, (row["organ"], row["tissue"], row["parameter"], [s["value"] for s in published])
        assert row["confidence"] in {s["confidence"] for s in same} or (row["confidence"] == "1" and same)
        if all(s["parameter"] == "ADC" for s in same):
            assert row["confidence"] == "1" and "ADC" in row["notes"]


def test_the_source_table_says_where_each_value_was_read():
    for row in read("sources.csv"):
        assert (
            (row["value"] or row["quote"]) and row["title"] and row["read_in"] and row["confidence"] in ("1", "2", "3")
        )
        assert all(re.fullmatch(r"10\.\d{4,}/\S+", doi) for doi in row["doi"].split("; ") if doi), row["doi"]


def test_every_tissue_has_its_four_parameters():
    for organ in ("placenta", "brain", "abdomen"):
        for tissue in tissues(organ).values():
            assert 0 < tissue.f[0] < 1 and tissue.D[0] < 3.2e-3 < tissue.Dstar[0]


def test_tissues_hold_the_numbers_of_their_rows(rows):
    for row in rows:
        if row["organ"] in ("placenta", "brain", "abdomen"):
            found = getattr(tissues(row["organ"])[row["tissue"]], row["parameter"])
            assert found == (float(row["mean"]), float(row["sd"]))
