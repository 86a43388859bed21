"""What the pages of a study share: the template engine, the style, pictures within the page, numbers in words.

A page is one file that works offline: pictures are in it. Whatever comes from files is escaped by Jinja.
"""

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.image import imsave
from numpy.typing import NDArray

from ivimsc import __version__
from ivimsc.figures import COLOURS, OUTCOME_COLOURS, SHORT
from ivimsc.files import written_whole
from ivimsc.outcome import Outcome

__all__ = ["embedded", "gradient", "number", "picture", "write_page_file"]


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; empty where there is none."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def embedded(png: bytes) -> str:
    """A PNG file as the address of a picture that is part of the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def picture(pixels: NDArray[np.uint8]) -> str:
    """Pixels (row, column, 4) as the address of a picture that is part of the page."""
    file = io.BytesIO()
    imsave(file, pixels, format="png")
    return embedded(file.getvalue())


def gradient(key: str) -> str:
    """The colours of a map from low to high, as CSS has them."""
    steps = matplotlib.colormaps[COLOURS[key]](np.linspace(0, 1, 12))
    return f"linear-gradient(to right, {', '.join(to_hex(step) for step in steps)})"


def write_page_file(path: Path, template: str, **values: Any) -> Path:
    """Fill a template of ``ivimsc/bids/static`` and write the page, whole or not at all; one that is there is replaced."""
    shared = {"version": __version__, "outcomes": list(Outcome)[1:], "short": SHORT, "colours": OUTCOME_COLOURS}
    text = _templates().get_template(template).render(**shared, **values)
    with written_whole(path, force=True) as part:
        part.write_text(text, encoding="utf-8")
    return path


@cache
def _templates() -> jinja2.Environment:
    """The templates of this package, compiled once."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ivimsc.bids", "static"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["number"] = number
    return environment
