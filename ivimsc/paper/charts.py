"""Pictures of errors: dots per row of a table, curves over epochs, atoms and voxels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from ivimsc.figures import bare, new_figure, save
from ivimsc.paper.scores import Line
from ivimsc.paper.setting import KEYS, SYMBOLS, UNITS

__all__ = ["COLOURS", "draw_errors"]

COLOURS = {"SCDNN": "#c0392b", "SCDNN, as in the paper": "#e08e79", "MLP": "#2e6f9e", "IVIM-NET": "#3f9b6c"}
NOISY, CLEAN, PAPER = "#1f4e79", "#1f4e79", "#c0392b"


def draw_errors(path: Path, lines: Sequence[Line], title: str) -> None:
    """A panel for each of f, D, D*: a row of dots for every row of the table, on a logarithmic axis of squared error.

    Filled: noisy test signals; open: noise-free; cross: the paper's figure.

    Parameters
    ----------
    path : PNG file to write
    lines : of the experiment's table
    title : above the picture
    """
    names = list(dict.fromkeys(line.row for line in lines if not line.row.startswith("smallest possible, b")))
    figure, panels = new_figure(1, 3, (14, 1.9 + 0.40 * len(names)), sharey=True)
    for axes, key in zip(panels, KEYS, strict=True):
        mine = [line for line in lines if line.parameter == SYMBOLS[key]]
        low = _lowest(mine)
        for place, name in enumerate(names):
            _row(axes, place, [line for line in mine if line.row == name], _least(mine, name), low)
        power = "" if UNITS[key] == "1" else f" [({UNITS[key]})²]"
        axes.set(xscale="log", xlim=(low / 1.6, None), xlabel=f"mean squared error of {SYMBOLS[key]}{power}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        bare(axes)
    panels[0].set_yticks(range(len(names)), [_short(name) for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    handles = _handles()
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(title)
    save(figure, path)


def _row(axes: Axes, place: int, lines: Sequence[Line], least: float, low: float) -> None:
    noisy, clean = ([line.mse for line in lines if line.test == test] for test in ("noisy", "noise-free"))
    axes.plot(noisy, [place] * len(noisy), "o", color=NOISY, ms=6)
    beyond = [max(value, low) for value in clean if value < low]
    inside = [value for value in clean if value >= low]
    axes.plot(inside, [place] * len(inside), "o", mfc="white", color=CLEAN, ms=6, zorder=1.5)
    axes.plot(beyond, [place] * len(beyond), "<", mfc="white", color=CLEAN, ms=7)
    axes.plot([least] * 2, [place - 0.42, place + 0.42], "-", color="black", lw=2)
    if lines and np.isfinite(lines[0].printed):
        axes.plot([lines[0].printed], [place], "x", color=PAPER, ms=8, mew=2)


def _lowest(lines: Sequence[Line]) -> float:
    """Where the axis begins: below all noisy errors and all of the paper's; noise-free ones below it become arrows."""
    shown = [line.mse for line in lines if line.test == "noisy"] + [line.printed for line in lines]
    return float(np.nanmin(shown)) / 2


def _least(lines: Sequence[Line], name: str) -> float:
    """The smallest possible error of noisy signals for a row: its own where there is one for its b-values."""
    own = "smallest possible" + name.removeprefix("SCDNN") if name.startswith("SCDNN, b") else None
    for line in lines:
        if line.test == "noisy" and (line.row == own if own else line.row.startswith("smallest possible (")):
            return line.mse
    return np.nan


def _short(name: str) -> str:
    """A row's name without its explanation."""
    return name.split(" (")[0].removeprefix("SCDNN, b = ")


def _handles() -> list:
    return [
        Line2D([], [], marker="o", ls="", color=NOISY, label="noisy test signals (one dot per seed)"),
        Line2D([], [], marker="o", ls="", mfc="white", color=CLEAN, label="noise-free"),
        Line2D([], [], marker="<", ls="", mfc="white", color=CLEAN, label="noise-free, below the axis"),
        Line2D([], [], marker="x", ls="", mew=2, color=PAPER, label="the paper's figure"),
        Line2D([], [], color="black", lw=2, label="smallest possible, noisy signals"),
    ]
