"""SCDNN adapted to a data set: from the general model, or the physical dictionary, to a network for one population.

The general model is made for one protocol and the noise level in the middle of the data: that is the start. Its units then learn from
training voxels of the population. They take one input more, the noise level of the voxel. Where the protocol is not one
of the general model, and where S0 is known, the start is the physical dictionary.
"""

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.beside import learn_beside
from ivimsc.adapting.fronts import about_of, front_of
from ivimsc.adapting.loop import Report, Sights, learn
from ivimsc.adapting.population import Population
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods.scdnn.codes import decode, run_units
from ivimsc.methods.scdnn.general.levels import FEWEST, Level, require_protocol
from ivimsc.methods.scdnn.slopes import Slopes, learn_kernel
from ivimsc.methods.scdnn.units import Weights, blocks_of
from ivimsc.models import Model
from ivimsc.physics.dictionary import make_dictionary
from ivimsc.physics.parameters import BY_KEY

__all__ = ["adapt"]

ATOMS, UNITS = 256, 4  # where the start is the physical dictionary; as many as the general model has
LOWEST_D = 1e-5  # mm²/s: a logarithmic grid cannot start at 0
SLOPES = ("w", "phi", "thresholds")


class UnitsLearner:
    """The units of a factored SCDNN: parameters w, phi (unit, input, atom) and thresholds (unit, atom)."""

    def __init__(self, weights: Weights, launch: Launch) -> None:
        self.launch, self._weights = launch, weights
        self.parameters = {name: np.array(getattr(weights, name), np.float32) for name in SLOPES}

    @property
    def weights(self) -> Weights:
        """The weights as they are now."""
        return self._weights._replace(**self.parameters)

    def step(self, inputs: NDArray, truth: NDArray, scale: NDArray) -> tuple[NDArray, dict[str, NDArray]]:
        """See `adapting.loop.Learner`."""
        blocks, outputs = blocks_of(len(inputs)), np.empty((len(inputs), 4), np.float32)
        shares = [np.empty((blocks, *self.parameters[name].shape), np.float32) for name in SLOPES]
        slopes = Slopes(*shares, np.empty((blocks, len(self._weights.grid)), np.float32))
        factor = (2 / (4 * len(inputs) * scale)).astype(np.float32)
        run_blocks(self.launch, learn_kernel, blocks, inputs, truth, factor, self.weights, outputs, slopes, block=1)
        return outputs, {name: share.sum(0) for name, share in zip(SLOPES, shares, strict=True)}

    def outputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """S0 over its linear estimate, f, D, D* (voxel, 4) of inputs (voxel, input)."""
        sums, _ = run_units(self.launch, inputs, self.weights, dense=False)
        values = decode(sums)
        values[:, 0] = sums[:, 0] + sums[:, 2]
        return values


def adapt(population: Population, general: Model, sights: Sights, seed: int, launch: Launch,
          report: Report | None = None) -> Model:  # fmt: skip
    """A model for the population of a data set.

    Parameters
    ----------
    population : that the training voxels are drawn from
    general : the general model, which is the start
    sights, seed : how long to learn; keys all draws
    launch : threads of the CPU
    report : called with (voxels seen, voxels in all)

    Raises
    ------
    IvimscError
        if a slope is no number
    """
    within = not population.s0_known and len(population.bvalues) >= FEWEST and not require_protocol(population.bvalues, general.source)  # fmt: skip
    weights, project, origin = _from_general(population, general) if within else _physical(population)
    front = front_of(population, project, origin)
    learner = UnitsLearner(weights if population.s0_known else _one_input_more(weights), launch)
    history = learn(learner, front, population, sights, seed, report)
    arrays = {**learner.parameters, "grid": learner.weights.grid}
    arrays |= {} if population.s0_known else front.arrays()
    arrays |= learn_beside(learner.outputs, front, population, seed, sights.sights)
    options = {"variant": "adapted", "threshold": "soft", "residual": "encoded", "form": "factored",
               "start": "general" if within else "physical"}  # fmt: skip
    about = about_of(population, options, {**vars(sights), "seed": seed}, history)
    return Model("scdnn", arrays, about, "the adapted model")


def _from_general(population: Population, general: Model) -> tuple[Weights, NDArray, NDArray]:
    """The general model's units, coordinates and linear S0 at the median noise of the data."""
    relative = 1 / np.sqrt(population.weights) / np.median(population.ratios)
    level = Level.of(general, population.bvalues * 1e-3, relative)
    return level.weights, level.project, level.origin @ level.project


def _physical(population: Population) -> tuple[Weights, None, None]:
    """Units that are the fixed-dictionary iteration on the signals themselves."""
    d, dstar, half = BY_KEY["d"], BY_KEY["dstar"], ATOMS // 2
    dictionary = make_dictionary(population.bvalues, "log", (half, half), (LOWEST_D, d.upper), (dstar.lower, dstar.upper))  # fmt: skip
    phi = np.repeat(dictionary.matrix[None].astype(np.float32), UNITS + 1, 0)
    grid = (np.concatenate([dictionary.D, dictionary.Dstar]) * 1e3).astype(np.float32)
    thresholds = np.zeros((UNITS + 1, ATOMS), np.float32)
    weights = Weights(phi / np.float32(dictionary.lipschitz), phi, thresholds, grid, half, False, False)
    return weights, None, None


def _one_input_more(weights: Weights) -> Weights:
    """The same units with one input more, which they do not use yet."""
    more = [(0, 0), (0, 1), (0, 0)]
    return weights._replace(w=np.pad(weights.w, more), phi=np.pad(weights.phi, more))
