"""One slice of a volume as an image: cropped to its voxels, in radiological orientation, with the patient's sides."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_rgba_array
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ivimsc.figures.canvas import COLOURS, MEANINGLESS, OUTCOME_COLOURS, SHORT
from ivimsc.orientation import View, view_of
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import Parameter
from ivimsc.voxels import Geometry

__all__ = [
    "Slice",
    "into_slice",
    "map_pixels",
    "mark_sides",
    "outcome_pixels",
    "range_of",
    "show_difference",
    "show_map",
    "show_outcome",
]

BLOCK = 2**20  # voxels whose places are looked at together
MARGIN = 1  # pixels around the voxels


class Slice:
    """Where the voxels of one slice lie in its picture.

    Parameters
    ----------
    index : (voxel, 3) places in the volume, in memory or in a file; it is read block by block
    geometry : of the volume
    z : slice, from 0; default: the one with the most voxels

    Attributes
    ----------
    z : the slice
    rows : the numbers of its voxels
    inside : (row, column) bool, the pixels of the picture that are voxels
    aspect : height of a pixel over its width
    view : how it is turned, with the letters of the patient's sides
    label : which slice it is, and how many voxels it has, in words
    """

    def __init__(self, index: Any, geometry: Geometry, z: int | None = None) -> None:
        starts = range(0, len(index), BLOCK)
        if z is None:
            counts = np.zeros(geometry.shape[2], np.intp)
            for start in starts:
                counts += np.bincount(np.asarray(index[start : start + BLOCK])[:, 2], minlength=len(counts))
            z = int(counts.argmax())
        rows, places = [], []
        for start in starts:
            part = np.asarray(index[start : start + BLOCK])
            here = np.flatnonzero(part[:, 2] == z)
            rows.append(here + start)
            places.append(part[here, :2])
        self.z, self.rows = z, np.concatenate([np.zeros(0, np.intp), *rows])
        self.view: View = view_of(geometry)
        self.aspect = geometry.zooms[1 - self.view.across] / geometry.zooms[self.view.across]
        self._places = np.concatenate([np.zeros((0, 2), np.intp), *places])
        if len(self._places):
            low, high = self._places.min(0), self._places.max(0) + 1
        else:
            low, high = np.zeros(2, np.intp), np.array(geometry.shape[:2])
        self._low = np.maximum(low - MARGIN, 0)
        self._shape = tuple(np.minimum(high + MARGIN, geometry.shape[:2]) - self._low)
        self.inside = self.put(np.ones(len(self.rows)), 0) > 0
        self.label = f"slice {z + 1} of {geometry.shape[2]}, {len(self.rows):,} voxels"

    def put(self, values: NDArray, outside: float) -> NDArray:
        """The picture (row, column) of values of the voxels `rows`; pixels without a voxel hold `outside`."""
        picture = np.full(self._shape, outside, np.float64)
        picture[tuple((self._places - self._low).T)] = values
        return self.turn(picture)

    def cut(self, picture: NDArray) -> NDArray:
        """A whole slice (x, y) as the picture (row, column): cropped as the voxels are."""
        x, y = self._low
        return self.turn(picture[x : x + self._shape[0], y : y + self._shape[1]])

    def turn(self, picture: NDArray) -> NDArray:
        """A picture (x, y) as (row, column), the first row on top."""
        turned = picture.T if self.view.across == 0 else picture
        turned = turned[:, ::-1] if self.view.flip_across else turned
        return turned[::-1] if self.view.flip_down else turned


def into_slice(values: NDArray, index: NDArray, shape: tuple[int, int, int], z: int, outside: float) -> NDArray:
    """One slice of a map as an array, as the volume has it.

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


def show_map(axes: Axes, place: Slice, values: NDArray, parameter: Parameter, limits: tuple[float, float],
             meaningless: NDArray | None = None) -> Any:  # fmt: skip
    """Draw a map: black outside the mask, magenta where it is NaN.

    Parameters
    ----------
    axes : to draw in
    place : the slice
    values : of the voxels `place.rows`, in the unit of the API
    parameter : what the map shows; gives colours and display unit
    limits : range of the colours, in the display unit
    meaningless : bool, of the voxels `place.rows`, where the value means nothing: slate

    Returns
    -------
    the drawn image, for a colour bar
    """
    picture, colours = _as_drawn(place, values, parameter, limits)
    drawn = _draw(axes, place, picture, cmap=colours, vmin=limits[0], vmax=limits[1])
    if meaningless is not None and np.any(meaningless):
        where = place.put(meaningless, 0) > 0
        _draw(axes, place, np.ma.masked_where(~where, where), cmap=ListedColormap([MEANINGLESS]))
    mark_sides(axes, place.view)
    return drawn


