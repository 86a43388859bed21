"""Bland-Altman pictures: the difference of a later repeat from the first against their mean; a ratio where scales are logarithmic."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ivimsc.figures import CURVES, bare, new_figure, save
from ivimsc.physics.parameters import BY_KEY, Parameter
from ivimsc.regions import ALL
from ivimsc.repeat.statistics import Agreement, agreement

__all__ = ["draw_regions", "draw_voxels"]

BINS, MOST = 80, 4  # of a density, along an axis; later repeats that are drawn
RED = "#d1495b"


def draw_voxels(rows: Sequence, path: Path) -> None:
    """The voxels of all subjects as densities: a row for each map, a column for each later repeat.

    Parameters
    ----------
    rows : of voxels, with values (target, repeat), from `run_repeat`; the region of all voxels is drawn
    path : PNG file to write
    """
    rows = [row for row in rows if row.region == ALL and row.key != "s0" and row.found.targets]
    figure, grid = _page(rows)
    for row, line in zip(rows, grid, strict=True):
        for axes, (first, second, told) in zip(line, row.pairs, strict=False):
            mean, apart = _both(row.values[:, first], row.values[:, second], BY_KEY[row.key], told.log)
            _density(axes, mean, apart)
            _lines(axes, BY_KEY[row.key], told, (first, second))
    n = max((row.voxels for row in rows), default=0)
    figure.suptitle(
        f"{n:,} voxels in all repeats; those that count in every one are drawn, lighter where there are more",
        fontsize=11,
    )
    save(figure, path)


def draw_regions(rows: Sequence, path: Path) -> None:
    """The medians of regions, a point for each subject and region, in the colour of the region; as `draw_voxels`."""
    rows = [row for row in rows if row.key != "s0" and row.found.targets]
    keys, regions = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("key", "region"))
    if len(regions) > 1:
        regions = [region for region in regions if region != ALL]  # it is of no tissue
    merged = [next(row for row in rows if row.key == key) for key in keys]
    figure, grid = _page(merged)
    for key, line in zip(keys, grid, strict=True):
        members = [row for row in rows if row.key == key and row.region in regions]
        p = BY_KEY[key]
        for axes, (first, second, told) in zip(line, members[0].pairs if members else (), strict=False):
            for row in members:
                colour = CURVES[regions.index(row.region) % len(CURVES)]
                marker = "osD^vP"[regions.index(row.region) // len(CURVES) % 6]
                mean, apart = _both(row.values[:, first], row.values[:, second], p, told.log)
                axes.plot(mean, apart, marker, ms=5, color=colour, label=row.region, mew=0, alpha=0.85)
            pooled = np.concatenate([row.values[:, [first, second]] for row in members])
            if told.log:
                axes.set_yscale("log")
            _lines(axes, p, agreement(pooled[:, 0], pooled[:, 1], told.log), (first, second))
    grid[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    n = len({subject for row in rows for subject in row.subjects})
    figure.suptitle(f"medians of regions, {n} subject{'s' * (n != 1)}", fontsize=11)
    save(figure, path)


def _page(rows: Sequence) -> tuple:
    """A figure with a row of axes for each map, and a column for each later repeat."""
    columns = min(MOST, max((row.found.repeats - 1 for row in rows), default=1))
    return new_figure(max(len(rows), 1), columns, (5.6 * columns + 1.4, 3.5 * max(len(rows), 1)), squeeze=False)


def _both(first: NDArray, second: NDArray, p: Parameter, log: bool) -> tuple[NDArray, NDArray]:
    """Mean and difference in display units; geometric mean and ratio where `log`."""
    if log:
        return p.display_scale * np.sqrt(first * second), second / first
    return p.display_scale * (first + second) / 2, p.display_scale * (second - first)


def _density(axes: Axes, mean: NDArray, apart: NDArray) -> None:
    """How many voxels lie where; what is beyond the bulk is kept at the edge."""
    log = (apart > 0).all()
    x, y = mean, np.log10(apart) if log else apart
    low, high = np.percentile(x, (0.5, 99.5))
    half = max(float(np.percentile(np.abs(y), 99.5)), 1e-12)
    xs, ys = (min(0.0, low), high if high > low else low + 1), (-half, half)
    counts, across, up = np.histogram2d(np.clip(x, *xs), np.clip(y, *ys), bins=BINS, range=(xs, ys))
    shown = np.ma.masked_equal(counts.T, 0)
    axes.pcolormesh(across, 10**up if log else up, shown, norm=LogNorm(1, max(counts.max(), 2)), cmap="viridis", rasterized=True)  # fmt: skip
    axes.set_facecolor("#f4f4f4")
    if log:
        axes.set_yscale("log")


def _lines(axes: Axes, p: Parameter, told: Agreement, pair: tuple[int, int]) -> None:
    """Bias and limits of agreement, and what the axes are."""
    scale = 1.0 if told.log else p.display_scale
    for level, style in ((told.bias, "-"), (told.low, "--"), (told.high, "--")):
        if np.isfinite(level):
            axes.axhline(scale * level, color=RED, ls=style, lw=1.2)
    bias, low, high = (f"{scale * level:.3g}" for level in (told.bias, told.low, told.high))
    what = "ratio" if told.log else "bias"
    axes.set_title(f"{p.symbol}: {what} {bias}, 95 % limits {low} to {high} (n = {told.n:,})", fontsize=9)
    axes.set_xlabel(f"{'geometric mean' if told.log else 'mean'} of {p.symbol} [{p.display_unit}]")
    unit = "" if told.log else f" [{p.display_unit}]"
    sign = "/" if told.log else "−"
    axes.set_ylabel(f"repeat {pair[1] + 1} {sign} repeat {pair[0] + 1}{unit}")
    if told.log:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.2)
    bare(axes)
