"""The picture of a design: its images along b, and errors against the number of images, beside usual protocols."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from ivimsc.figures import CURVES, bare, new_figure, save
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.physics.signal import signals

if TYPE_CHECKING:
    from ivimsc.planning.plan import Design

__all__ = ["draw_design"]

DESIGN_COLOUR = "#000000"


def draw_design(path: Path, made: "Design") -> None:
    """Draw a design.

    Parameters
    ----------
    path : PNG file to write
    made : the design
    """
    tissues = made.request.tissues
    figure, axes = new_figure(len(tissues), 4, (18, 4.4 * len(tissues)), squeeze=False)
    for t, tissue in enumerate(tissues):
        _images(axes[t, 0], made, t)
        for p, parameter in enumerate(PARAMETERS[1:]):
            _curves(axes[t, p + 1], made, t, p)
            axes[t, p + 1].set_title(f"{parameter.symbol} in {tissue.name}", fontsize=11)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    request = made.request
    figure.suptitle(
        f"{request.volumes} images, b up to {request.bmax:g} s/mm², SNR {request.snr:g}: errors at equal scan time"
    )
    save(figure, path)


def _images(axes: Axes, made: "Design", t: int) -> None:
    """Signal curve of the mean tissue, and the images as stems with their number."""
    tissue = made.request.tissues[t]
    b = np.linspace(0, made.request.bmax, 400)
    truth = (1.0, tissue.f[0], tissue.D[0], tissue.Dstar[0])
    axes.plot(b, signals(*truth, b), color="0.6", lw=1.2)
    at = signals(*truth, made.bvalues)
    axes.vlines(made.bvalues, 0, at, color=DESIGN_COLOUR, lw=1)
    axes.scatter(made.bvalues, at, s=18 * made.repeats, color=DESIGN_COLOUR, zorder=3)
    for x, y, n in zip(made.bvalues, at, made.repeats, strict=True):
        axes.annotate(f"×{n}", (x, y), (3, 7), textcoords="offset points", fontsize=9)
    axes.set(xlabel="b [s/mm²]", ylabel="signal over S₀", ylim=(0, 1.15))
    axes.set_title(f"the design, and the mean signal of {tissue.name}", fontsize=11)
    bare(axes)


def _curves(axes: Axes, made: "Design", t: int, p: int) -> None:
    parameter = PARAMETERS[p + 1]
    colours = iter(CURVES * 2)
    for k, curve in enumerate(made.curves):
        style = {"color": DESIGN_COLOUR, "lw": 2.4, "zorder": 3} if k == 0 else {"color": next(colours), "lw": 1.3}
        axes.plot(curve.images, curve.rmse[:, t, p] * parameter.display_scale, label=curve.protocol, **style)
    row = made.rows[3 * t + p]
    scale = parameter.display_scale if parameter.key == "f" else 1.0
    axes.axhline(row.prior * scale, color="0.5", ls=":", lw=1.2, label="nothing measured: the tissue's own SD")
    axes.axvline(made.request.volumes, color="0.85", lw=1, zorder=0)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="scan time, in images",
        ylabel=f"smallest possible RMSE [{parameter.display_unit}]",
    )
    ticks = made.request.volumes * np.array([0.25, 0.5, 1, 2, 4])
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.tick_params(axis="y", which="minor", labelsize=7)
    axes.grid(color="0.93", which="both")
    axes.set_axisbelow(True)
    bare(axes)
