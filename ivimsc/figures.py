"""Pictures: new figures and their files, and maps as the demo, the comparison and the report show them.

Figures are made without pyplot: pyplot keeps every figure and one backend for the whole process, which belong to the
program that imports this package. `new_figure` and `save` are the two ends of every picture.

Conventions: S0 in grey; f, D, D* in perceptually uniform colours with fixed ranges (`physics.parameters`), so that two
pictures can be compared; outside the mask black; not fitted magenta; D* slate where it is not identifiable; every colour
bar with symbol and unit; outcomes in one set of colours everywhere.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ivimsc.estimates import Estimates
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import PARAMETERS, Parameter

__all__ = [
    "OUTCOME_COLOURS",
    "bare",
    "into_slice",
    "new_figure",
    "range_of",
    "save",
    "sheet",
    "show_map",
    "show_outcome",
]

MEANINGLESS = "#3d4450"  # D* where it is not identifiable: its value is noise, and would be taken for perfusion
COLOURS = {"s0": "gray", "f": "inferno", "d": "viridis", "dstar": "magma"}
OUTCOME_COLOURS = {
    Outcome.OUTSIDE: "#000000",
    Outcome.CONVERGED: "#4c9f70",
    Outcome.AT_BOUND: "#e0a030",
    Outcome.ITERATION_LIMIT: "#7b5ea7",
    Outcome.DSTAR_UNIDENTIFIABLE: "#5b8fc9",
    Outcome.BAD_SIGNAL: "#ff00ff",
    Outcome.GAP: "#c0504d",
    Outcome.OUTSIDE_TRAINING: "#b8b04a",
    Outcome.MISFIT: "#8c564b",
}
PERFUSED = 0.05  # histograms show voxels with more perfusion than this: elsewhere D* means nothing
SHORT = {
    Outcome.OUTSIDE: "outside the mask",
    Outcome.CONVERGED: "converged",
    Outcome.AT_BOUND: "at a bound",
    Outcome.ITERATION_LIMIT: "iteration limit",
    Outcome.DSTAR_UNIDENTIFIABLE: "D* not identifiable",
    Outcome.BAD_SIGNAL: "bad signal",
    Outcome.GAP: "gap above tolerance",
    Outcome.OUTSIDE_TRAINING: "outside the training",
    Outcome.MISFIT: "misfit",
}


def new_figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, Any]:
    """A figure with a grid of axes, unknown to pyplot.

    Parameters
    ----------
    rows, columns : of the grid
    size : width and height [inches]
    options : of `matplotlib.figure.Figure.subplots` (sharex, sharey, squeeze, width_ratios)

    Returns
    -------
    the figure, and its axes as `subplots` gives them: an array (row, column), or without `squeeze=False` less of it
    """
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file.

    Parameters
    ----------
    figure : from `new_figure`
    path : file to write, whatever its name ends in
    """
    figure.savefig(path, dpi=110, format="png")


def bare(axes: Axes) -> None:
    """Take the upper and the right line of a diagram away."""
    axes.spines[["top", "right"]].set_visible(False)


def into_slice(values: NDArray, index: NDArray, shape: tuple[int, int, int], z: int, outside: float) -> NDArray:
    """One slice of a map as an image.

    Parameters
    ----------
    values : (voxel,)
    index : (voxel, 3), places of the voxels in the volume
    shape : (x, y, z) of the volume
    z : slice
    outside : value of the pixels without a voxel

    Returns
    -------
    (x, y)
    """
    image = np.full(shape[:2], outside, dtype=np.float64)
    here = index[:, 2] == z
    image[index[here, 0], index[here, 1]] = values[here]
    return image


def range_of(parameter: Parameter, values: NDArray) -> tuple[float, float]:
    """The range that a parameter is shown in: its own, or 0 to the 99th percentile of the data.

    Parameters
    ----------
    parameter : what is shown
    values : (voxel,) in its display unit, NaN where unknown

    Returns
    -------
    low, high in the display unit
    """
    if parameter.display_range is not None:
        return parameter.display_range
    known = values[np.isfinite(values)]
    return 0.0, float(np.percentile(known, 99)) if known.size else 1.0


def show_map(axes: Axes, image: NDArray, inside: NDArray, parameter: Parameter, limits: tuple[float, float], aspect: float) -> Any:  # fmt: skip
    """Draw a map: black outside the mask, magenta where it is NaN.

    Parameters
    ----------
    axes : to draw in
    image : (x, y), in the unit of the API
    inside : (x, y) bool, the mask
    parameter : what the map shows; gives colours and display unit
    limits : range of the colours, in the display unit
    aspect : height of a pixel over its width

    Returns
    -------
    the drawn image, for a colour bar
    """
    colours = matplotlib.colormaps[COLOURS[parameter.key]].with_extremes(bad="magenta", under="black")
    below = limits[0] - 1.0
    shown = np.where(inside, np.maximum(image * parameter.display_scale, limits[0]), below)  # maximum keeps NaN
    drawn = axes.imshow(shown.T, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1], aspect=aspect, interpolation="nearest")  # fmt: skip
    _plain(axes)
    return drawn


