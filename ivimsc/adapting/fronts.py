"""The front of a network (`models.front`) for a population, and what its training spans."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.loop import KnownS0
from ivimsc.adapting.population import Population
from ivimsc.models.front import Front

__all__ = ["about_of", "front_of"]

ROOM = 0.2  # of ln(σ/S0) to either side: the linear S0 is off by some tenths
RANGE = 200_000  # voxels whose signals tell the range of the training, where S0 is known
LEAST_SD = 0.3  # of ln(σ/S0): less would make the input of a voxel of other noise large


def front_of(population: Population, project: NDArray | None = None, origin: NDArray | None = None) -> Front | KnownS0:
    """A front whose noise has the range of the population; where S0 is known, the coordinates alone.

    Parameters
    ----------
    population : of the training voxels
    project : (r, b) the coordinates; None: the signals themselves
    origin : (b,) the linear estimate of S0; None: the one of the least squared error for this population
    """
    project = np.eye(len(population.bvalues)) if project is None else project
    if population.s0_known:
        return KnownS0(np.ascontiguousarray(project, np.float32))
    if origin is None:
        clean = population.clean().astype(np.float64)
        noise = 1 / population.weights / np.median(population.ratios) ** 2
        origin = np.linalg.solve(clean.T @ clean / len(clean) + np.diag(noise), clean.mean(0))
    logs, (low, high) = -np.log(population.ratios), population.reach
    noise = np.array([-np.log(high) - ROOM, -np.log(low) + ROOM, logs.mean(), np.hypot(logs.std(), LEAST_SD)])
    return Front(*(np.ascontiguousarray(a, np.float32) for a in (project, origin, noise)))


def about_of(population: Population, options: dict[str, Any], training: dict[str, Any],
             history: dict[str, list[float]]) -> dict[str, Any]:  # fmt: skip
    """The metadata of a model that learned from a population.

    Parameters
    ----------
    population : of the training voxels
    options, training, history : of the network, and how it was taught
    """
    low, high = population.theta.min(0), population.theta.max(0)
    spans = {key: [float(a), float(b)] for key, a, b in zip(("f", "D", "Dstar"), low, high, strict=True)}
    reach: dict[str, Any] = {"SNR": list(population.reach)}
    if population.s0_known:
        signals = population.draw(RANGE, np.random.Generator(np.random.Philox(RANGE))).signals
        reach = {"low": signals.min(0).astype(float).tolist(), "high": signals.max(0).astype(float).tolist()}
    return {
        "bvalues": population.bvalues.tolist(),
        "weights": population.weights.tolist(),
        "s0": "known" if population.s0_known else "free",
        "options": options,
        "training": {**population.about, **training},
        "history": history,
        "range": reach | spans,
    }
