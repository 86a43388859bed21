"""What the pages of a study share: the template engine, the style, pictures within the page, numbers in words.

A page is one file that works offline: pictures are in it. Whatever comes from files is escaped by Jinja.
"""

import base64
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from ivimsc import __version__
from ivimsc.figures import OUTCOME_COLOURS, SHORT
from ivimsc.files import written_whole
from ivimsc.outcome import Outcome

__all__ = ["embedded", "number", "write_page_file"]


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; empty where there is none."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def embedded(path: Path) -> str:
    """A PNG file as the address of a picture that is part of the page."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def write_page_file(path: Path, template: str, **values: Any) -> Path:
    """Fill a template of ``ivimsc/bids/static`` and write the page, whole or not at all; one that is there is replaced."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ivimsc.bids", "static"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["number"] = number
    shared = {"version": __version__, "outcomes": list(Outcome)[1:], "short": SHORT, "colours": OUTCOME_COLOURS}
    text = environment.get_template(template).render(**shared, **values)
    with written_whole(path, force=True) as part:
        part.write_text(text, encoding="utf-8")
    return path