def show_outcome(axes: Axes, image: NDArray, aspect: float) -> None:
    """Draw a map of outcomes, with a legend of those that occur.

    Parameters
    ----------
    axes : to draw in
    image : (x, y), `Outcome` codes
    aspect : height of a pixel over its width
    """
    palette = ListedColormap([OUTCOME_COLOURS[outcome] for outcome in Outcome])
    axes.imshow(image.T, origin="lower", cmap=palette, vmin=-0.5, vmax=len(Outcome) - 0.5, aspect=aspect, interpolation="nearest")  # fmt: skip
    present = [outcome for outcome in Outcome if outcome and np.any(image == outcome)]
    share = [np.mean(image[image > 0] == outcome) for outcome in present]
    handles = [Patch(color=OUTCOME_COLOURS[o], label=f"{SHORT[o]} ({100 * s:.1f} %)") for o, s in zip(present, share, strict=True)]  # fmt: skip
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, frameon=False, fontsize=8)
    _plain(axes)


def _cover(axes: Axes, where: NDArray, aspect: float) -> None:
    """Cover the pixels `where` (x, y), in which a value means nothing."""
    cover = np.ma.masked_where(~where, where)
    axes.imshow(cover.T, origin="lower", cmap=ListedColormap([MEANINGLESS]), aspect=aspect, interpolation="nearest")
    if where.any():
        axes.set_xlabel("slate: D* not identifiable", fontsize=8, color=MEANINGLESS)


def _plain(axes: Axes) -> None:
    """No ticks and no frame: an image."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def sheet(voxels: Any, fits: dict[str, Estimates], path: Path, title: str, z: int | None = None) -> None:
    """One page: S0, f, D, D* of the truth and of every fit in a slice, histograms, and the outcome of the last fit.

    Parameters
    ----------
    voxels : voxel store with truth
    fits : method name -> estimates (voxel,); the panel of a parameter that a method does not have stays empty
    path : PNG file to write
    title : above the page
    z : slice; default: the one with the most voxels
    """
    index, shape = np.asarray(voxels.index[:]), voxels.geometry.shape
    z = int(np.bincount(index[:, 2]).argmax()) if z is None else z
    zooms = voxels.geometry.zooms
    aspect = zooms[1] / zooms[0]
    inside = into_slice(np.ones(len(index)), index, shape, z, 0) > 0
    rows = [("truth", {p.key: voxels.truth[p.key] for p in PARAMETERS})]
    rows += [(name, dict(e.items())) for name, e in fits.items()]
    figure, axes = new_figure(len(rows) + 1, 4, (13, 3.35 * (len(rows) + 1)))
    for column, parameter in enumerate(PARAMETERS):
        limits = range_of(parameter, rows[0][1][parameter.key] * parameter.display_scale)
        for row, (name, values) in enumerate(rows):
            if parameter.key not in values:
                axes[row, column].set_axis_off()
                continue
            image = into_slice(values[parameter.key], index, shape, z, 0)
            drawn = show_map(axes[row, column], image, inside, parameter, limits, aspect)
            if parameter.key == "dstar" and name in fits:
                outcome = into_slice(fits[name].outcome, index, shape, z, Outcome.OUTSIDE)
                _cover(axes[row, column], outcome == Outcome.DSTAR_UNIDENTIFIABLE, aspect)
            if column == 0:
                axes[row, 0].set_ylabel(name, fontsize=13, fontweight="bold")
        axes[0, column].set_title(f"{parameter.symbol}: {parameter.name}", fontsize=11)
        bar = figure.colorbar(drawn, ax=axes[: len(rows), column], location="bottom", shrink=0.85, aspect=28, pad=0.01)
        bar.set_label(f"{parameter.symbol} [{parameter.display_unit}]")
        if column:
            _histograms(axes[-1, column], parameter, rows, limits, voxels.truth["f"] > PERFUSED)
    last = list(fits)[-1]
    show_outcome(axes[-1, 0], into_slice(fits[last].outcome, index, shape, z, 0), aspect)
    axes[-1, 0].set_title(f"outcome of {last}", fontsize=11)
    axes[0, 0].text(0.02, 0.97, f"slice {z + 1} of {shape[2]}", color="white", transform=axes[0, 0].transAxes, va="top", fontsize=9)  # fmt: skip
    figure.suptitle(title, fontsize=14)
    save(figure, path)


def _histograms(axes: Axes, parameter: Parameter, rows: list, limits: tuple[float, float], perfused: NDArray) -> None:
    """Histograms over the perfused voxels, in the display range, the truth filled; what lies outside is told."""
    bins = np.linspace(*limits, 80)
    for name, values in (row for row in rows if parameter.key in row[1]):
        known = values[parameter.key][perfused] * parameter.display_scale
        beyond = np.mean(known > limits[1])
        label = name + (f" ({100 * beyond:.0f} % beyond)" if beyond >= 0.005 else "")
        style = (
            {"histtype": "stepfilled", "color": "0.8"} if name == "truth" else {"histtype": "step", "linewidth": 1.4}
        )
        heights, *_ = axes.hist(known, bins=bins, label=label, weights=np.full(len(known), 100 / len(known)), **style)
        if name == "truth":
            axes.set_ylim(0, 1.25 * heights.max())
    axes.set_xlabel(f"{parameter.symbol} [{parameter.display_unit}], voxels with true f > {100 * PERFUSED:g} %")
    axes.set_ylabel("% of voxels per bin")
    bare(axes)
    axes.legend(frameon=False, fontsize=9)
