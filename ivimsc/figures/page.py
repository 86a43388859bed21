"""One page of maps: the truth and every fit side by side, their outcomes, and histograms."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ivimsc.estimates import Estimates
from ivimsc.figures.canvas import CURVES, bare, new_figure, save
from ivimsc.figures.slices import Slice, range_of, show_map, show_outcome
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import PARAMETERS, Parameter

__all__ = ["sheet"]

PERFUSED = 0.05  # histograms of f, D and D* show voxels with more perfusion than this: elsewhere D* means nothing
STEEP = 2.5  # times the highest bin of the truth: above it the axis is that of square roots, so that all peaks are seen


def sheet(voxels: Any, fits: dict[str, Estimates], path: Path, title: str, z: int | None = None) -> None:
    """One page: S0, f, D, D* of the truth and of every fit in a slice, the outcomes of every fit, and histograms.

    Parameters
    ----------
    voxels : voxel store with truth
    fits : method name -> estimates (voxel,); the panel of a parameter that a method does not have stays empty
    path : PNG file to write
    title : above the page
    z : slice; default: the one with the most voxels
    """
    place = Slice(voxels.index, voxels.geometry, z)
    rows = [("truth", {p.key: voxels.truth[p.key] for p in PARAMETERS})]
    rows += [(name, dict(e.items())) for name, e in fits.items()]
    figure, axes = new_figure(len(rows) + 1, 5, (18, 2.9 * (len(rows) + 1)))
    perfused = voxels.truth["f"] > PERFUSED
    for column, parameter in enumerate(PARAMETERS):
        limits = range_of(parameter, rows[0][1][parameter.key] * parameter.display_scale)
        for row, (name, values) in enumerate(rows):
            if parameter.key not in values:
                axes[row, column].set_axis_off()
                continue
            unsure = None
            if parameter.key == "dstar" and name in fits:
                unsure = values["outcome"][place.rows] == Outcome.DSTAR_UNIDENTIFIABLE
            shown = values[parameter.key][place.rows]
            drawn = show_map(axes[row, column], place, shown, parameter, limits, unsure)
        axes[0, column].set_title(f"{parameter.symbol}: {parameter.name}", fontsize=11)
        bar = figure.colorbar(drawn, ax=axes[: len(rows), column], location="bottom", shrink=0.85, aspect=28, pad=0.01)
        bar.set_label(f"{parameter.symbol} [{parameter.display_unit}]")
        counted = np.ones(len(perfused), bool) if parameter.key == "s0" else perfused
        _histograms(axes[-1, column], parameter, rows, limits, counted)
    for row, (name, values) in enumerate(rows):
        axes[row, 0].set_ylabel(name, fontsize=13, fontweight="bold")
        if name in fits:
            counts = np.bincount(values["outcome"], minlength=len(Outcome))
            show_outcome(axes[row, 4], place, values["outcome"][place.rows], dict(enumerate(counts)))
            axes[row, 4].set_title(f"outcome of {name}", fontsize=11)
    _key(axes[0, 4], place, len(perfused))
    spare = figure.colorbar(drawn, ax=axes[: len(rows), 4], location="bottom", shrink=0.85, aspect=28, pad=0.01)
    spare.ax.set_visible(False)  # keeps the outcomes at the height of the maps
    axes[-1, 4].set_axis_off()
    figure.suptitle(title, fontsize=14)
    save(figure, path)


def _key(axes: Axes, place: Slice, n: int) -> None:
    """What the colours without a bar mean, in words."""
    words = [place.label, f"{n:,} voxels in all", "cropped to the mask", "",
             "black: outside the mask", "magenta: not fitted", "slate: D* not identifiable"]  # fmt: skip
    words += (
        [f"seen as {place.view.plane}, radiological", "(the patient's right is on the left)"]
        if place.view.left == "R"
        else []
    )
    axes.text(0.02, 0.95, "\n".join(words), transform=axes.transAxes, va="top", fontsize=9, linespacing=1.5)
    axes.set_axis_off()


def _histograms(axes: Axes, parameter: Parameter, rows: list, limits: tuple[float, float], counted: NDArray) -> None:
    """Histograms over the `counted` voxels, in the display range, the truth filled; what lies outside is told."""
    bins, colours = np.linspace(*limits, 80), iter(CURVES * 9)
    tops = []
    for name, values in (row for row in rows if parameter.key in row[1]):
        known = values[parameter.key][counted] * parameter.display_scale
        known = known[np.isfinite(known)]
        beyond = np.mean(known > limits[1]) if len(known) else 0
        label = name + (f" ({100 * beyond:.0f} % beyond)" if beyond >= 0.005 else "")
        filled = {"histtype": "stepfilled", "color": "0.8"}
        style = filled if name == "truth" else {"histtype": "step", "linewidth": 1.4, "color": next(colours)}
        heights, *_ = axes.hist(
            known, bins=bins, label=label, weights=np.full(len(known), 100 / max(len(known), 1)), **style
        )
        tops.append(heights.max(initial=0))
    if max(tops) > STEEP * tops[0] > 0:
        axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set_ylim(0, 1.08 * max(*tops, 1e-3))
    which = "" if counted.all() else f", voxels with true f > {100 * PERFUSED:g} %"
    axes.set_xlabel(f"{parameter.symbol} [{parameter.display_unit}]{which} (n = {counted.sum():,})", fontsize=8)
    axes.set_ylabel("% of voxels per bin" + (", root scale" if axes.get_yscale() == "function" else ""), fontsize=8)
    bare(axes)
    axes.legend(frameon=False, fontsize=8)