def map_pixels(place: Slice, values: NDArray, parameter: Parameter, limits: tuple[float, float],
               meaningless: NDArray | None = None) -> NDArray[np.uint8]:  # fmt: skip
    """A map as `show_map` draws it, a pixel for each voxel: quick, for pages with many pictures.

    Parameters
    ----------
    place, values, parameter, limits, meaningless : as for `show_map`

    Returns
    -------
    (row, column, 4) red, green, blue and opacity
    """
    picture, colours = _as_drawn(place, values, parameter, limits)
    pixels = colours(Normalize(*limits)(picture), bytes=True)
    if meaningless is not None:
        pixels[place.put(meaningless, 0) > 0] = to_rgba_array(MEANINGLESS)[0] * 255
    return pixels


def outcome_pixels(place: Slice, outcome: NDArray) -> NDArray[np.uint8]:
    """A map of outcomes as `show_outcome` draws it, (row, column, 4)."""
    palette = np.rint(255 * to_rgba_array([OUTCOME_COLOURS[one] for one in Outcome])).astype(np.uint8)
    return palette[place.put(outcome, Outcome.OUTSIDE).astype(np.intp)]


def _as_drawn(
    place: Slice, values: NDArray, parameter: Parameter, limits: tuple[float, float]
) -> tuple[NDArray, Colormap]:
    """The picture (row, column) of a map in its display unit, and its colours: black outside the mask, magenta where it is NaN."""
    colours = matplotlib.colormaps[COLOURS[parameter.key]].with_extremes(bad="magenta", under="black")
    shown = np.maximum(np.asarray(values) * parameter.display_scale, limits[0])  # maximum keeps NaN
    return place.put(shown, limits[0] - 1), colours


def show_outcome(axes: Axes, place: Slice, outcome: NDArray, counts: Mapping[int, int]) -> None:
    """Draw a map of outcomes, with a legend of those that occur and how many voxels have them.

    Parameters
    ----------
    axes : to draw in
    place : the slice
    outcome : `Outcome` codes of the voxels `place.rows`
    counts : outcome -> number of voxels, of the whole fit
    """
    palette = ListedColormap([OUTCOME_COLOURS[one] for one in Outcome])
    _draw(axes, place, place.put(outcome, Outcome.OUTSIDE), cmap=palette, vmin=-0.5, vmax=len(Outcome) - 0.5)
    total = max(sum(counts.values()), 1)
    handles = [
        Patch(color=OUTCOME_COLOURS[Outcome(one)], label=f"{int(one)} {SHORT[Outcome(one)]}: {n:,} ({100 * n / total:.1f} %)")
        for one, n in sorted(counts.items()) if n
    ]  # fmt: skip
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    mark_sides(axes, place.view)


def show_difference(axes: Axes, place: Slice, difference: NDArray, top: float) -> Any:
    """Draw a map of differences: blue below, red above, white none; grey outside, magenta not fitted.

    Parameters
    ----------
    axes : to draw in
    place : the slice
    difference : of the voxels `place.rows`
    top : the end of the colours

    Returns
    -------
    the drawn image, for a colour bar
    """
    image = place.put(difference, -np.inf)
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#9a9a9a")
    drawn = _draw(axes, place, np.ma.masked_where(~np.isfinite(image), image), cmap=colours, vmin=-top, vmax=top)
    failed = np.isnan(image)
    if failed.any():
        _draw(axes, place, np.ma.masked_where(~failed, failed), cmap=ListedColormap(["magenta"]))
    mark_sides(axes, place.view)
    return drawn


def mark_sides(axes: Axes, view: View) -> None:
    """Write the patient's sides (R, L, A, P, S, I) at the edges of a picture; none where the file does not say."""
    places = ((view.left, 0.02, 0.5, "left", "center"), (view.right, 0.98, 0.5, "right", "center"),
              (view.top, 0.5, 0.98, "center", "top"), (view.bottom, 0.5, 0.02, "center", "bottom"))  # fmt: skip
    for letter, x, y, across, down in places:
        axes.text(x, y, letter, transform=axes.transAxes, ha=across, va=down, color="white", fontsize=9,
                  fontweight="bold", path_effects=[withStroke(linewidth=2, foreground="black")])  # fmt: skip


def _draw(axes: Axes, place: Slice, image: NDArray, **options: Any) -> Any:
    """An image (row, column) without ticks and frame."""
    drawn = axes.imshow(image, origin="upper", aspect=place.aspect, interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return drawn
