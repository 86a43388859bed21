"""Adapting a method's network to the data set that is to be fitted: population, training, and the model file that is kept.

A kept model is written whole or not at all, under a lock: a killed adaptation leaves none, and starts again.
"""

from collections.abc import Callable
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
from ivimsc.voxels import VoxelSource

__all__ = ["ADAPT", "Keep", "adapted_model", "wants_adapting"]

ADAPT = "adapt"  # what the option `model` says instead of a file


class Keep(NamedTuple):
    """Where the model of a data set is kept; reuse: one of this very data set and options that lies there is taken."""

    path: Path
    force: bool = False
    reuse: bool = False


def wants_adapting(method: Method, options: Any) -> bool:
    """Whether a method is to be adapted to its data first."""
    return method.adapts and getattr(options, "model", None) == ADAPT


def adapted_model(
    method: Method,
    voxels: VoxelSource,
    launch: Launch,
    told: Told,
    keep: Keep | None = None,
    sights: Sights = Sights(),
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Model, list[str]]:
    """The method's network for the population of `voxels`, and what the user is told.

    Parameters
    ----------
    method, voxels, launch : what is adapted, to which data, on which threads
    told : of the noise level
    keep : where to keep the model; None: nowhere
    sights, seed : of the training
    say : called with what is being done
    progress : called with (training voxels seen, in all)

    Raises
    ------
    InputError
        for data that tell no noise level, and for a model file that is there already or that another process makes
    """
    if keep is None:
        return _made(method, voxels, launch, told, sights, seed, say, progress)
    make_folder(keep.path.absolute().parent)
    with alone(keep.path.with_name(f".{keep.path.name}.lock"), keep.path):
        wanted = _key(method, voxels, told, sights, seed)
        if keep.reuse and keep.path.is_file():
            model = read_model(keep.path)
            if model.method == method.name and model.about.get("training", {}).get("key") == wanted:
                return model, [f"adapted model: {keep.path}, of this data set"]
        model, notes = _made(method, voxels, launch, told, sights, seed, say, progress)
        model.about["training"]["key"] = wanted
        write_model(keep.path, model, keep.force or keep.reuse)
        return read_model(keep.path), [*notes, f"adapted model: {keep.path}"]


def _made(method: Method, voxels: Any, launch: Launch, told: Told, sights: Sights, seed: int,
          say: Callable[[str], None] | None, progress: Callable[[int, int], None] | None) -> tuple[Model, list[str]]:  # fmt: skip
    say = say or (lambda _: None)
    say(f"{method.name}: learning the population from the signals")
    population, notes = population_of(voxels, launch, told, seed)
    population.about["signals_sha256"] = voxels.signals_sha256
    say(f"{method.name}: learning from {sights.sights:,} voxels drawn from it")
    cpu = Launch("cpu", launch.threads)
    model = method.load_adapting().adapt(population, general_model(), sights, seed, cpu, progress)
    model.about["ivimsc_version"] = __version__
    return model, notes


def _key(method: Method, voxels: Any, told: Told, sights: Sights, seed: int) -> dict[str, Any]:
    """What a kept model depends on: data, b-values, noise level, training."""
    return {
        "method": method.name, "signals_sha256": voxels.signals_sha256, "bvalues": [float(b) for b in voxels.bvalues],
        "sigma": told.sigma, "snr": told.snr, "seed": seed, "version": __version__, **vars(sights),
    }  # fmt: skip
