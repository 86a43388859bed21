"""The picture of one fit: against the truth, or against another fit."""

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from ivimsc.figures import into_slice, new_figure, save
from ivimsc.files import written_whole
from ivimsc.physics.parameters import MORE_PARAMETERS, PARAMETERS, Parameter
from ivimsc.voxels import Geometry

__all__ = ["draw"]

BINS = 90
ROW, REST = 3.75, 0.25  # inches: height of the row of one parameter, and of the title


class _Slice(NamedTuple):
    """The slice that is shown: places of all voxels (voxel, 3), volume shape, number, height of a pixel over its width."""

    index: NDArray[np.int32]
    shape: tuple[int, int, int]
    z: int
    aspect: float


def draw(found: dict[str, NDArray], other: dict[str, NDArray], names: tuple[str, str], index: NDArray, geometry: Geometry,
         path: Path, force: bool = False) -> Path:  # fmt: skip
    """Scatter, Bland-Altman plot and map of the differences of f, D and D*, a row for each that both have.

    Parameters
    ----------
    found, other : key -> (voxel,) in API units
    names : of `other`, which is the truth or the reference, and of `found`
    index : (voxel, 3), places of the voxels in the volume
    geometry : of the volume
    path : PNG file to write
    force : replace a file of the same name

    Returns
    -------
    `path`

    Raises
    ------
    InputError
        if the file exists (without `force`) or cannot be written
    """
    shown = [p for p in (*PARAMETERS[1:], *MORE_PARAMETERS) if p.key in found and p.key in other]
    figure, grid = new_figure(len(shown), 3, (12.5, REST + ROW * len(shown)), squeeze=False)
    slices = np.bincount(index[:, 2])
    z = int(slices.argmax()) if slices.max() > slices[len(slices) // 2] * 1.5 else len(slices) // 2
    place = _Slice(index, geometry.shape, z, geometry.zooms[1] / geometry.zooms[0])
    for p, axes in zip(shown, grid, strict=True):
        a, b = (np.asarray(x[p.key], np.float64) * p.display_scale for x in (other, found))
        there = np.isfinite(a) & np.isfinite(b)
        limits = _limits(p, a[there])
        _scatter(axes[0], p, a[there], b[there], limits, names)
        _bland_altman(axes[1], p, a[there], b[there], limits, names)
        _map(axes[2], p, b - a, place, limits)
    missing = int((~there).sum())
    note = f"; {missing:,} voxels without a number are left out" if missing else ""
    figure.suptitle(f"{names[1]} against {names[0]}: {len(index):,} voxels{note}", fontsize=13)
    with written_whole(path, force) as part:
        save(figure, part)
    return path


def _limits(p: Parameter, a: NDArray) -> tuple[float, float]:
    """Axis range: the bulk of the reference, with room for errors."""
    if not len(a):
        return p.display_range
    low, high = np.percentile(a, [0.5, 99.5])
    room = 0.25 * max(high - low, 0.05 * p.display_range[1])
    return max(0.0, low - room), high + room


def _density(axes: Axes, x: NDArray, y: NDArray, xs: tuple[float, float], ys: tuple[float, float]) -> None:
    """Voxels per cell, logarithmic; what lies outside is kept at the edge, so that outliers are seen."""
    x, y = np.clip(x, *xs), np.clip(y, *ys)
    if len(x):
        axes.hist2d(x, y, bins=BINS, range=(xs, ys), norm=LogNorm(), cmap="viridis", rasterized=True)
    axes.set(xlim=xs, ylim=ys, facecolor="#f4f4f4")


def _scatter(
    axes: Axes, p: Parameter, a: NDArray, b: NDArray, limits: tuple[float, float], names: tuple[str, str]
) -> None:
    _density(axes, a, b, limits, limits)
    axes.plot(limits, limits, color="#d1495b", lw=1)
    axes.set(
        xlabel=f"{p.symbol}, {names[0]} [{p.display_unit}]",
        ylabel=f"{p.symbol}, {names[1]} [{p.display_unit}]",
        aspect="equal",
    )
    if len(a) > 1:
        axes.set_title(f"RMS difference {np.sqrt(np.mean((b - a) ** 2)):.3g} {p.display_unit}", fontsize=10)


def _bland_altman(
    axes: Axes, p: Parameter, a: NDArray, b: NDArray, limits: tuple[float, float], names: tuple[str, str]
) -> None:
    half = 0.5 * (limits[1] - limits[0])
    _density(axes, (a + b) / 2, b - a, limits, (-half, half))
    axes.set(xlabel=f"mean of both [{p.display_unit}]", ylabel=f"{names[1]} - {names[0]} [{p.display_unit}]")
    if len(a) > 1:
        bias, sd = np.mean(b - a), np.std(b - a)
        for level, style in ((bias, "-"), (bias - 1.96 * sd, "--"), (bias + 1.96 * sd, "--")):
            axes.axhline(level, color="#d1495b", ls=style, lw=1)
        axes.set_title(f"bias {bias:.3g}, 95 % limits {bias - 1.96 * sd:.3g} to {bias + 1.96 * sd:.3g}", fontsize=10)


def _map(axes: Axes, p: Parameter, difference: NDArray, place: _Slice, limits: tuple[float, float]) -> None:
    """The differences in one slice: blue below, red above, white none; grey outside, magenta not fitted."""
    image = into_slice(difference, place.index, place.shape, place.z, -np.inf)
    top = 0.4 * (limits[1] - limits[0])
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#9a9a9a")
    shown = axes.imshow(np.ma.masked_where(~np.isfinite(image), image).T, origin="lower", cmap=colours, vmin=-top, vmax=top,
                        aspect=place.aspect, interpolation="nearest")  # fmt: skip
    failed = np.isnan(image)
    if failed.any():
        axes.imshow(
            np.ma.masked_where(~failed, failed).T, origin="lower", cmap="spring", vmin=1, vmax=2, aspect=place.aspect
        )
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"difference of {p.symbol}, slice {place.z + 1} of {place.shape[2]}", fontsize=10)
    axes.figure.colorbar(shown, ax=axes, shrink=0.85, extend="both", label=p.display_unit)
