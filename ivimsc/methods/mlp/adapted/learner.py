"""q-space MLP for the population of a data set, S0 unknown: the layers of `network`, taught in numpy."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.beside import learn_beside
from ivimsc.adapting.fronts import about_of, front_of
from ivimsc.adapting.layers import back, forward, new_layers
from ivimsc.adapting.loop import Report, Sights, inputs_and_truth, learn
from ivimsc.adapting.population import Population
from ivimsc.device.launch import Launch
from ivimsc.models import Model

__all__ = ["adapt"]

WIDTH, LAYERS = 150, 3  # Golkov et al.
CHECKED = 100_000  # training voxels that tell the size of inputs and errors


class LayersLearner:
    """Plain layers on standardised inputs and outputs: `parameters` weight0, bias0, …; mean and SD of both."""

    def __init__(self, inputs: NDArray[np.float32], truth: NDArray[np.float32], generator: np.random.Generator) -> None:
        self.sizes = inputs.mean(0), inputs.std(0) + np.float32(1e-6), truth.mean(0), truth.std(0) + np.float32(1e-6)
        self.parameters = new_layers((inputs.shape[1], *[WIDTH] * LAYERS, truth.shape[1]), generator)

    def step(self, inputs: NDArray, truth: NDArray, scale: NDArray) -> tuple[NDArray, dict[str, NDArray]]:
        """See `adapting.loop.Learner`."""
        mean, sd, centre, spread = self.sizes
        steps = forward((inputs - mean) / sd, self.parameters)
        outputs = steps[-1] * spread + centre
        slope = (2 / (4 * len(inputs) * scale)) * (outputs - truth) * spread  # 0 for a scale that is infinite
        return outputs, back(steps, slope.astype(np.float32), self.parameters)

    def outputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """S0 over its linear estimate, f, D, D* (voxel, 4) of inputs (voxel, input)."""
        mean, sd, centre, spread = self.sizes
        return forward((inputs - mean) / sd, self.parameters)[-1] * spread + centre

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The layers with the standardisation folded into the first and the last."""
        (mean, sd, centre, spread), arrays = self.sizes, dict(self.parameters)
        arrays["bias0"] = arrays["bias0"] - (arrays["weight0"] / sd) @ mean
        arrays["weight0"] = arrays["weight0"] / sd
        arrays[f"weight{LAYERS}"] = arrays[f"weight{LAYERS}"] * spread[:, None]
        arrays[f"bias{LAYERS}"] = arrays[f"bias{LAYERS}"] * spread + centre
        return arrays


def adapt(population: Population, general: Model, sights: Sights, seed: int, launch: Launch,
          report: Report | None = None) -> Model:  # fmt: skip
    """A model for the population of a data set; `general` and `launch` are not used (see `scdnn.adapted.learner`)."""
    generator, front = np.random.Generator(np.random.Philox([seed, 3])), front_of(population)
    clean = population.clean()
    inputs, truth = inputs_and_truth(front, population, CHECKED, generator, clean)
    learner = LayersLearner(inputs, truth, generator)
    history = learn(learner, front, population, sights, seed, report)
    arrays = learner.arrays()
    if population.s0_known:  # f, D and D* alone
        arrays |= {f"{kind}{LAYERS}": arrays[f"{kind}{LAYERS}"][1:] for kind in ("weight", "bias")}
    else:
        arrays |= front.arrays()
    arrays |= learn_beside(learner.outputs, front, population, seed, sights.sights)
    about = about_of(population, {"layers": LAYERS, "width": WIDTH}, {**vars(sights), "seed": seed}, history)
    return Model("mlp", arrays, about, "the adapted model")
