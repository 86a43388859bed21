"""What a model of scdnn has to hold: the kernels read and write wherever its shapes say, so these are checked first."""

import numpy as np

from ivimsc.errors import InputError
from ivimsc.models import Layout, Model
from ivimsc.models.front import FRONT, require_front
from ivimsc.models.spread import SPREAD
from ivimsc.models.typical import TYPICAL
from ivimsc.options import expect

__all__ = ["layout_of", "require_whole"]

_SET, _MIXED = ("unit", "input", "atom"), ("mixed", "unit", "rank", "atom")
FACTORED = Layout(
    {"w": _SET, "phi": _SET, "thresholds": ("unit", "atom"), "grid": ("atom",)},
    also={**SPREAD, **TYPICAL},
    even=("atom",),
)
GENERAL = Layout(
    {
        "w": ("unit", "rank", "atom"),
        "w_mix": _MIXED,
        "phi": ("unit", "rank", "atom"),
        "phi_mix": _MIXED,
        "thresholds": ("unit", "atom"),
        "threshold_mix": ("feature", "unit", "atom"),
        "grid": ("atom",),
        "basis": ("rate", "rank"),
        "diffusivities": ("rate",),
        "mean": ("context",),
        "sd": ("context",),
        "features.0.weight": ("hidden", "context"),
        "features.0.bias": ("hidden",),
        "features.2.weight": ("feature", "hidden"),
        "features.2.bias": ("feature",),
    },
    also={"unit": (4,)},
    even=("atom",),
)
_IN = ("unit", "coordinate", "atom")
ADAPTED = Layout(
    {"w": _IN, "phi": _IN, "thresholds": ("unit", "atom"), "grid": ("atom",), **FRONT},
    also={**SPREAD, **TYPICAL},
    even=("atom",),
)
CHOICES = {"threshold": ("soft", "hard"), "residual": ("encoded", "input")}


def layout_of(model: Model) -> Layout:
    """The arrays of a general model, of one adapted to a population, of a factored one for a single protocol, or of one with free layers."""
    if model.general:
        return GENERAL
    if model.finds_s0:
        return ADAPTED
    if "b" not in model.arrays:
        return FACTORED
    units = len(model.arrays["b"]) if model.arrays["b"].ndim else 0
    free = {"w": ("set", "input", "atom"), "b": (units, "atom", "atom"), "thresholds": (units + 1, "atom")}
    return Layout({**free, "grid": ("atom",)}, also={"phi": ("set", "input", "atom"), **SPREAD}, even=("atom",))


def require_whole(model: Model) -> None:
    """Refuse options and numbers that the shapes do not tell of.

    Raises
    ------
    InputError
        for options that are not there, and for diffusivities, spreads and ranks that are none
    """
    arrays, source = model.arrays, model.source
    for name, choices in CHOICES.items():
        value = model.about.get("options", {}).get(name)
        expect(isinstance(value, str) and value in choices, name, source, str(value)[:40], " or ".join(choices))
    if not np.all(arrays["grid"] >= 0):
        raise InputError(f"{source}: found diffusivities below 0 in grid, expected numbers from 0 on")
    if not model.general:
        if model.finds_s0:
            require_front(model, model.arrays["w"].shape[1])
        return
    rank, mixed, features = arrays["basis"].shape[1], len(arrays["w_mix"]), len(arrays["threshold_mix"])
    if len(arrays["mean"]) != rank * (rank + 1) // 2 or mixed > features:
        raise InputError(f"{source}: found a context of {len(arrays['mean'])} numbers and {mixed} of {features} features, expected {rank * (rank + 1) // 2} and at most as many")  # fmt: skip
    if not (np.all(arrays["sd"] > 0) and np.all(arrays["diffusivities"] >= 0)):
        raise InputError(f"{source}: found spreads or diffusivities that are not positive, expected positive ones")
