"""The documentation site: `make docs`, or ``python -m sphinx -W -c docs . build/site`` from the root of the project.

The source folder is the root of the project, so that links between pages, tables of results and data are the same here and
where the Markdown files are read as they are. Nothing is loaded from a network, when the site is built or when it is read.
"""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

from ivimsc import __version__

project, author, copyright = "ivimsc", "The ivimsc developers", "The ivimsc developers, BSD-3-Clause"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_parser", "percent"]
root_doc = "docs/index"
include_patterns = ["docs/**", "bench/results/**", "data/README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [
    "docs/conf.py", "docs/_*", "bench/*.py", "bench/results/paper/work", "build", "dist", "demo_out", "ivimsc", "tests", "*.egg-info", ".*",
]  # fmt: skip

html_theme = "furo"
html_title = f"ivimsc {version}"
html_extra_path = ["_extra"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
pygments_style, pygments_dark_style = "tango", "github-dark"
highlight_language = "none"  # what is indented is a command or a table

myst_heading_anchors = 3
myst_links_external_new_tab = False

default_role = "py:obj"  # `VoxelStore` in a docstring leads to its entry, where it has one
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and units
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
toc_object_entries = False
python_use_unqualified_type_names = True


def _read(app: Any, name: str, source: list[str]) -> None:
    """A page as it is read: links to folders lead to the list of their tables.

    The menu loses the lines ``page*`` that no page answers: they are room for pages that are not there yet.
    """
    source[0] = re.sub(r"\]\(\.\./bench/results[/a-z]*\)", "](results.md)", source[0])
    if name == root_doc:
        folder, lines = (ROOT / name).parent, source[0].splitlines()
        absent = {line for line in lines if re.fullmatch(r"[\w-]+\*", line) and not any(folder.glob(f"{line}.*"))}
        source[0] = "\n".join(line for line in lines if line not in absent)


def _described(app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Docstrings as numpydoc reads them: what stands after ``name :`` here is no type but a description, which may go on.

    It goes below the name; and a text of several lines below "Returns" becomes one, for numpydoc takes each for a value.
    """
    section, done = "", []
    for line, below in zip(lines, [*lines[1:], ""], strict=False):  # without any line there is nothing to do
        if below and not below.strip("-") and line.strip():
            section = line
        parts = re.fullmatch(r"([\w*][\w*, ]*) : (.+)", line)
        before = done[-1] if done else ""
        goes_on = line[:1].strip() and before[:1].strip() and before.strip("-") and before != section
        if section in ("Parameters", "Attributes") and parts:
            done += [parts[1], f"    {parts[2]}"]
        elif section in ("Returns", "Yields") and goes_on:
            done[-1] += f" {line}"
        else:
            done.append(line)
    lines[:] = done


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _described, priority=400)  # before numpydoc
    app.connect("source-read", _read)
