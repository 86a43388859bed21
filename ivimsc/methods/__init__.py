"""The methods. A new method is one file and one line here; modules are imported on use.

Every method module has

``TITLE``
    one line for tables and reports
``SOURCE``
    the publication that it follows
``Options``
    a frozen dataclass: every option with a default, its help in ``metadata["help"]``, checked in ``__post_init__``
``prepare(voxels, options, launch) -> Fitter``
    checks the protocol, says what it chose (``notes``), and does what needs the whole data set once
"""

import dataclasses
import importlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import Estimates

__all__ = ["METHODS", "Fitter", "VoxelSource", "load_method", "make_options", "typed_options"]

METHODS = {
    "segmented": "ivimsc.methods.segmented.method",
    "nlls": "ivimsc.methods.nlls.method",
    "bayes": "ivimsc.methods.bayes.method",
    "ista": "ivimsc.methods.ista.method",
    "scdnn": "ivimsc.methods.scdnn.method",
    "mlp": "ivimsc.methods.mlp.method",
    "ivimnet": "ivimsc.methods.ivimnet.method",
}


class VoxelSource(Protocol):
    """What a method sees of the data: in memory (`Voxels`) or on disk (`VoxelStore`)."""

    bvalues: NDArray[np.float64]

    def __len__(self) -> int: ...
    def read(self, start: int, stop: int) -> NDArray[np.float32]: ...


class Fitter(Protocol):
    """A method made ready for one data set."""

    notes: list[str]  # what was chosen, for the user: printed, and kept in the estimate store
    dictionary: Any | None  # the dictionary behind `Estimates.spectrum`, with fields D and Dstar, where there is one

    def fit(self, signals: NDArray[np.float32], first: int) -> Estimates:
        """Fit `signals` (voxel, b); `first` is the place of the first of them in the data set (keys random draws)."""
        ...


def load_method(name: str) -> types.ModuleType:
    """The module of method `name`."""
    if name not in METHODS:
        raise InputError(f"method: found {name!r}, expected one of {', '.join(METHODS)}")
    return importlib.import_module(METHODS[name])


def make_options(method: types.ModuleType, settings: Mapping[str, Any]) -> Any:
    """The method's Options from settings: values already typed (Python) or as text (``--set KEY=VALUE``)."""
    return typed_options(method.Options, settings, method.__name__.rpartition(".")[2])


def typed_options(kind: type, settings: Mapping[str, Any], who: str) -> Any:
    """The dataclass `kind`, options of `who`, from settings that are typed or text."""
    kinds, values = typing.get_type_hints(kind), {}
    for key, value in settings.items():
        if key not in kinds:
            raise InputError(f"option of {who}: found {key!r}, expected one of {', '.join(kinds)}")
        values[key] = _from_text(who, key, value, kinds[key]) if isinstance(value, str) else value
    return dataclasses.replace(kind(), **values)


def _from_text(method: str, key: str, text: str, kind: Any) -> Any:
    """`text` as `kind`: str, int, float, bool, (float, float) written ``a,b``, or one of these or None (``none``)."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in kinds and text.lower() == "none":
        return None
    for choice in kinds:
        try:
            if choice is bool:
                return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
            if typing.get_origin(choice) is tuple:
                lower, upper = text.split(",")
                return float(lower), float(upper)
            if choice in (int, float, str):
                return choice(text)
        except (ValueError, KeyError):
            continue
    names = " or ".join("A,B" if typing.get_origin(c) is tuple else getattr(c, "__name__", str(c)) for c in kinds)
    raise InputError(f"option {key} of {method}: found {text!r}, expected {names.replace('NoneType', 'none')}")
