"""A model that was adapted to a population, made ready for one data set: one protocol, the noise levels it has seen, S0 unknown."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch, leave_gpu
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.methods.scdnn.codes import decode
from ivimsc.methods.scdnn.fitter import NetworkFitter
from ivimsc.models import Model
from ivimsc.models.unknown_s0 import UnknownS0
from ivimsc.voxels import VoxelSource

if TYPE_CHECKING:
    from ivimsc.methods.scdnn.method import Options

__all__ = ["Adapted"]


class Adapted(NetworkFitter):
    """An adapted model; sigma: noise SD of the signals, where the options do not tell it."""

    def __init__(
        self, voxels: VoxelSource, model: Model, options: "Options", launch: Launch, sigma: float | None
    ) -> None:
        if launch.on_gpu:
            launch = leave_gpu(launch, f"{model.source} is an adapted model, for which there are no CUDA kernels")
        self.data = UnknownS0(voxels, model, options, sigma, launch)
        super().__init__(model, self.data.bvalues, options, launch)
        self.columns, self.evidence = self.data.columns, self.data.evidence
        self.notes += self.data.notes

    def _fit(self, signals: NDArray[np.float32], first: int, s0: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        """`s0` is not used: the model finds S0."""
        seen = self.data.inputs(signals)
        sums, spectrum = self.code(seen.inputs, first=first)
        values = decode(sums)
        values[:, 0] = sums[:, 0] + sums[:, 2]
        return self.data.estimates(seen, values), spectrum
