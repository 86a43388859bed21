"""The diagrams of a report, drawn by Bokeh, which brings its own JavaScript: curves, residuals, histograms, boxes, volumes.

The diagrams of the voxel inspector are made here without data; static/inspector.js fills their sources, by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTickFormatter,
    BoxAnnotation,
    ColumnDataSource,
    FactorRange,
    HoverTool,
    Range1d,
)
from bokeh.plotting import figure

from ivimsc.report.regions import RegionRow
from ivimsc.report.sources import Sources
from ivimsc.report.summary import Curve, Histogram
from ivimsc.report.volumes import VolumeResiduals

__all__ = ["COLOURS", "box_figures", "histogram_figures", "inspector_figures", "mean_figures", "volume_figure"]

# Told apart by people who see colours differently, and readable on white and on black.
COLOURS = ("#2f7fc1", "#d9662b", "#1f9e83", "#b868ad", "#b98a1b", "#7a6fd0", "#6b8e23", "#c24b5e", "#4aa3c7", "#8c6d5a", "#5d7f8f", "#9a9a3c")  # fmt: skip
DASHES = ("solid", "dashed", "dotdash", "dotted", "dashdot", "solid")
MARKS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star", "hex", "plus", "cross", "x", "asterisk", "dash")  # fmt: skip
GREY = "#808080"
BAND = 1.96  # noise SD: 95 % of the residuals of noise alone


def _plot(title: str, x: str, y: str, height: int = 260, **more: Any) -> figure:
    made = figure(
        title=title, x_axis_label=x, y_axis_label=y, height=height, sizing_mode="stretch_width", toolbar_location=None,
        tools="", min_border=4, background_fill_color=None, border_fill_color=None, outline_line_color=None, **more,
    )  # fmt: skip
    made.grid.grid_line_alpha = 0.25
    made.title.text_font_size = "13px"
    made.axis.axis_label_text_font_style = "normal"
    for axis in (*made.xaxis, *made.yaxis):
        if isinstance(axis.formatter, BasicTickFormatter):
            axis.formatter.power_limit_high = 7  # signals of some thousands are written out
    return made


def _legend(plot: figure, where: str = "top_right") -> None:
    for legend in plot.legend:
        legend.background_fill_alpha = 0
        legend.border_line_alpha = 0
        legend.click_policy = "hide"
        legend.location = where
        legend.label_text_font_size = "12px"
        legend.spacing, legend.padding, legend.glyph_height = 0, 2, 14


def inspector_figures(sources: Sources, sigma: float, spectra: Sequence[str]) -> dict[str, figure]:
    """The empty diagrams of one voxel: curve, the same with a logarithmic axis, residuals, and spectrum where there is one.

    Parameters
    ----------
    sources : gives the names of the fits
    sigma : noise SD; 0 where it is not known: residuals are then in the unit of the signal
    spectra : names of the fits that have a spectrum
    """
    figures = {f"curve-{kind}": _curves(kind, sources, sigma) for kind in ("linear", "log")}
    figures["residual"] = _residuals(sources, sigma)
    if spectra:
        figures["spectrum"] = _spectrum(sources, spectra)
    return figures


def _empty(name: str, *columns: str) -> ColumnDataSource:
    """A source that the page fills; each diagram has its own, for diagrams are put into the page one by one."""
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _b_range(sources: Sources) -> Range1d:
    high = float(sources.bvalues[-1]) or 1.0
    return Range1d(-0.03 * high, 1.04 * high)


def _curves(kind: str, sources: Sources, sigma: float) -> figure:
    label = "signal" + (" (logarithmic)" if kind == "log" else "")
    plot = _plot("", "b [s/mm²]", label, 330, y_axis_type=kind, x_range=_b_range(sources))
    if sources.images:
        dots = plot.scatter("b", "s", source=_empty("images", "b", "s", "n"), size=3, color=GREY, alpha=0.5, legend_label="single images")  # fmt: skip
        plot.add_tools(HoverTool(renderers=[dots], tooltips="image @n, b = @b: @s{0.000a}"))
    names = [*(["truth"] if sources.truth else []), *(fit.name for fit in sources.fits)]
    for k, name in enumerate(names, start=-1 if sources.truth else 0):
        _line(plot, _empty(f"curve {name}", "b", "s"), name, k)
    points = _empty("measured", "b", "s", "low", "high")
    if sigma:  # drawn as glyphs, which the range of the axis knows of
        plot.segment("b", "low", "b", "high", source=points, color=GREY)
        for end in ("low", "high"):
            plot.scatter("b", end, source=points, marker="dash", size=8, color=GREY)
    dots = plot.scatter("b", "s", source=points, size=8, color=GREY, legend_label="measured", line_color=None)
    plot.add_tools(HoverTool(renderers=[dots], tooltips="b = @b: @s{0.000a}"))
    _legend(plot)
    return plot


def _residuals(sources: Sources, sigma: float) -> figure:
    unit = "noise SD" if sigma else "unit of the signal"
    plot = _plot("", "b [s/mm²]", f"residual [{unit}]", 190, x_range=_b_range(sources))
    if sigma:
        plot.add_layout(BoxAnnotation(bottom=-BAND, top=BAND, fill_color=GREY, fill_alpha=0.15, line_color=None))
    for k, fit in enumerate(sources.fits):
        source = _empty(f"residual {fit.name}", "b", "r")
        plot.scatter("b", "r", source=source, size=7, marker=MARKS[k], color=COLOURS[k], fill_alpha=0.6)
    return plot


def _spectrum(sources: Sources, spectra: Sequence[str]) -> figure:
    plot = _plot("", "D, D* [µm²/ms]", "% of the signal", 190, x_axis_type="log", x_range=(0.01, 250))
    for k, fit in enumerate(sources.fits):
        if fit.name in spectra:
            source = _empty(f"spectrum {fit.name}", "x", "y", "zero")
            plot.segment("x", "zero", "x", "y", source=source, color=COLOURS[k], line_width=2)
            plot.scatter("x", "y", source=source, color=COLOURS[k], marker=MARKS[k], size=6, legend_label=fit.name)
    _legend(plot)
    return plot


def _line(plot: figure, source: ColumnDataSource, name: str, k: int) -> None:
    """A fitted curve, or the true one (k = -1)."""
    style = {"color": GREY, "line_dash": "dotted"} if k < 0 else {"color": COLOURS[k], "line_dash": DASHES[k % 6]}
    plot.line("b", "s", source=source, line_width=2, legend_label=name, **style)


def histogram_figures(rows: Sequence[Histogram], names: Sequence[str]) -> dict[str, figure]:
    """A histogram for each parameter, the truth filled; the page has the legend."""
    result = {}
    for row in rows:
        p = row.parameter
        plot = _plot(f"{p.symbol}: {p.name}", f"{p.symbol} [{p.display_unit}]", "% of voxels per bin")
        for name, shares in row.shares.items():
            x, y = np.repeat(row.edges, 2), np.concatenate([[0], np.repeat(shares, 2), [0]])
            if name == "truth":
                plot.varea(x, 0, y, fill_color=GREY, fill_alpha=0.35)
            elif name == "truth at the bound":
                plot.line(x, y, color=GREY, line_dash="dotted", line_width=2)
            else:
                k = names.index(name)
                plot.line(x, y, color=COLOURS[k], line_dash=DASHES[k % 6], line_width=1.6)
        plot.y_range = Range1d(0, row.top)
        plot.x_range = Range1d(row.edges[0], row.edges[-1])
        result[f"histogram-{p.key}"] = plot
    return result


def mean_figures(sources: Sources, curves: Mapping[str, Curve], sigma: float) -> dict[str, figure]:
    """The mean curve, and the mean residual with its SD at each b-value."""
    b = sources.bvalues
    mean = _plot("Mean signal of the fitted voxels", "b [s/mm²]", "signal", 280)
    unit = "noise SD" if sigma else "unit of the signal"
    scale = np.sqrt(sources.weights) / sigma if sigma else np.ones(len(b))
    rest = _plot("Residuals by b-value: mean, and SD over the voxels", "b [s/mm²]", f"measured - fitted [{unit}]", 280, x_range=FactorRange(*(f"{x:g}" for x in b)))  # fmt: skip
    shifts = np.linspace(-0.25, 0.25, len(curves)) if len(curves) > 1 else [0.0]
    for k, (name, curve) in enumerate(curves.items()):
        mean.line(b, curve.fitted, color=COLOURS[k], line_dash=DASHES[k % 6], line_width=2, legend_label=name)
        middle, spread = curve.residual * scale, curve.spread * scale
        x = [(f"{value:g}", float(shifts[k])) for value in b]
        source = ColumnDataSource({"x": x, "middle": middle, "low": middle - spread, "high": middle + spread})
        rest.segment("x", "low", "x", "high", source=source, color=COLOURS[k], line_width=1.5)
        rest.scatter("x", "middle", source=source, color=COLOURS[k], marker=MARKS[k], size=7)
    first = next(iter(curves.values()))
    mean.scatter(b, first.measured, color=GREY, size=8, legend_label="measured")
    _legend(mean)
    return {"mean-curve": mean, "mean-residual": rest}


def box_figures(rows: Sequence[RegionRow], names: Sequence[str]) -> dict[str, figure]:
    """Box plots of every parameter by region: box 25 to 75 %, line median, whiskers 5 to 95 %."""
    result = {}
    shifts = np.linspace(-0.3, 0.3, len(names)) if len(names) > 1 else np.zeros(1)
    width = 0.5 / max(len(names), 1)
    for key in dict.fromkeys(row.parameter.key for row in rows):
        mine = [row for row in rows if row.parameter.key == key]
        p, regions = mine[0].parameter, [_plain(name) for name in dict.fromkeys(row.region for row in mine)]
        plot = _plot(f"{p.symbol}: {p.name}", "", f"{p.symbol} [{p.display_unit}]", 300, x_range=FactorRange(*regions))
        for k, name in enumerate(names):
            chosen = [row for row in mine if row.name == name]
            if not chosen:
                continue
            fields = ("n", "low", "lower", "median", "upper", "high")
            data = {field: [getattr(row, field) for row in chosen] for field in fields}
            source = ColumnDataSource(data | {"x": [(_plain(row.region), float(shifts[k])) for row in chosen]})
            plot.segment("x", "low", "x", "high", source=source, color=COLOURS[k])
            boxes = plot.vbar(
                "x",
                width,
                "upper",
                "lower",
                source=source,
                fill_color=COLOURS[k],
                fill_alpha=0.35,
                line_color=COLOURS[k],
            )
            plot.scatter("x", "median", source=source, marker="dash", size=12, color=COLOURS[k], line_width=3)
            plot.add_tools(HoverTool(renderers=[boxes], tooltips=f"{name}: median @median (@lower to @upper), n = @n"))
        plot.xaxis.major_label_orientation = 0.6 if len(regions) > 4 else 0.0
        result[f"box-{key}"] = plot
    return result


def _plain(name: str) -> str:
    """A name from a file without what Bokeh would take for a formula."""
    return name.replace("$", "＄").replace("\\", "＼")


def volume_figure(found: VolumeResiduals) -> figure:
    """The size of the residuals of every image, in the order of the file."""
    plot = _plot(f"Residuals of single images against the curve of {found.fit}", "image, in the order of the file", f"RMS residual [{found.unit}]", 260)  # fmt: skip
    data = {"n": found.numbers, "b": found.bvalues, "size": found.size, "usual": found.usual}
    source = ColumnDataSource(data)
    plot.line("n", "usual", source=source, color=GREY, line_dash="dotted", legend_label="usual for its b-value")
    dots = plot.scatter("n", "size", source=source, color=COLOURS[0], size=6, legend_label="image")
    odd = ColumnDataSource({name: values[found.odd] for name, values in data.items()})
    plot.scatter("n", "size", source=odd, color=COLOURS[1], marker="square", size=9, legend_label="far from the others")
    plot.add_tools(HoverTool(renderers=[dots], tooltips="image @n, b = @b: @size"))
    plot.y_range.start = 0
    _legend(plot)
    return plot
