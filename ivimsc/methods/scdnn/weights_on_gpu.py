"""A trained scdnn's weights, and what surrounds its units, as `cuda.network` takes them. Loaded only where a GPU is."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.methods.scdnn.general.canonical import SNR
from ivimsc.methods.scdnn.general.levels import STEP, Level, limit_of
from ivimsc.methods.scdnn.on_gpu import General, Network, Reach, Weights
from ivimsc.models import Model
from ivimsc.models.estimates import Signals

__all__ = ["fixed_network", "general_network"]


def fixed_network(launch: Launch, model: Model, bvalues: NDArray[np.float64], signals: Signals) -> Network:
    """The network of a model for one protocol."""
    arrays = model.arrays
    weights = _weights(model, [(arrays["w"], arrays["phi"], arrays["thresholds"])])
    return Network(
        launch, weights, _reach(bvalues, model.about.get("range", {})),
        columns=np.asarray(signals.columns, np.int64), zero=signals.zero, given=signals.s0 or 0.0,
    )  # fmt: skip


def general_network(
    launch: Launch, model: Model, bvalues: NDArray[np.float64], levels: Sequence[Level], sigma: float, snr: float,
    beyond: bool,
) -> Network:  # fmt: skip
    """The network of a general model with the weights of every level of noise; sigma or snr is 0."""
    weights = _weights(model, [(level.w, level.phi, level.thresholds) for level in levels])
    general = General(
        np.stack([level.project for level in levels]), levels[0].origin, sigma, snr, math.log(SNR[0]), math.log(STEP),
        limit_of(len(bvalues)), beyond,
    )  # fmt: skip
    return Network(launch, weights, _reach(bvalues, {}), general)


def _weights(model: Model, levels: list[tuple[NDArray, ...]]) -> Weights:
    grid, options = model.arrays["grid"], model.about["options"]
    how = len(grid) // 2, options["threshold"] == "hard", options["residual"] == "input"
    return Weights(*(np.stack(arrays) for arrays in zip(*levels, strict=True)), grid.astype(np.float32), *how)


def _reach(bvalues: NDArray[np.float64], reach: dict) -> Reach:
    ends = (reach.get(name, end) for name, end in (("low", -np.inf), ("high", np.inf)))
    return Reach((bvalues * 1e-3).astype(np.float32), *(np.full(len(bvalues), end, np.float32) for end in ends))
