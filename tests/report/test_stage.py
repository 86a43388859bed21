"""The page as text: whole, self-contained, and safe from what files bring with them."""

import json
import re
from html.parser import HTMLParser

import pytest

from ivimsc.errors import InputError
from ivimsc.report import ReportJob, check_job, write_report
from ivimsc.report import stage as module
from tests.report.conftest import NASTY


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(ReportJob(made.store, made.paths, out)).read_text(encoding="utf-8")


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in ("meta", "input", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())


def test_the_html_is_well_formed_and_loads_nothing(page):
    tags = Tags(page)
    assert not tags.open and len(tags.ids) == len(set(tags.ids))
    for tag, attributes in tags.found:
        assert "src" not in attributes and tag not in ("link", "iframe", "img", "object")
        assert attributes.get("href", "#").startswith("#")
    assert "@import" not in page and "url(" not in re.search(r"<style>(.*?)</style>", page, re.S)[1]


def test_names_from_files_are_shown_and_never_run(page):
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in page and NASTY not in page
    assert "scan&lt;b&gt;.nii.gz" in page and "a note &lt;i&gt;" in page
    about = json.loads(re.search(r'id="about">(.*?)</script>', page, re.S)[1])
    assert about["regions"] == ["core", NASTY]
    diagrams = re.search(r'id="diagrams">(.*?)</script>', page, re.S)[1]
    assert "$$" not in diagrams  # Bokeh would load MathJax for it


def test_what_a_reader_looks_for_is_in_text(page, made):
    for part in (
        "104", "9 × 7 × 4", "outcome", "D* not identifiable", "what to do", "Errors against the truth", "Cramér-Rao",
        made.voxels.signals_sha256, "a note", "0.5</b> (changed)", "@article{lebihan1988", "Values are rounded for display",
    ):  # fmt: skip
        assert part in page, part


def test_an_earlier_report_is_kept_without_force(made, tmp_path):
    out = tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(InputError, match="found an existing file"):
        write_report(ReportJob(made.store, made.paths, out))
    assert out.read_text() == "mine"
    write_report(ReportJob(made.store, made.paths, out, force=True))
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_without_bokeh_it_is_refused_before_any_work(made, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"report: found no bokeh, expected the extra: pip install 'ivimsc\[report\]'"):
        check_job(ReportJob(made.store, made.paths, tmp_path / "report.html"))


def test_a_fit_without_a_mask_is_refused_before_it_begins_where_its_report_would_be_too_large(
    repeated_series, tmp_path, monkeypatch
):
    monkeypatch.setattr("ivimsc.report.sources.MOST", 200)
    job = ReportJob(repeated_series.folder / "scan.nii.gz", [tmp_path / "later.h5"], tmp_path / "report.html")
    check_job(job, mask="mask.nii.gz")
    with pytest.raises(InputError, match="found 252 voxels, expected at most 200"):
        check_job(job, mask=None)
