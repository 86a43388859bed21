"""The pictures of a comparison: one fit against the truth or another fit, and the maps of all fits.

Values are read block by block: columns may be arrays or fields of stores that are larger than memory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from ivimsc.compare.columns import blocks, values_at
from ivimsc.compare.moments import Pair
from ivimsc.figures import Slice, new_figure, range_of, save, show_difference, show_map, show_outcome
from ivimsc.files import written_whole
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import MORE_PARAMETERS, PARAMETERS, Parameter

__all__ = ["draw", "draw_maps"]

BINS = 90
ROW, REST = 3.75, 0.25  # inches: height of the row of one parameter, and of the title
SAMPLE = 2**20  # voxels that tell the range of an axis
Range = tuple[float, float]


def draw(found: Mapping[str, Any], other: Mapping[str, Any], names: tuple[str, str], place: Slice, path: Path,
         force: bool = False) -> Path:  # fmt: skip
    """Scatter, Bland-Altman plot and map of the differences of f, D and D*, a row for each that both have.

    Parameters
    ----------
    found, other : key -> column (voxel,) in API units
    names : of `other`, which is the truth or the reference, and of `found`
    place : the slice that is mapped
    path, force : PNG file to write, as for `ivimsc.files.written_whole`

    Returns
    -------
    `path`
    """
    shown = [p for p in (*PARAMETERS[1:], *MORE_PARAMETERS) if p.key in found and p.key in other]
    figure, grid = new_figure(len(shown), 3, (12.5, REST + ROW * len(shown)), squeeze=False)
    missing, n = 0, 0
    for p, axes in zip(shown, grid, strict=True):
        a, b = other[p.key], found[p.key]
        limits = _limits(p, a, b)
        sums = _densities(axes, p, (a, b), limits, names)
        missing, n = max(missing, sums.missing), sums.voxels
        top = 0.4 * (limits[1] - limits[0])
        difference = (values_at(b, place.rows).astype(np.float64) - values_at(a, place.rows)) * p.display_scale
        drawn = show_difference(axes[2], place, difference, top)
        axes[2].set_title(f"difference of {p.symbol}, {place.label}", fontsize=10)
        figure.colorbar(drawn, ax=axes[2], shrink=0.85, extend="both", label=p.display_unit)
    note = f"; up to {missing:,} voxels without a number are left out" if missing else ""
    figure.suptitle(f"{names[1]} against {names[0]}: {n:,} voxels{note}", fontsize=13)
    with written_whole(path, force) as part:
        save(figure, part)
    return path


def _limits(p: Parameter, a: Any, b: Any) -> Range:
    """Axis range: the bulk of the reference `a`, with room for errors."""
    step = max(1, len(a) // SAMPLE)
    parts = [(a[block][::step], b[block][::step]) for block in blocks(len(a))]
    known = [first[np.isfinite(first) & np.isfinite(second)] for first, second in parts]
    values = np.concatenate(known or [np.zeros(0)]).astype(np.float64) * p.display_scale
    if not len(values):
        return p.display_range or (0.0, 1.0)
    low, high = np.percentile(values, [0.5, 99.5])
    room = 0.25 * max(high - low, 0.05 * p.display_range[1])
    return max(0.0, low - room), high + room


def _densities(axes: NDArray, p: Parameter, both: tuple[Any, Any], limits: Range, names: tuple[str, str]) -> Pair:
    """The scatter and the Bland-Altman plot, in one pass; and the sums over all voxels."""
    half = 0.5 * (limits[1] - limits[0])
    sums, scatter, apart = Pair(), np.zeros((BINS, BINS)), np.zeros((BINS, BINS))
    for block in blocks(len(both[0])):
        a, b = (np.asarray(column[block]) for column in both)
        sums.add(a, b, p.display_scale)
        there = np.isfinite(a) & np.isfinite(b)
        a, b = (values[there].astype(np.float64) * p.display_scale for values in (a, b))
        scatter += _count(a, b, limits, limits)
        apart += _count((a + b) / 2, b - a, limits, (-half, half))
    _show_density(axes[0], scatter, limits, limits)
    axes[0].plot(limits, limits, color="#d1495b", lw=1)
    axes[0].set(xlabel=f"{p.symbol}, {names[0]} [{p.display_unit}]", ylabel=f"{p.symbol}, {names[1]} [{p.display_unit}]", aspect="equal")  # fmt: skip
    _show_density(axes[1], apart, limits, (-half, half))
    axes[1].set(xlabel=f"mean of both [{p.display_unit}]", ylabel=f"{names[1]} - {names[0]} [{p.display_unit}]")
    if sums.difference.n > 1:
        bias, sd = sums.difference.mean, sums.difference.variance() ** 0.5
        rms = sums.difference.mean_square**0.5
        axes[0].set_title(f"RMS difference {rms:.3g} {p.display_unit} (n = {sums.difference.n:,})", fontsize=10)
        for level, style in ((bias, "-"), (bias - 1.96 * sd, "--"), (bias + 1.96 * sd, "--")):
            axes[1].axhline(level, color="#d1495b", ls=style, lw=1)
        axes[1].set_title(f"bias {bias:.3g}, 95 % limits {bias - 1.96 * sd:.3g} to {bias + 1.96 * sd:.3g}", fontsize=10)
    return sums


def _count(x: NDArray, y: NDArray, xs: Range, ys: Range) -> NDArray:
    """Voxels per cell; what lies outside is kept at the edge, so that outliers are seen."""
    return np.histogram2d(np.clip(x, *xs), np.clip(y, *ys), bins=BINS, range=(xs, ys))[0]


def _show_density(axes: Axes, counts: NDArray, xs: Range, ys: Range) -> None:
    edges = [np.linspace(*ends, BINS + 1) for ends in (xs, ys)]
    if counts.any():
        shown = np.ma.masked_equal(counts.T, 0)
        axes.pcolormesh(*edges, shown, norm=LogNorm(1, max(counts.max(), 2)), cmap="viridis", rasterized=True)
    axes.set(xlim=xs, ylim=ys, facecolor="#f4f4f4")


def draw_maps(columns: Mapping[str, Mapping[str, Any]], counts: Mapping[str, NDArray], place: Slice, path: Path,
              force: bool = False) -> Path:  # fmt: skip
    """S0, f, D, D* and the outcome of every fit in one slice, a row for each.

    Parameters
    ----------
    columns : name -> key -> column (voxel,) in API units; the truth has no outcome
    counts : name -> voxels per outcome, of the whole fit
    place : the slice
    path, force : PNG file to write, as for `ivimsc.files.written_whole`

    Returns
    -------
    `path`
    """
    figure, grid = new_figure(len(columns), 5, (18, REST + 3.1 * len(columns)), squeeze=False)
    for column, p in enumerate(PARAMETERS):
        limits = None
        for axes, (name, one) in zip(grid[:, column], columns.items(), strict=True):
            if p.key not in one:
                axes.set_axis_off()
                continue
            values = values_at(one[p.key], place.rows)
            limits = limits or range_of(p, values * p.display_scale)
            unsure = None
            if p.key == "dstar" and name in counts:
                unsure = values_at(one["outcome"], place.rows) == Outcome.DSTAR_UNIDENTIFIABLE
            drawn = show_map(axes, place, values, p, limits, unsure)
        if limits is not None:
            grid[0, column].set_title(f"{p.symbol}: {p.name}", fontsize=11)
            bar = figure.colorbar(drawn, ax=grid[:, column], location="bottom", shrink=0.85, aspect=28, pad=0.01)
            bar.set_label(f"{p.symbol} [{p.display_unit}]")
    for row, (name, one) in zip(grid, columns.items(), strict=True):
        row[0].set_ylabel(name, fontsize=13, fontweight="bold")
        if name in counts:
            show_outcome(row[4], place, values_at(one["outcome"], place.rows), dict(enumerate(counts[name])))
            row[4].set_title(f"outcome of {name}", fontsize=11)
        else:
            row[4].set_axis_off()
    figure.suptitle(
        f"{place.label}; black: outside the mask, magenta: not fitted, slate: D* not identifiable", fontsize=11
    )
    with written_whole(path, force) as part:
        save(figure, part)
    return path
