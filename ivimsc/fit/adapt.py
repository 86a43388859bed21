"""Adapting a method's network to the data set that is to be fitted: population, training, and the model file that is kept.

A kept model is written whole or not at all, under a lock: a killed adaptation leaves none, and starts again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from ivimsc import __version__
from ivimsc.adapting.loop import Sights
from ivimsc.device.launch import Launch
from ivimsc.files import alone, make_folder
from ivimsc.fit.inputs import general_model
from ivimsc.fit.population import Told, population_of
from ivimsc.methods import Method
from ivimsc.models import Model, read_model, write_model
from ivimsc.options import typed_options
from ivimsc.voxels import VoxelSource

__all__ = ["ADAPT", "Adapting", "Keep", "adapted_model", "adapting_of", "wants_adapting"]

ADAPT = "adapt"  # what the option `model` says instead of a file


class Keep(NamedTuple):
    """Where the model of a data set is kept; reuse: one of this very data set and options that lies there is taken."""

    path: Path
    force: bool = False
    reuse: bool = False


def wants_adapting(method: Method, options: Any) -> bool:
    """Whether a method is to be adapted to its data first."""
    return method.adapts and getattr(options, "model", None) == ADAPT


class Adapting(NamedTuple):
    """How to adapt: what is known of the noise, how long to learn, and the seed of all draws."""

    told: Told = Told()
    sights: Sights = Sights()
    seed: int = 0


def adapting_of(settings: Mapping[str, Any], who: str, seed: int) -> Adapting:
    """How to adapt, from settings that are typed or text; `who` is asked, for messages (InputError for bad settings)."""
    known = {field.name for field in fields(Told)}
    told = {key: value for key, value in settings.items() if key in known}
    sights = {key: value for key, value in settings.items() if key not in known}
    return Adapting(typed_options(Told, told, who), typed_options(Sights, sights, who), seed)


def adapted_model(
    method: Method,
    voxels: VoxelSource,
    launch: Launch,
    wanted: Adapting = Adapting(),
    keep: Keep | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Model, list[str]]:
    """The method's network for the population of `voxels`, and what the user is told.

    Parameters
    ----------
    method, voxels, launch : what is adapted, to which data, on which threads
    wanted : how
    keep : where to keep the model; None: nowhere
    say : called with what is being done

    Raises
    ------
    InputError
        for data that tell no noise level, and for a model file that is there already or that another process makes
    """
    say = say or (lambda _: None)
    if keep is None:
        return _made(method, voxels, launch, wanted, say)
    make_folder(keep.path.absolute().parent)
    with alone(keep.path.with_name(f".{keep.path.name}.lock"), keep.path):
        key = _key(method, voxels, wanted)
        if keep.reuse and keep.path.is_file():
            model = read_model(keep.path)
            if model.method == method.name and model.about.get("training", {}).get("key") == key:
                return model, [f"adapted model: {keep.path}, of this data set"]
        model, notes = _made(method, voxels, launch, wanted, say)
        model.about["training"]["key"] = key
        write_model(keep.path, model, keep.force or keep.reuse)
        return read_model(keep.path), [*notes, f"adapted model: {keep.path}"]


def _made(method: Method, voxels: Any, launch: Launch, wanted: Adapting,
          say: Callable[[str], None]) -> tuple[Model, list[str]]:  # fmt: skip
    say(f"{method.name}: learning the population from the signals")
    population, notes = population_of(voxels, launch, wanted.told, wanted.seed)
    population.about["signals_sha256"] = voxels.signals_sha256
    say(f"{method.name}: learning from {wanted.sights.sights:,} voxels drawn from it")
    cpu = Launch("cpu", launch.threads)
    model = method.load_adapting().adapt(population, general_model(), wanted.sights, wanted.seed, cpu)
    model.about["ivimsc_version"] = __version__
    return model, notes


def _key(method: Method, voxels: Any, wanted: Adapting) -> str:
    """A checksum of all that a kept model depends on: data, b-values, noise level, training, version."""
    about = [
        method.name,
        voxels.signals_sha256,
        [float(b) for b in voxels.bvalues],
        *vars(wanted.told).values(),
        wanted.seed,
        __version__,
    ]
    return hashlib.sha256(json.dumps([*about, vars(wanted.sights)]).encode()).hexdigest()
