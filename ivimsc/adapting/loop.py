"""Training on voxels that are drawn anew at every step: Adam, a cosine rise and decay of the rate. In numpy, without torch.

A run is a function of its seed and of the population: neither threads nor interruptions change a weight, because sums are
taken in fixed parts, and an interrupted run starts again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.population import Population
from ivimsc.errors import InputError, IvimscError
from ivimsc.models.front import Front
from ivimsc.options import option

__all__ = ["SIGHTS", "Adam", "KnownS0", "Learner", "Sights", "inputs_and_truth", "learn"]

Report = Callable[[int, int], None]
SIGHTS = 3_000_000  # training voxels; half of them leave 4 % more error in D (docs/learning.md)
EPS, BETA1, BETA2 = 1e-8, 0.9, 0.99
DRAWN = 16_384  # voxels drawn at a time
SMOOTH = 0.98  # of the mean squared errors, from step to step: what the loss divides by
LARGEST = 10.0  # norm of the slopes of a step
LAST = 0.2  # the part of the steps at the end whose error is told


@dataclass(frozen=True)
class Sights:
    """How long to learn, and how."""

    sights: int = option(SIGHTS, "training voxels that are seen, each drawn anew")
    batch: int = option(1024, "voxels per step")
    rate: float = option(2e-3, "learning rate of Adam, at its highest")
    rise: float = option(0.05, "part of the steps over which the rate rises")

    def __post_init__(self) -> None:
        for name, least in (("sights", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise InputError(f"option {name}: found {getattr(self, name)}, expected at least {least}")
        if not 0 < self.rate < np.inf:
            raise InputError(f"option rate: found {self.rate:g}, expected a number > 0")
        if not 0 <= self.rise < 1:
            raise InputError(f"option rise: found {self.rise:g}, expected 0 to below 1")

    @property
    def steps(self) -> int:
        """Number of steps."""
        return -(-self.sights // self.batch)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        part, rise = (step + 0.5) / self.steps, self.rise
        if part < rise:
            return self.rate * 0.5 * (1 - np.cos(np.pi * part / rise))
        return self.rate * 0.5 * (1 + np.cos(np.pi * (part - rise) / (1 - rise)))


class KnownS0(NamedTuple):
    """What makes the inputs of a network where S0 is known, as `models.front.Front` where it is not: project (r, b) times the signals."""

    project: NDArray[np.float32]

    def inputs(self, signals: NDArray[np.float32], sigma: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The inputs (voxel, r) of signals (voxel, b) over S0, and ones (voxel,); `sigma` is not used."""
        return signals @ self.project.T, np.ones(len(signals), np.float32)


class Learner(Protocol):
    """A network that learns. It has `parameters`, name -> array, which are changed in place."""

    parameters: dict[str, NDArray[np.float32]]

    def step(self, inputs: NDArray, truth: NDArray, scale: NDArray) -> tuple[NDArray, dict[str, NDArray]]:
        """What the network gives (voxel, 4) for inputs (voxel, input), and the slopes of its loss in the parameters.

        The loss is the mean over voxels and outputs of (output - truth)² / scale, truth (voxel, 4) and scale (4,).
        """
        ...


class Adam:
    """Adam (Kingma and Ba, ICLR 2015) over named arrays, which are changed in place."""

    def __init__(self, parameters: dict[str, NDArray[np.float32]]) -> None:
        self.parameters, self.count = parameters, 0
        self._first = {name: np.zeros_like(array) for name, array in parameters.items()}
        self._second = {name: np.zeros_like(array) for name, array in parameters.items()}

    def step(self, slopes: dict[str, NDArray], rate: float) -> None:
        """One step down the slopes, which are cut off at a norm of `LARGEST`."""
        norm = float(np.sqrt(sum(float(np.vdot(s, s)) for s in slopes.values())))
        if not np.isfinite(norm):
            raise IvimscError("training: found slopes that are no numbers, expected finite ones: a lower rate may help")
        cut, self.count = min(1.0, LARGEST / max(norm, 1e-30)), self.count + 1
        size, root = np.float32(rate / (1 - BETA1**self.count)), np.float32(np.sqrt(1 - BETA2**self.count))
        for name, array in self.parameters.items():
            slope, first, second = slopes[name] * np.float32(cut), self._first[name], self._second[name]
            first += np.float32(1 - BETA1) * (slope - first)
            second += np.float32(1 - BETA2) * (slope * slope - second)
            array -= size * first / (np.sqrt(second) / root + np.float32(EPS))


def inputs_and_truth(front: Front | KnownS0, population: Population, n: int, generator: np.random.Generator,
                     clean: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Training voxels as a network takes them: inputs (voxel, input), and truth (voxel, 4) of S0 over its linear estimate, f, D, D*.

    Voxels whose linear estimate of S0 is no signal at all are left out.
    """
    drawn = population.draw(n, generator, clean)
    inputs, base = front.inputs(drawn.signals, drawn.sigma)
    good = base > 0
    truth = np.column_stack([1 / np.where(good, base, 1), drawn.truth]).astype(np.float32)
    return np.ascontiguousarray(inputs[good]), np.ascontiguousarray(truth[good])


def learn(
    learner: Learner,
    front: Front | KnownS0,
    population: Population,
    sights: Sights,
    seed: int,
    report: Report | None = None,
) -> dict[str, list[float]]:
    """Teach `learner` in place.

    Parameters
    ----------
    learner : the network
    front : makes its inputs of signals
    population : of the training voxels
    sights : how long, and how
    seed : keys everything that is drawn
    report : called with (voxels seen, voxels in all)

    Returns
    -------
    ``{"train": [mean loss of the steps, in tenths of the run]}``: 1 is what a constant guess reaches

    Raises
    ------
    IvimscError
        if a slope is no number
    """
    generator, clean, adam = np.random.Generator(np.random.Philox(seed)), population.clean(), Adam(learner.parameters)
    spread = np.append(0.01, population.theta.var(0)).astype(
        np.float32
    )  # S0 over its linear estimate: 1 to some tenths
    spread[0] = np.inf if population.s0_known else spread[0]  # an error over infinity has no slope
    scale, losses, at = spread.copy(), np.zeros(sights.steps), DRAWN
    inputs = truth = np.empty((0, 0), np.float32)
    for step in range(sights.steps):
        if at + sights.batch > len(inputs):
            inputs, truth = inputs_and_truth(front, population, max(DRAWN, sights.batch), generator, clean)
            at = 0
        x, y = inputs[at : at + sights.batch], truth[at : at + sights.batch]
        at += sights.batch
        outputs, slopes = learner.step(x, y, scale)
        squares = np.mean(np.square(outputs - y), axis=0)
        losses[step] = np.mean(squares[1:] / np.maximum(spread[1:], 1e-12))
        scale = np.maximum(SMOOTH * scale + (1 - SMOOTH) * np.minimum(squares, 4 * spread), 1e-12).astype(np.float32)
        adam.step(slopes, sights.rate_at(step))
        if report and step % 64 == 0:
            report(step * sights.batch, sights.sights)
    return {"train": [float(part.mean()) for part in np.array_split(losses, min(10, len(losses)))]}
