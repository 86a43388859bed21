"""What the learned methods share when they fit: signals over S0 in, estimates with their outcomes out. No torch."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.models.file import Model
from ivimsc.outcome import Outcome

__all__ = ["LayerFitter", "LayerOptions", "Signals", "require_model", "to_estimates"]


def require_model(model: Model | None, method: str, path: str | None) -> Model:
    """The model that was read for `method`, or an InputError that says what is missing."""
    if model is None:
        found = "none" if path is None else f"{path}, not read by the caller"
        raise InputError(f"option model of {method}: found {found}, expected --model MODEL.safetensors: `ivimsc train {method}` makes one")  # fmt: skip
    if model.method != method:
        raise InputError(f"{model.source}: found a model of {model.method}, expected one of {method}")
    return model


class Signals:
    """Signals over S0 as a model takes them.

    S0 is `s0` where it is given; else the signal at b = 0, of these voxels or of the data that they were picked from.

    Attributes
    ----------
    columns (b,) : the model's b-values among those of the voxels; zero : that of S0, or -1 where it is no column
    """

    def __init__(self, voxels: Any, model: Model, s0: float | None) -> None:
        if s0 is not None and not 0 < s0 < np.inf:
            raise InputError(f"option s0 of {model.method}: found {s0:g}, expected a number > 0 or none (b = 0 of the data)")  # fmt: skip
        self.columns, self.s0 = model.columns(voxels.bvalues), s0
        self._zero, self._whole = np.flatnonzero(voxels.bvalues == 0)[:1], None
        if s0 is None and not len(self._zero):
            self._whole = getattr(voxels, "whole", None)
            zero = [] if self._whole is None else np.flatnonzero(self._whole.bvalues == 0)[:1]
            if not len(zero):
                raise InputError(f"option s0 of {model.method}: found none, and no b = 0 in the data, expected --set s0=VALUE")  # fmt: skip
            self._zero = zero
        self.zero = int(self._zero[0]) if s0 is None and self._whole is None else -1
        self.note = "S0: signal at b = 0" if s0 is None else f"S0: {s0:g} (given)"

    def bases(self, n: int, first: int) -> NDArray[np.float32]:
        """S0 (voxel,) of the n voxels from number `first` on, where it is no column of their signals."""
        if self.s0 is not None:
            return np.full(n, self.s0, np.float32)
        return np.array(self._whole.read(first, first + n)[:, self._zero[0]], np.float32)

    def __call__(self, signals: NDArray[np.float32], first: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Signals (voxel, b) of the voxels from number `first` on, over S0, and S0 (voxel,); NaN and 0 where they are bad."""
        s0 = signals[:, self.zero].copy() if self.zero >= 0 else self.bases(len(signals), first)
        chosen = signals[:, self.columns]
        good = np.isfinite(chosen).all(1) & np.isfinite(s0) & (s0 > 0) & (chosen != 0).any(1)
        s0[~good] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.where(good[:, None], chosen / s0[:, None], np.float32(np.nan))
        return np.ascontiguousarray(y, np.float32), s0


def to_estimates(y: NDArray[np.float32], s0: NDArray[np.float32], parameters: NDArray[np.float32],
                 bvalues: NDArray[np.float64], reach: dict[str, Any], **more: Any) -> Estimates:  # fmt: skip
    """Estimates of signals `y` (voxel, b) over `s0` (voxel,) from S0/s0, f, D, D* (voxel, 4) [µm²/ms].

    Outcomes: 5 for bad signals (s0 = 0); 4 where D* is NaN (no perfusion part); 2 where D is (no tissue part); 7 for
    signals outside `reach` (low, high: those of the training, per b), and for parameters that no tissue has.
    """
    scale, f, D, Dstar = (column.astype(np.float32) for column in parameters.T)
    b = (bvalues * 1e-3).astype(np.float32)[:, None]
    tissue, blood = (np.where(np.isnan(d), 0, np.exp(-b * d)) for d in (D, Dstar))
    model = scale * ((1 - f) * tissue + f * blood)
    rmse = np.sqrt(np.mean((model.T - y) ** 2, axis=1)) * s0
    outcome = np.full(len(y), Outcome.CONVERGED, np.uint8)
    outside = (f < 0) | (f > 1) | (D < 0) | (Dstar < 0)
    if "low" in reach:
        outside |= ((y < np.float32(reach["low"])) | (y > np.float32(reach["high"]))).any(1)
    outcome[outside] = Outcome.OUTSIDE_TRAINING
    outcome[np.isnan(Dstar)] = Outcome.DSTAR_UNIDENTIFIABLE
    outcome[np.isnan(D)] = Outcome.AT_BOUND
    bad = s0 == 0
    values = [scale * s0, f, D * np.float32(1e-3), Dstar * np.float32(1e-3), rmse]
    for array in values:
        array[bad] = np.nan
    outcome[bad] = Outcome.BAD_SIGNAL
    return Estimates(*values, outcome, **more)


@dataclass(frozen=True)
class LayerOptions:
    """Options of the methods that are plain layers: mlp and ivimnet."""

    model: str | None = field(default=None, metadata={"help": "model file (.safetensors) of ivimsc train"})
    s0: float | None = field(default=None, metadata={"help": "S0 where it is known (none: the signal at b = 0)"})


class LayerFitter:
    """A trained network of plain layers made ready for one data set; a method says what the layers do (`parameters`)."""

    dictionary = None

    def __init__(self, voxels: Any, model: Model, options: LayerOptions) -> None:
        self.model, self.signals = model, Signals(voxels, model, options.s0)
        self.bvalues = voxels.bvalues[self.signals.columns]
        self.notes = [f"model: {model.source} (SHA-256 {model.sha256[:12]})", self.signals.note]

    def parameters(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """S0/s0, f, D, D* (voxel, 4) [µm²/ms] of signals y (voxel, b) over s0."""
        raise NotImplementedError

    def fit(self, signals: NDArray[np.float32], first: int = 0) -> Estimates:
        """Fit signals (voxel, b); `first` is the number of the first voxel in the data set."""
        y, s0 = self.signals(np.asarray(signals, np.float32), first)
        return to_estimates(y, s0, self.parameters(y), self.bvalues, self.model.about.get("range", {}))
