"""An MLP that was adapted to a population, made ready for one data set: S0 unknown."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.adapting.layers import forward
from ivimsc.device.launch import Launch
from ivimsc.device.verdict import judged
from ivimsc.estimates import Estimates
from ivimsc.models import Model
from ivimsc.models.estimates import LayerOptions
from ivimsc.models.products import in_fixed_blocks
from ivimsc.models.unknown_s0 import UnknownS0
from ivimsc.voxels import VoxelSource

__all__ = ["Adapted"]


class Adapted(fitter.Fitter):
    """An adapted model; sigma: noise SD of the signals, where the options do not tell it."""

    def __init__(self, voxels: VoxelSource, model: Model, options: LayerOptions, launch: Launch, sigma: float | None) -> None:  # fmt: skip
        super().__init__(launch)
        self.model, self.data = model, UnknownS0(voxels, model, options, sigma, launch)
        self.identity = {"model_sha256": model.sha256}
        self.columns, self.evidence = self.data.columns, self.data.evidence
        self.layers = {name: array for name, array in model.arrays.items() if name.startswith(("weight", "bias"))}
        self.notes += [f"model: {model.source} (SHA-256 {model.sha256[:12]})", *self.data.notes]

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; `s0` is not used, because the model finds it."""
        seen = self.data.inputs(signals)
        values = in_fixed_blocks(seen.inputs, lambda x: forward(x, self.layers)[-1], first)
        return judged(self.launch, self.data.estimates(seen, values), self.evidence)
