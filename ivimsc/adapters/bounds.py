"""Bounds as other packages give them, and the options of ivimsc that mean the same."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ivimsc.errors import InputError
from ivimsc.methods import load_method
from ivimsc.physics.parameters import BY_KEY

__all__ = ["as_options", "option_names", "read_bounds"]

KEYS = ("S0", "f", "Dp", "D")
BORDER = BY_KEY["dstar"].lower  # mm²/s: where ranges of D and D* that overlap are parted
LARGEST = 0.5  # mm²/s: D* beyond it decays before the first b-value of any scan


def read_bounds(bounds: Any) -> dict[str, tuple[float, float]]:
    """Bounds in one form.

    Parameters
    ----------
    bounds : {"f": (low, high), …} with the keys S0, f, Dp and D, as far as there are; or two rows, low and high, of
        (S0, f, Dp, D), of (D, f, Dp, S0), which its large S0 tells, or of (f, Dp, D)

    Returns
    -------
    key -> (low, high); Dp and D in mm²/s

    Raises
    ------
    InputError
        for another form, unknown keys, and a low bound that is not below the high one
    """
    if isinstance(bounds, Mapping):
        pairs = dict(bounds)
        if pairs.keys() - set(KEYS):
            raise InputError(f"bounds: found the keys {', '.join(map(str, pairs))}, expected some of {', '.join(KEYS)}")
    else:
        try:
            low, high = (np.asarray(row, np.float64).ravel() for row in bounds)
        except (TypeError, ValueError):
            low = high = np.zeros(0)
        if len(low) != len(high) or len(low) not in (3, 4):
            raise InputError(f"bounds: found {bounds!r}, expected {{'f': (low, high), …}} or ([S0, f, Dp, D] low, [S0, f, Dp, D] high)")  # fmt: skip
        order = KEYS[1:] if len(low) == 3 else KEYS if high[0] >= high[3] else ("D", "f", "Dp", "S0")
        pairs = {key: pair for key, *pair in zip(order, low, high, strict=True)}
    try:
        found = {key: (float(low), float(high)) for key, (low, high) in pairs.items()}
    except (TypeError, ValueError):
        raise InputError(f"bounds: found {bounds!r}, expected two numbers for each parameter") from None
    for key, (low, high) in found.items():
        if not low < high:
            raise InputError(f"bounds of {key}: found {low:g}..{high:g}, expected low < high")
    return found


def option_names(method: str) -> set[str]:
    """The names of a method's options."""
    return {option.name for option in dataclasses.fields(load_method(method).Options)}


def as_options(bounds: Mapping[str, tuple[float, float]], method: str) -> dict[str, tuple[float, float]]:
    """The options of a method that keep within bounds, as far as it has them; those of S0 are free.

    Ranges of D and D* that overlap are parted at 5e-3 mm²/s, and D* goes to 0.5 mm²/s at most.

    Parameters
    ----------
    bounds : as `read_bounds` returns them
    method : name of the method
    """
    d, p = (list(bounds.get(key, (BY_KEY[name].lower, BY_KEY[name].upper))) for key, name in (("D", "d"), ("Dp", "dstar")))  # fmt: skip
    if d[1] > p[0]:
        border = min(max(BORDER, d[0]), p[1])
        d[1], p[0] = min(d[1], border), max(p[0], border)
        if not (d[0] < d[1] and p[0] < p[1]):
            raise InputError(f"bounds: found D {bounds.get('D')} and Dp {bounds.get('Dp')}, expected the range of Dp above that of D")  # fmt: skip
    p[1] = min(p[1], LARGEST) if p[0] < LARGEST else p[1]
    f = tuple(float(np.clip(value, 0, 1)) for value in bounds["f"]) if "f" in bounds else None
    wanted = {"f_bounds": f, "d_bounds": tuple(d), "dstar_bounds": tuple(p)}
    wanted |= {"d_range": (d[0] if d[0] > 0 else math.nan, d[1]), "dstar_range": tuple(p)}
    if "D" not in bounds and "Dp" not in bounds:
        wanted = {"f_bounds": f}
    has = option_names(method)
    found = {name: pair for name, pair in wanted.items() if pair is not None and name in has}
    if "d_range" in found and math.isnan(found["d_range"][0]):  # a grid of D begins above 0
        found["d_range"] = (load_method(method).Options().d_range[0], d[1])
    return found
