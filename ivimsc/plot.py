"""Pictures for Python: a voxel with its fits, and maps, on matplotlib axes.

Axes that are given are drawn in; else a new figure is made, which pyplot does not know (notebooks show it all the same:
``axes.figure``). No setting of matplotlib is changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, Estimates
from ivimsc.figures import CURVES, SHORT, Slice, bare, new_figure, range_of, show_map, show_outcome
from ivimsc.nifti import geometry_like
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import BY_KEY, PARAMETERS
from ivimsc.voxels import Geometry

__all__ = ["maps", "voxel"]

Fits = Estimates | Mapping[str, Estimates]


def _named(fits: Fits) -> dict[str, Estimates]:
    return {fits.method or "fit": fits} if isinstance(fits, Estimates) else dict(fits)


def voxel(
    fits: Fits,
    signals: ArrayLike,
    place: int | Sequence[int] = (),
    bvalues: ArrayLike | None = None,
    sigma: float | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw one voxel: its measured signals, and the fitted curve, the parameters and the outcome of every fit.

    Parameters
    ----------
    fits : estimates (…), or name -> estimates of several methods
    signals : (…, b) that were fitted
    place : of the voxel in (…); of a single curve ()
    bvalues : (b,) of `signals` [s/mm²]; default: those of the first fit
    sigma : noise SD of one image, for error bars
    axes : to draw in; default: those of a new figure

    Returns
    -------
    the axes

    Raises
    ------
    InputError
        for a place outside the volume, and signals that are not those of the estimates
    """
    named = _named(fits)
    first = next(iter(named.values()))
    y, b = np.asarray(signals, np.float64), first.bvalues if bvalues is None else np.asarray(bvalues, np.float64)
    where = tuple(np.atleast_1d(np.asarray(place, int)))
    shape = first.outcome.shape
    if b is None or y.shape != (*shape, len(b)):
        raise InputError(f"signals: found shape {y.shape}, expected {(*shape, 0 if b is None else len(b))}: that of the estimates, and a signal per b-value")  # fmt: skip
    if len(where) != len(shape) or any(not 0 <= k < n for k, n in zip(where, shape, strict=True)):
        raise InputError(f"place: found {where}, expected a voxel within {shape}")
    axes = new_figure(1, 1, (7, 4.5))[1] if axes is None else axes
    axes.errorbar(b, y[where], yerr=sigma, fmt="o", color="black", ms=4, capsize=2, zorder=3, label="measured")
    fine = np.unique(np.concatenate([np.linspace(0, b.max(), 300), np.geomspace(1, b.max(), 60)]))
    for k, (name, estimates) in enumerate(named.items()):
        one = _one(estimates, where)
        axes.plot(fine, one.predict(fine), color=CURVES[k % len(CURVES)], ls=("-", "--", "-.", ":")[k % 4], label=f"{name}: {_words(one)}")  # fmt: skip
    axes.set(xlabel="b [s/mm²]", ylabel="signal", ylim=(min(0, np.nanmin(y[where])), None))
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    bare(axes)
    return axes


def _one(estimates: Estimates, where: tuple[int, ...]) -> Estimates:
    """The estimates of one voxel, without axes."""
    arrays = {one.code: np.asarray(getattr(estimates, one.code)[where]) for one in FIELDS if getattr(estimates, one.code) is not None}  # fmt: skip
    absent = dict.fromkeys(one.code for one in FIELDS if one.code not in arrays)
    return Estimates(**(absent | arrays), method=estimates.method)


def _words(one: Estimates) -> str:
    """f, D and D* with their errors, and the outcome."""
    parts = []
    for p in PARAMETERS[1:]:
        value, sd = getattr(one, p.code), getattr(one, f"{p.key}std")
        if value is not None:
            error = f" ± {float(sd) * p.display_scale:.2g}" if sd is not None and np.isfinite(sd) else ""
            parts.append(f"{p.symbol} {float(value) * p.display_scale:.3g}{error} {p.display_unit}")
    return ", ".join([*parts, SHORT[Outcome(int(one.outcome))]])


def maps(
    fits: Fits,
    keys: Sequence[str] = ("s0", "f", "d", "dstar", "outcome"),
    z: int | None = None,
    like: Any = None,
    axes: ArrayLike | None = None,
) -> NDArray:
    """Draw the maps of fits, a row for each fit and a column for each map.

    Parameters
    ----------
    fits : estimates (x, y) or (x, y, z), or name -> estimates of several methods
    keys : of the maps: s0, f, d, dstar or outcome
    z : slice, from 0; default: the one with the most voxels
    like : what says how the patient lies, as for `Estimates.to_nifti`; default: x to the right and y up, without marks
    axes : (fit, map) axes to draw in; default: those of a new figure

    Returns
    -------
    (fit, map) axes

    Raises
    ------
    InputError
        for estimates that are no volume, a slice outside it, and maps that there are not
    """
    named = _named(fits)
    known = (*BY_KEY, "outcome")
    for key in keys:
        if key not in known:
            raise InputError(f"keys: found {key!r}, expected some of {', '.join(known)}")
    shape = next(iter(named.values())).outcome.shape
    if len(shape) not in (2, 3):
        raise InputError(f"fits: found estimates of shape {shape}, expected (x, y) or (x, y, z)")
    volumes = {name: e.reshape((*shape, 1)[:3]) for name, e in named.items()}
    inside = np.any([e.outcome != Outcome.OUTSIDE for e in volumes.values()], axis=0)
    geometry = Geometry(inside.shape, np.eye(4)) if like is None else geometry_like(like)
    if tuple(geometry.shape) != inside.shape:
        raise InputError(f"like: found a volume of shape {tuple(geometry.shape)}, expected {shape}")
    if z is not None and not 0 <= z < inside.shape[2]:
        raise InputError(f"z: found {z}, expected a slice within 0..{inside.shape[2] - 1}")
    if axes is None:
        axes = new_figure(len(named), len(keys), (3.2 * len(keys), 3.6 * len(named)), squeeze=False)[1]
    grid = np.asarray(axes, object).reshape(len(named), len(keys))
    place = Slice(np.argwhere(inside), geometry, z)
    found = {name: {key: values[inside] for key, values in e.items()} for name, e in volumes.items()}
    for column, key in enumerate(keys):
        _draw_maps(grid[:, column], key, found, place)
    for row, name in zip(grid, found, strict=True):
        row[0].set_ylabel(f"{name}\n{place.label}", fontsize=9)
    return grid


def _draw_maps(column: NDArray, key: str, found: dict[str, dict[str, NDArray]], place: Slice) -> None:
    """One map of every fit, in one range of colours; the axes of a fit that does not have it stay empty."""
    p = BY_KEY.get(key)
    if p is not None:
        every = [values[key] for values in found.values() if key in values]
        limits = range_of(p, np.concatenate(every or [np.zeros(1)]) * p.display_scale)
    for axes, values in zip(column, found.values(), strict=True):
        if key not in values:
            axes.set_axis_off()
        elif p is None:
            counts = np.bincount(values["outcome"], minlength=len(Outcome))
            counts[Outcome.OUTSIDE] = 0
            show_outcome(axes, place, values["outcome"][place.rows], dict(enumerate(counts)))
            axes.set_title("outcome")
        else:
            unsure = values["outcome"][place.rows] == Outcome.DSTAR_UNIDENTIFIABLE if key == "dstar" else None
            drawn = show_map(axes, place, values[key][place.rows], p, limits, unsure)
            axes.set_title(p.name)
            axes.figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.85, label=f"{p.symbol} [{p.display_unit}]")
