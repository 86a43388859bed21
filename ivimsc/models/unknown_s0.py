"""What the networks share that find S0 themselves for one protocol: from signals to their inputs, and from what they give to estimates."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.device.verdict import evidence_of
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.models.estimates import to_estimates, usable
from ivimsc.models.file import Model
from ivimsc.models.front import Front
from ivimsc.models.limits import limits_of
from ivimsc.models.spread import with_errors
from ivimsc.models.typical import are_strange
from ivimsc.voxels import VoxelSource

__all__ = ["Inputs", "UnknownS0"]


class Inputs(NamedTuple):
    """Voxels as a network takes them: signals (voxel, b) at its b-values; inputs (voxel, input), 0 where there are none; base
    (voxel,) the linear estimate of S0; good, told (voxel,): the signal can be used; it has a linear S0 above 0.
    """

    signals: NDArray[np.float32]
    inputs: NDArray[np.float32]
    base: NDArray[np.float32]
    good: NDArray[np.bool_]
    told: NDArray[np.bool_]


class UnknownS0:
    """A data set as such a network sees it.

    Parameters
    ----------
    voxels, model, options : the data, the network, and the method's options: s0, sigma and perhaps snr
    sigma : noise SD of the signals, where the options do not tell the noise
    launch : threads to run on

    Attributes
    ----------
    columns, bvalues, weights : (b,) places among the b-values of the voxels; b-values [s/mm²]; images behind each
    evidence : what the data know of a voxel
    notes : what was chosen, for the user

    Raises
    ------
    InputError
        for other b-values than the model's, and for a given S0
    """

    def __init__(self, voxels: VoxelSource, model: Model, options: Any, sigma: float | None, launch: Launch) -> None:
        if options.s0 is not None:
            raise InputError(f"option s0 of {model.method}: found {options.s0:g}, expected none: {model.source} finds S0")  # fmt: skip
        self.model, self.launch, self.front = model, launch, Front.of(model.arrays)
        self.columns = model.columns(voxels.bvalues)
        self.bvalues, self.weights = voxels.bvalues[self.columns], voxels.weights[self.columns]
        self.limits = limits_of(model.about.get("range", {}), len(self.bvalues))
        snr = getattr(options, "snr", None)
        quiet = float(np.sqrt(np.mean(1 / voxels.weights)))  # noise of the signals over that of an image
        one = options.sigma or (None if sigma is None else sigma / quiet)
        self._noise = -1 / snr if snr else float(one)
        self.evidence = evidence_of(self.bvalues, None if snr else one, weights=self.weights)
        how = f"SNR: {snr:g} (given, of every voxel)" if snr else f"noise SD: {one:.4g} ({'given' if options.sigma else 'from the residuals of nlls'})"  # fmt: skip
        self.notes = [f"{how}; S0 found by the model", *self._on_weights()]

    def _on_weights(self) -> list[str]:
        learned = np.asarray(self.model.about.get("weights", []), np.float64)
        if learned.shape != self.weights.shape or np.allclose(learned / learned[0], self.weights / self.weights[0]):
            return []
        return ["warning: the model learned from other numbers of images per b-value; it takes these for those"]

    def inputs(self, signals: NDArray[np.float32]) -> Inputs:
        """What the network takes of signals (voxel, b)."""
        signals = np.ascontiguousarray(np.asarray(signals, np.float32)[:, self.columns])
        good = usable(signals)
        inputs, base = self.front.inputs(signals, self._noise, self.launch)
        told = good & (base > 0) & np.isfinite(base)
        inputs[~told] = 0
        return Inputs(signals, inputs, base, good, told)

    def estimates(self, seen: Inputs, values: NDArray[np.float32]) -> Estimates:
        """Estimates from S0 over its linear estimate, f, D, D* (voxel, 4) [µm²/ms] as the network gives them."""
        values = np.where(seen.told[:, None], values, np.float32(np.nan))
        base = np.where(seen.good, np.where(seen.told, seen.base, seen.signals[:, 0]), 0).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.where(seen.good[:, None], seen.signals / base[:, None], np.float32(np.nan))
        outside = ~seen.told | self.front.outside(seen.inputs) | are_strange(self.model, seen.inputs, self.launch)
        found = to_estimates(y, base, values, self.bvalues, self.limits, outside, self.weights)
        return with_errors(found, self.model, seen.inputs, values, self.launch)
