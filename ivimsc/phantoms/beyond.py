"""Any phantom under another signal model: `with_model` adds K or a third pool to its truth, or takes the blood away.

What is added is drawn voxel by voxel from uniform distributions, keyed by the seed and the voxel: K 0.2..1.4; the fast pool
f2 0.05..0.2 of what is not f, D*2 150..500 µm²/ms. D* of the intermediate pool is at most 60 µm²/ms.
The model "mixture" draws one of the four models for every voxel; it is then the tissue of the voxel.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import KERNEL
from ivimsc.errors import InputError
from ivimsc.numerics.random_numbers import TRUTH, uniforms
from ivimsc.phantoms import Block, Phantom
from ivimsc.physics.models import MODELS

__all__ = ["MIXTURE", "SIMULATED", "with_model"]

MIXTURE = "mixture"
SIMULATED = (*MODELS, MIXTURE)
K, F2, DSTAR2, MOST_DSTAR = (0.2, 1.4), (0.05, 0.2), (150e-3, 500e-3), 60e-3


def with_model(phantom: Phantom, model: str, seed: int) -> Phantom:
    """A phantom under a signal model.

    Parameters
    ----------
    phantom : with the truth of equation (1)
    model : one of `SIMULATED`; "biexp" leaves the phantom as it is
    seed : keys what is added

    Raises
    ------
    InputError
        for an unknown model
    """
    if model not in SIMULATED:
        raise InputError(f"model: found {model!r}, expected one of {', '.join(SIMULATED)}")
    return phantom if model == "biexp" else _Beyond(phantom, model, seed)


class _Beyond:
    """The truth of a phantom under another model: a `Phantom`."""

    def __init__(self, phantom: Phantom, model: str, seed: int) -> None:
        self.geometry = phantom.geometry
        self.tissue_names = dict(enumerate(MODELS, start=1)) if model == MIXTURE else phantom.tissue_names
        self._phantom, self._model, self._seed = phantom, model, seed

    def __len__(self) -> int:
        return len(self._phantom)

    def read(self, start: int, stop: int) -> Block:
        """Truth of the voxels start..stop, with the keys of the model; with all keys, NaN where a voxel has none, in a mixture."""
        truth, tissue, index = self._phantom.read(start, stop)
        draws = _draws(self._seed, start, len(tissue))
        values = dict(truth) | {"k": _between(K, draws[0]), "dstar2": _between(DSTAR2, draws[2])}
        values["f2"] = (_between(F2, draws[1]) * (1 - truth["f"])).astype(np.float32)
        bounded = np.minimum(truth["dstar"], np.float32(MOST_DSTAR))
        if self._model != MIXTURE:
            values["dstar"] = bounded if self._model == "triexp" else truth["dstar"]
            return Block({key: values[key] for key in MODELS[self._model].keys}, tissue, index)
        tissue = (1 + np.floor(draws[3] * len(MODELS))).astype(np.uint8)
        of = dict(zip(MODELS, range(1, len(MODELS) + 1), strict=True))
        values["dstar"] = np.where(tissue == of["triexp"], bounded, truth["dstar"])
        for key, models in (("f", ("mono",)), ("dstar", ("mono",)), ("k", ("mono", "biexp", "triexp")), ("f2", ("mono", "biexp", "kurtosis")), ("dstar2", ("mono", "biexp", "kurtosis"))):  # fmt: skip
            none = 0.0 if key in ("f", "k", "f2") else np.nan
            values[key] = np.where(np.isin(tissue, [of[m] for m in models]), none, values[key]).astype(np.float32)
        return Block(values, tissue, index)


def _between(ends: tuple[float, float], draws: NDArray[np.float64]) -> NDArray[np.float32]:
    return (ends[0] + (ends[1] - ends[0]) * draws).astype(np.float32)


def _draws(seed: int, start: int, n: int) -> NDArray[np.float64]:
    """Uniform draws (4, voxel) in 0..1 of the voxels from `start` on."""
    draws = np.empty((4, n))
    _fill(seed, start, draws)
    return draws


@njit(**KERNEL)
def _fill(seed, start, draws):
    for i in range(draws.shape[1]):
        draws[0, i], draws[1, i] = uniforms(seed, TRUTH, start + i, 1000)  # the phantoms use the first few numbers
        draws[2, i], draws[3, i] = uniforms(seed, TRUTH, start + i, 1001)
