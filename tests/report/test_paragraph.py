"""The methods paragraph says what was done, and cites what it names."""

import re

import pytest

from ivimsc.fit.noise import NoiseLevel
from ivimsc.methods import METHODS
from ivimsc.report.paragraph import changed_options, write_paragraph
from ivimsc.report.references import CITED_BY, REFERENCES, bibtex
from ivimsc.report.sources import opened_sources
from ivimsc.report.summary import count_outcomes


@pytest.fixture
def paragraph(made):
    with opened_sources(made.store, made.paths) as sources:
        counts = {fit.name: count_outcomes(fit) for fit in sources.fits}
        yield write_paragraph(sources, NoiseLevel(0.02, 50.0, 104, 0.02), counts)


def test_it_names_protocol_fits_options_noise_and_shares(paragraph):
    for part in (
        "b = 0, 10, 20, 50, 80, 100, 150, 200, 300, 500 s/mm²", "matrix was 9 × 7 × 4", "2 × 2.5 × 5 mm", "104 voxels",
        "Method nlls: non-linear least squares", "(sigma = 0.5)", "mono-exponential", "as 0.02", "ratio of 50",
        "By nlls, 80 % converged, D* was not identifiable in 19 %", "By adc, 99 % converged and",
    ):  # fmt: skip
        assert part in paragraph.text, part


def test_every_number_in_brackets_has_its_reference_and_bibtex(paragraph):
    cited = {int(n) for group in re.findall(r"\[([\d,]+)\]", paragraph.text) for n in group.split(",")}
    assert cited == set(range(1, len(paragraph.references) + 1))
    assert "Golub" in next(line for line in paragraph.references if "pseudo-inverses" in line)
    assert paragraph.bibtex.count("\n@") + 1 == len(paragraph.references)


def test_only_options_that_differ_from_the_default_are_told(made):
    with opened_sources(made.store, made.paths) as sources:
        assert changed_options(sources.fits[0]) == {"sigma": 0.5}
        assert changed_options(sources.fits[1]) == {}


def test_every_method_is_cited():
    assert set(CITED_BY) == set(METHODS)
    assert {key for keys in CITED_BY.values() for key in keys} <= set(REFERENCES)


def test_bibtex_is_balanced_and_gives_names_surname_first():
    text = bibtex(list(REFERENCES))
    assert text.count("{") == text.count("}")
    assert "Laval-Jeantet, M." in text and "pages = {497--505}" in text and "{The ivimsc developers}" in text
