"""The site is built without a warning, nothing in it leads nowhere, and it needs no network to be read."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
]


class Links(HTMLParser):
    """Targets and names of a page: `links` to follow, `loaded` from elsewhere when it is read, `ids` to lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag in ("script", "img", "link", "iframe", "source"):
            target = found.get("src") or found.get("href")
            if target and found.get("rel") not in ("next", "prev", "index", "search", "canonical", "genindex"):
                self.loaded.append(target)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built site, with the notebooks as they are (`test_notebooks.py` runs them); a warning fails."""
    for module in ("sphinx", "myst_parser", "furo", "numpydoc"):
        pytest.importorskip(module, reason="the documentation needs: pip install 'ivimsc[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-D",
        "percent_run=0",
        "-W",
        "--keep-going",
        "-q",
        "-c",
        "docs",
        "-d",
        str(out / "doctrees"),
        ".",
        str(out / "html"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return out / "html"


@pytest.fixture(scope="session")
def parsed(site):
    """Path -> its links."""
    return {path.resolve(): Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_links_within_the_site_lead_somewhere(site, parsed):
    lost = []
    for path, page in parsed.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                parts.fragment and target in parsed and unquote(parts.fragment) not in parsed[target].ids
            ):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost, lost[:20]


def test_nothing_is_loaded_from_a_network(site, parsed):
    for path, page in parsed.items():
        outside = [link[:80] for link in page.loaded if urlsplit(link).scheme not in ("", "data")]
        assert not outside, (path.relative_to(site), outside)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name


def test_the_pages_that_people_look_for_are_there(site, parsed):
    names = {str(path.relative_to(site)) for path in parsed}
    for name in ("index", "start", "choosing", "outcomes", "units", "stores", "extending", "architecture", "learning", "paper", "benchmarks",
                 "spatial", "notebooks/first_fit", "notebooks/dictionaries", "notebooks/protocol", "api/fitting"):  # fmt: skip
        assert f"docs/{name}.html" in names, name
    text = (site / "docs/notebooks/first_fit.html").read_text(encoding="utf-8")
    assert "simulate_phantom" in text and "%%" not in text  # its cells; `test_notebooks.py` runs them
    api = (site / "docs/api/stores.html").read_text(encoding="utf-8")
    assert "ivimsc.VoxelStore.write" in api and "Raises" in api


def test_search_finds_what_the_api_says(site):
    assert "fit_signals" in (site / "searchindex.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_other_sites_are_well_formed(page):
    """No request is made: what answers today need not answer tomorrow, and tests run without a network."""
    for link in re.findall(r"\]\((https?:[^)\s]*)\)|<(https?:[^>\s]*)>", page.read_text(encoding="utf-8")):
        parts = urlsplit(link[0] or link[1])
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]{2,}", parts.netloc), link
        assert " " not in parts.path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_work_where_the_files_are_read_as_they_are(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(((?!https?:|data:|#)[^)#\s]+)", text):
        assert (page.parent / target).exists(), target
