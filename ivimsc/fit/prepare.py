"""A fit made ready, the same way for arrays and for files: options, what they name, the noise level, the method, the notes."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.loop import SIGHTS, Sights
from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fit.adapt import Adapting, Keep, adapted_model, wants_adapting
from ivimsc.fit.inputs import identity_of, inputs_of
from ivimsc.fit.misfits import Standard, marked, standard_of
from ivimsc.fit.noise import FEWEST, NoiseLevel, measure_noise
from ivimsc.fit.noise_map import InUnitsOfNoise, NoiseMap, noise_map_of
from ivimsc.fit.population import Told
from ivimsc.fitter import Fitter
from ivimsc.methods import Inputs, Method, make_options
from ivimsc.voxels import VoxelSource

__all__ = ["Prepared", "prepare"]


class Noise:
    """The noise level of a data set, measured when it is first asked for."""

    def __init__(self, voxels: VoxelSource, launch: Launch) -> None:
        self._voxels, self._launch, self._level = voxels, launch, None

    def level(self) -> NoiseLevel:
        """The noise level; InputError where the data do not tell it."""
        if self._level is None:
            self._level = measure_noise(self._voxels, self._launch)
        return self._level

    def known(self) -> NoiseLevel | None:
        """The noise level where enough voxels tell it, else None."""
        if len(self._voxels) < FEWEST:
            return None
        try:
            level = self.level()
        except InputError:
            return None
        return level if level.voxels >= FEWEST else None


class Prepared(NamedTuple):
    """A fit made ready.

    Attributes
    ----------
    fitter : the method, ready for the data set
    options : of the method
    notes : what is told of the data, the device, the method's choices and the noise
    standard : what the residuals are held against
    inputs : what the method was given beside its options and the voxels
    noise_map : the noise of each voxel, where it is not one number for all
    """

    fitter: Fitter
    options: Any
    notes: list[str]
    standard: Standard
    inputs: Inputs
    noise_map: NoiseMap | None = None

    def identity(self) -> dict[str, Any]:
        """All that the results depend on beside the voxels: options, and checksums of the files that they name."""
        own = {**vars(self.options), **identity_of(self.inputs), **self.fitter.identity}
        return own if self.noise_map is None else own | self.noise_map.identity

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels (see `Fitter.fit`), and mark those that the model does not explain."""
        noise = self.noise_map
        if noise is not None:
            signals, s0 = noise.divided(signals, first), None if s0 is None else noise.divided(s0, first)
        estimates = self.fitter.fit(signals, first, s0)
        estimates = replace(marked(estimates, signals, self.standard, self.fitter.launch), spread=None)
        return estimates if noise is None else noise.restored(estimates, first)


def prepare(
    method: Method,
    settings: Mapping[str, Any],
    voxels: VoxelSource,
    launch: Launch,
    keep: Keep | None = None,
    say: Callable[[str], None] | None = None,
) -> Prepared:
    """Make a fit ready; the method looks at the whole data set here.

    Parameters
    ----------
    method, settings : the record of the method, and its options, typed or as text; sigma may be a map of the noise
    voxels : the data, with ``attrs["notes"]`` where something was noted while they were read
    launch : where to run
    keep : where a network that is adapted to the data is kept; None: nowhere
    say : called with what takes a while, before it is done

    Raises
    ------
    InputError
        for bad options, for files that they name and that cannot be used, and for data that the method cannot fit
    """
    module = method.load()
    noise_map = noise_map_of(settings, voxels) if "sigma" in _names_of(module.Options) else None
    if noise_map is not None:
        settings, voxels = {**settings, "sigma": 1.0}, InUnitsOfNoise(voxels, noise_map)
    noise = Noise(voxels, launch)
    options = make_options(module, settings)
    learned: list[str] = []
    if wants_adapting(method, options):
        model, learned = adapted_model(method, voxels, launch, _wanted(options), keep, say)
        inputs = Inputs({"model": model}, lambda: noise.level().of_signals)
    else:
        inputs = inputs_of(method, options, lambda: noise.level().of_signals)
    fitter = module.prepare(voxels, options, launch, inputs)
    notes = [*voxels.attrs.get("notes", []), *fitter.launch.notes, *learned, *fitter.notes]
    given = getattr(options, "sigma", None)
    if isinstance(given, int | float):
        sigma = float(given)
        notes += [] if noise_map is None else noise_map.notes()
    else:
        level = noise.known()
        sigma = 0.0 if level is None else level.sigma
        notes += [] if level is None else _of_noise(level, method, voxels)
    return Prepared(
        fitter, options, notes, standard_of(fitter, options, voxels, sigma, method.trained), inputs, noise_map
    )


def _of_noise(level: NoiseLevel, method: Method, voxels: VoxelSource) -> list[str]:
    """What the noise level and the residuals behind it say; their pattern where the method takes two exponentials for granted."""
    notes, pattern = [level.sentence()], level.pattern
    if pattern is not None and pattern.found and method.model in (None, "biexp"):
        notes.append(pattern.sentence(voxels.bvalues))
    return notes


def _wanted(options: Any) -> Adapting:
    """How a method's options want it to be adapted."""
    sights = Sights(getattr(options, "sights", SIGHTS))
    return Adapting(Told(options.sigma, getattr(options, "snr", None), options.s0), sights, getattr(options, "seed", 0))


def _names_of(options: type) -> set[str]:
    return {field.name for field in fields(options)}
