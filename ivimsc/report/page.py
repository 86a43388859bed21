"""The page: what was found, the packed arrays, the diagrams and the scripts, put into one HTML file by Jinja.

Everything is in the file: styles, scripts, Bokeh's own JavaScript, the data. Whatever comes from files (names of tissues,
sources, notes) is escaped by Jinja in HTML, and by `_json` in scripts.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jinja2
import matplotlib
import numpy as np
from bokeh.embed import json_item
from bokeh.resources import Resources
from numpy.typing import NDArray

from ivimsc import __version__
from ivimsc.figures import MEANINGLESS, OUTCOME_COLOURS, SHORT
from ivimsc.orientation import view_of
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.regions import usable
from ivimsc.report import charts
from ivimsc.report.paragraph import option_rows
from ivimsc.report.plan import Kept
from ivimsc.report.regions import Regions, region_rows
from ivimsc.report.shown import SHOWN
from ivimsc.report.sources import Sources

__all__ = ["render"]

SCRIPTS = ("codec.js", "volume.js", "colours.js", "panel.js", "viewer.js", "inspector.js", "main.js")
LUTS = ("gray", "viridis", "magma", "cividis", "RdBu_r")
UNITS = {"mm": "mm", "micron": "µm", "meter": "m"}


def render(sources: Sources, found: Mapping[str, Any], kept: Kept) -> str:
    """The HTML of a report.

    Parameters
    ----------
    sources : the data and the fits
    found : what `stage.write_report` gathered
    kept : the packed arrays
    """
    names = [fit.name for fit in sources.fits]
    noise = found["noise"]
    sigma = noise.sigma if noise else 0.0
    spectra = [name for name in names if f"spectrum counts {name}" in kept.arrays]
    figures = charts.inspector_figures(sources, sigma, spectra) | charts.histogram_figures(found["histograms"], names)
    figures |= charts.mean_figures(sources, found["curves"], sigma)
    figures |= charts.box_figures(found["region_rows"], names)
    if found["moved"] is not None:
        figures["volumes"] = charts.volume_figure(found["moved"])
    items = [json_item(figure, f"chart-{name}") for name, figure in figures.items()]
    everything = Regions(np.ones(len(sources), np.uint16), ["all voxels"], "")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ivimsc.report", "static"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["number"] = _number
    identifiers = {name: f"data-{k}" for k, name in enumerate(kept.arrays)}
    return environment.get_template("report.html").render(
        sources=sources, kept=kept, found=found, charts=list(figures), names=names, version=__version__,
        colours=dict(zip(names, charts.COLOURS, strict=False)),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        spectra=spectra, outcomes=[o for o in Outcome if any(o in counts for counts in found["counts"].values())],
        outcome_colours=OUTCOME_COLOURS, meaningless=MEANINGLESS, options={fit.name: option_rows(fit) for fit in sources.fits},
        medians={(row.parameter.key, row.name): row for row in region_rows(sources, everything)}, parameters=PARAMETERS,
        geometry=sources.voxels.geometry, view=view_of(sources.voxels.geometry),
        bokeh=Resources(mode="inline", components=["bokeh"], log_level="error").render_js(), diagrams=_json(items),
        style=_static(environment, "style.css"), scripts=[_static(environment, name) for name in SCRIPTS],
        about=_json(_about(sources, found, kept, identifiers, spectra)),
        arrays=[(identifiers[name], packed.text) for name, packed in kept.arrays.items()],
    )  # fmt: skip


def _static(environment: jinja2.Environment, name: str) -> str:
    return environment.loader.get_source(environment, name)[0]


def _json(value: Any) -> str:
    """JSON that may stand in a script: no tag can begin in it."""
    return json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _number(value: float, digits: int = 3) -> str:
    """A number for a table; empty where there is none."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _about(sources: Sources, found: Mapping[str, Any], kept: Kept, identifiers: Mapping[str, str], spectra: list[str]) -> dict:  # fmt: skip
    """What the scripts have to know."""
    geometry, noise, images = sources.voxels.geometry, found["noise"], sources.images
    low, high = sources.index.min(0), sources.index.max(0) + 1
    columns = [{"name": "truth", "truth": True, "mono": False, "colour": charts.GREY}] if sources.truth else []
    columns += [
        {"name": fit.name, "truth": False, "mono": fit.mono, "colour": charts.COLOURS[k],
         "used": [bool(np.isclose(fit.store.bvalues, b).any()) for b in sources.bvalues]}
        for k, fit in enumerate(sources.fits)
    ]  # fmt: skip
    shown = [key for key in SHOWN if any(f"{key} {column['name']}" in kept.arrays for column in columns)]
    return {
        "box": (high - low).tolist(),
        "origin": low.tolist(),
        "focus": _focus(sources, low),
        "start": (_start(sources) - low).tolist(),
        "shape": list(geometry.shape),
        "spacing": np.linalg.norm(geometry.affine[:3, :3], axis=0).tolist(),
        "unit": UNITS.get(geometry.xyz_unit, ""),
        "affine": np.asarray(geometry.affine)[:3].tolist(),
        "view": view_of(geometry)._asdict(),
        "bvalues": sources.bvalues.tolist(),
        "weights": sources.weights.tolist(),
        "sigma": noise.sigma if noise else 0,
        "digits": kept.level.digits,
        "columns": columns,
        "maps": [{"key": key} | SHOWN[key]._asdict() for key in shown],
        "outcomes": [
            {"code": int(o), "short": SHORT[o], "sentence": o.sentence, "advice": o.advice, "colour": OUTCOME_COLOURS[o]}
            for o in Outcome
        ],
        "meaningless": MEANINGLESS,
        "regions": found["regions"].names if found["regions"] else [],
        "images": None if images is None or "images" not in kept.arrays else {"numbers": images.numbers.tolist(), "shell": images.shell.tolist()},
        "spectra": {fit.name: [(1e3 * grid).tolist() for grid in fit.store.dictionary[:2]] for fit in sources.fits if fit.name in spectra},
        "arrays": {name: packed.about | {"id": identifiers[name]} for name, packed in kept.arrays.items()},
        "luts": {name: _lut(name) for name in LUTS},
    }  # fmt: skip


def _start(sources: Sources) -> NDArray[np.int32]:
    """The place that is shown first: a converged voxel in the middle of the slice with the most voxels."""
    outcome, z = sources.fits[0].fields["outcome"], sources.index[:, 2]
    counted = usable("f", outcome)
    in_slice = z == np.bincount(z[counted] if counted.any() else z).argmax()
    some = (in_slice & (outcome == Outcome.CONVERGED), in_slice & counted)
    good = next((voxels for voxels in some if voxels.any()), in_slice)
    here = sources.index[good]
    return here[np.argmin(((here[:, :2] - here[:, :2].mean(0)) ** 2).sum(1))]


def _focus(sources: Sources, low: NDArray) -> list[list[int]]:
    """The first and the last place along x and y, in the box, of the voxels with any signal: what is shown at first."""
    here = sources.index[sources.signals.any(axis=1), :2]
    here = (here if len(here) else sources.index[:, :2]) - low[:2]
    return [here.min(0).tolist(), here.max(0).tolist()]


def _lut(name: str) -> str:
    """256 colours, red, green and blue."""
    colours = matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3]
    return base64.b64encode(np.rint(255 * colours).astype(np.uint8).tobytes()).decode("ascii")
