"""What a model was trained on, as the outcome 7 asks it of every voxel, and what is shown of the voxels that fail."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.physics.parameters import BY_KEY

__all__ = ["LARGEST_S0", "Limits", "are_outside", "largest_of", "limits_of", "shown"]

LARGEST_S0 = 10.0  # S0 of a voxel of outcome 7 is at most this many times its largest signal
NAMES = ("f", "D", "Dstar")


class Limits(NamedTuple):
    """The limits of one model; float32.

    low, high (b,): signals over S0 of the training; trained (3, 2): least and largest f, D and D* [µm²/ms] of the training,
    infinite where it had none; shown (3, 2): what the maps of voxels of outcome 7 keep to.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    trained: NDArray[np.float32]
    shown: NDArray[np.float32]


def limits_of(reach: Mapping[str, Any], n_b: int, ends: NDArray[np.float32] | None = None) -> Limits:
    """The limits that a model file tells.

    Parameters
    ----------
    reach : the ``range`` of the model file: ``low`` and ``high`` (b,), and ``f``, ``D``, ``Dstar`` as [least, largest]
    n_b : number of b-values
    ends : (3, 2) what f, D and D* [µm²/ms] of the model can be at all, where it is not trained on parameters; by default
        the usual bounds of each

    Returns
    -------
    Limits
        `shown` is the range of the training, or `ends`, widened by half its width to either side
    """
    signals = (np.full(n_b, reach.get(name, end), np.float32) for name, end in (("low", -np.inf), ("high", np.inf)))
    usual = [(p.lower * p.display_scale, p.upper * p.display_scale) for p in (BY_KEY["d"], BY_KEY["dstar"])]
    usual = np.array([(BY_KEY["f"].lower, BY_KEY["f"].upper), *usual]) if ends is None else np.asarray(ends, float)
    trained = np.array([reach.get(name, (-np.inf, np.inf)) for name in NAMES], np.float32)
    range_ = np.array([reach.get(name, pair) for name, pair in zip(NAMES, usual, strict=True)])
    half = 0.5 * (range_[:, 1] - range_[:, 0])
    shown = np.stack([range_[:, 0] - half, range_[:, 1] + half], axis=1)
    return Limits(*signals, trained, shown.astype(np.float32))


def are_outside(y: NDArray[np.float32], parameters: NDArray[np.float32], limits: Limits) -> NDArray[np.bool_]:
    """Voxels (voxel,) outside the training by their signals y (voxel, b) over S0, or by their estimates.

    parameters (voxel, 4) are S0/s0, f, D, D* [µm²/ms]. Outside are an estimate beyond the range of the training, one that no
    tissue has (f or a diffusivity below 0, f above 1, no positive S0, or one above `LARGEST_S0` × the largest signal), and a
    network without any code (f is NaN).
    """
    scale, values = parameters[:, 0], parameters[:, 1:]
    low, high = limits.trained.T
    with np.errstate(invalid="ignore"):
        outside = ((y < limits.low) | (y > limits.high)).any(1) | ((values < low) | (values > high)).any(1)
        sane = (values[:, 0] <= 1) & (scale > 0) & (scale <= np.float32(LARGEST_S0) * largest_of(y))
        return outside | (values < 0).any(1) | ~sane


def largest_of(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest signal (voxel,) of signals y (voxel, b) over s0, which is a signal, too."""
    return y.max(1, initial=1)


def shown(parameters: NDArray[np.float32], largest: NDArray[np.float32], limits: Limits) -> NDArray[np.float32]:
    """S0/s0, f, D, D* (voxel, 4) of voxels of outcome 7, as a viewer can show them.

    S0 is clipped to 0..`LARGEST_S0` × `largest` (voxel,), the largest signal over s0; f, D and D* to `limits.shown`. What
    is NaN becomes the largest signal, and the middle of the range.
    """
    low, high = limits.shown.T
    ends = np.zeros_like(largest), np.float32(LARGEST_S0) * largest
    scale = np.where(np.isnan(parameters[:, 0]), largest, np.clip(parameters[:, 0], *ends))
    values = parameters[:, 1:]
    values = np.where(np.isnan(values), np.float32(0.5) * (low + high), np.clip(values, low, high))
    return np.column_stack([scale, values]).astype(np.float32)
