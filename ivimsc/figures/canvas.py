"""New figures and their files, and the colours and words that all pictures share.

Figures are made without pyplot: pyplot keeps every figure and one backend for the whole process, which belong to the
program that imports this package. `new_figure` and `save` are the two ends of every picture.
"""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ivimsc.outcome import Outcome

__all__ = ["COLOURS", "CURVES", "MEANINGLESS", "OUTCOME_COLOURS", "SHORT", "bare", "new_figure", "save"]

MEANINGLESS = "#3d4450"  # D* where it is not identifiable: its value is noise, and would be taken for perfusion
COLOURS = {
    "s0": "gray",
    "f": "inferno",
    "d": "viridis",
    "dstar": "magma",
    "k": "viridis",
    "f2": "inferno",
    "dstar2": "magma",
}
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
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # lines, apart for colour-blind eyes too
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
