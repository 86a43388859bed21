"""The picture of a group: medians of every scan by region, and how the voxels of every scan ended; panel by panel for each method."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ivimsc.bids.group import Group, GroupRow
from ivimsc.figures import CURVES, OUTCOME_COLOURS, SHORT, bare, new_figure, save
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import BY_KEY, Parameter

__all__ = ["draw_group"]

MOST, NAMED, WIDE = 12, 6, 11.0  # regions of a panel; outliers of a region that are named; inches
SPREAD = 0.3  # of a region's width that its points take
OUT = "#c0504d"


def draw_group(group: Group, path: Path) -> None:
    """Draw the group.

    Parameters
    ----------
    group : from `ivimsc.bids.group.gather`
    path : PNG file to write
    """
    methods = list(dict.fromkeys(scan.method for scan in group.scans))
    regions = list(dict.fromkeys(row.row.region for row in group.rows))
    known = {(row.scan.method, row.row.key) for row in group.rows}
    keys = [key for key in (*BY_KEY, None) if key != "s0"]  # None: the outcomes
    panels = [(method, key) for method in methods for key in keys if key is None or (method, key) in known]
    figure, grid = new_figure(len(panels), 1, (WIDE, 2.5 * len(panels) + 0.4), squeeze=False)
    for axes, (method, key) in zip(grid[:, 0], panels, strict=True):
        if key is None:
            _outcomes(axes, [scan for scan in group.scans if scan.method == method])
            axes.set_title(f"{method}: how the voxels of each scan ended", loc="left", fontsize=10)
        else:
            members = [one for one in group.rows if one.scan.method == method and one.row.key == key]
            _medians(axes, BY_KEY[key], members, regions[:MOST])
            axes.set_title(f"{method}: {BY_KEY[key].name}", loc="left", fontsize=10)
    left = len(regions) - MOST
    note = f"; {left} more regions are in the table" if left > 0 else ""
    figure.suptitle(f"a point for each scan: the median of a region; bars: the median of the scans{note}", fontsize=10)
    save(figure, path)


def _medians(axes: Axes, p: Parameter, rows: list[GroupRow], regions: list[str]) -> None:
    """A point for each scan in each region, side by side in the order of the scans; outliers are red and named."""
    for place, region in enumerate(regions):
        here = [row for row in rows if row.row.region == region]
        values = np.array([row.row.median for row in here]) * p.display_scale
        across = place + (np.linspace(-SPREAD, SPREAD, len(here)) if len(here) > 1 else np.zeros(len(here)))
        odd = np.array([row.outlier for row in here], bool)
        axes.plot(across[~odd], values[~odd], "o", ms=4, alpha=0.7, color=CURVES[place % len(CURVES)], mew=0)
        axes.plot(across[odd], values[odd], "D", ms=5, color=OUT)
        for number in np.flatnonzero(odd)[:NAMED]:
            label = here[number].scan.label.removeprefix("sub-")
            axes.annotate(label, (across[number], values[number]), xytext=(4, 3), textcoords="offset points", fontsize=7, color=OUT, parse_math=False)  # fmt: skip
        known = values[np.isfinite(values)]
        if len(known):
            axes.hlines(np.median(known), place - 0.38, place + 0.38, color="0.15", lw=1.5)
    axes.set_xticks(range(len(regions)), [name if len(name) <= 18 else name[:17] + "…" for name in regions], rotation=20, ha="right", fontsize=8, parse_math=False)  # fmt: skip
    axes.set_xlim(-0.6, len(regions) - 0.4)
    axes.margins(y=0.12)
    axes.set_ylabel(f"{p.symbol} [{p.display_unit}]")
    axes.grid(axis="y", alpha=0.25)
    bare(axes)


def _outcomes(axes: Axes, scans: list) -> None:
    """A stacked column for each scan: the shares of the outcomes."""
    across, bottom = np.arange(len(scans)), np.zeros(len(scans))
    for outcome in list(Outcome)[1:]:
        shares = np.array([100 * scan.outcomes.get(outcome, 0) / max(scan.voxels, 1) for scan in scans])
        if shares.any():
            label = f"{int(outcome)} {SHORT[outcome]}"
            axes.bar(across, shares, 0.9 if len(scans) < 60 else 1.0, bottom=bottom, color=OUTCOME_COLOURS[outcome], label=label)  # fmt: skip
            bottom += shares
    named = range(0, len(scans), max(1, -(-len(scans) // 20)))
    axes.set_xticks(list(named), [scans[k].label for k in named], rotation=30, ha="right", fontsize=7, parse_math=False)
    axes.set(ylim=(0, 100), xlim=(-0.6, len(scans) - 0.4), ylabel="% of voxels")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    bare(axes)
