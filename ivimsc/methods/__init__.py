"""The registry of the methods, and what every method has in common.

A method is one folder, ``ivimsc/methods/NAME/``, and one line in `METHODS`. Its module ``method.py`` has

``TITLE``
    one line for tables and reports
``SOURCE``
    the publication that it follows
``Options``
    a frozen dataclass: every option has a default and a help text, and ``__post_init__`` checks the values
``prepare(voxels, options, launch, inputs) -> Fitter``
    checks the protocol, says what it chose, and does what needs the whole data set once

Kernels for a GPU are in ``on_gpu.py``. The network of a method that is trained is in ``network.py``, which alone may import
torch; it has ``Options``, ``VARIANTS`` and ``plan`` (see `ivimsc.training`). Modules are imported on first use.
"""

import importlib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ivimsc.errors import InputError
from ivimsc.fitter import Fitter, Inputs
from ivimsc.options import typed_options
from ivimsc.voxels import VoxelSource

__all__ = ["METHODS", "Fitter", "Inputs", "Method", "VoxelSource", "find_method", "load_method", "make_options"]


@dataclass(frozen=True)
class Method:
    """What the rest of the package has to know of a method before it is imported.

    Attributes
    ----------
    name : of the method and of its folder
    on_cuda : it has CUDA kernels
    trained : it has a network that ``ivimsc train`` trains
    adapts : its network can be adapted to a data set without truth: it has a module ``adapted.learner`` with ``adapt``
    model : signal model (`physics.models`) whose least squares over all b-values the method is; None: it is something else
    files : options that may name a file -> kind of the file: "dictionary", "truth" or "model"; the caller reads it
    """

    name: str
    on_cuda: bool = False
    trained: bool = False
    adapts: bool = False
    model: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> types.ModuleType:
        """The module of the method."""
        return importlib.import_module(f"ivimsc.methods.{self.name}.method")

    def load_adapting(self) -> types.ModuleType:
        """The module that adapts the method's network to a population; it imports no torch."""
        return importlib.import_module(f"ivimsc.methods.{self.name}.adapted.learner")

    def load_network(self) -> types.ModuleType:
        """The module of the method's network; it imports torch."""
        return importlib.import_module(f"ivimsc.methods.{self.name}.network")


METHODS = {
    method.name: method
    for method in (
        Method("adc", model="mono"),
        Method("simplified"),
        Method("segmented", on_cuda=True),
        Method("nlls", on_cuda=True, model="biexp"),
        Method("kurtosis", model="kurtosis"),
        Method("triexp", model="triexp"),
        Method("bayes", on_cuda=True, files={"prior": "truth"}),
        Method("ista", on_cuda=True, files={"dictionary": "dictionary"}),
        Method("scdnn", on_cuda=True, trained=True, adapts=True, files={"model": "model"}),
        Method("mlp", trained=True, adapts=True, files={"model": "model"}),
        Method("ivimnet", trained=True, files={"model": "model"}),
    )
}


def find_method(name: str) -> Method:
    """The record of the method `name`; InputError for an unknown name."""
    if name not in METHODS:
        raise InputError(f"method: found {name!r}, expected one of {', '.join(METHODS)}")
    return METHODS[name]


def load_method(name: str) -> types.ModuleType:
    """The module of the method `name`; InputError for an unknown name."""
    return find_method(name).load()


def make_options(method: types.ModuleType, settings: Mapping[str, Any]) -> Any:
    """The options of a method's module from settings that are typed (Python) or text (``--set KEY=VALUE``)."""
    return typed_options(method.Options, settings, method.__name__.split(".")[-2])
