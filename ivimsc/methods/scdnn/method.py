"""SCDNN at work: a trained model fits voxels, with Numba kernels and without torch.

A model is for one protocol, and then it takes signals over a known S0. Or it is general (`general`): then it takes any
protocol and noise level, and finds S0 itself. The general model that comes with the package is the default. Or it is adapted
(`adapted`) to a data set's own population, for its protocol, and finds S0 as well.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.adapting.loop import SIGHTS
from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.fitter import Inputs
from ivimsc.methods.scdnn.adapted.fitter import Adapted
from ivimsc.methods.scdnn.codes import decode
from ivimsc.methods.scdnn.fitter import NetworkFitter
from ivimsc.methods.scdnn.general.fitter import AnyProtocol
from ivimsc.methods.scdnn.layouts import layout_of, require_whole
from ivimsc.models import Model
from ivimsc.models.estimates import Signals, require_model, to_estimates
from ivimsc.models.spread import with_errors
from ivimsc.models.typical import are_strange
from ivimsc.options import expect, expect_positive, option
from ivimsc.voxels import VoxelSource

TITLE = "Sparse-coding network with a learned dictionary"
SOURCE = "the paper, section 2; unrolled iterations: Gregor and LeCun, ICML (2010)"


@dataclass(frozen=True)
class Options:
    """Options of scdnn."""

    model: str | None = option(
        "general",
        "model file (.safetensors) of ivimsc train scdnn; general: the one in the package, for any protocol; adapt: learned from the data set itself, without truth",
    )
    s0: float | None = option(
        None, "S0 where it is known (none: the signal at b = 0); general and adapted models find S0"
    )
    sigma: float | None = option(
        None, "general and adapted models: noise SD of one image in units of the signal (none: estimated from the data)"
    )
    snr: float | None = option(None, "general and adapted models: S0 over noise SD, of every voxel, instead of sigma")
    spectrum: bool = option(False, "keep the code of every voxel, as ista does")
    sights: int = option(SIGHTS, "model=adapt: training voxels that are seen, each drawn anew")
    seed: int = option(0, "model=adapt: keys all draws")

    def __post_init__(self) -> None:
        expect_positive(self, ("s0", "sigma", "snr"), "scdnn")
        if self.sigma is not None and self.snr is not None:
            raise InputError("options of scdnn: found sigma and snr together, expected one of them")
        expect(self.sights >= 1, "sights", "scdnn", self.sights, "at least 1")
        expect(self.seed >= 0, "seed", "scdnn", self.seed, "a number >= 0")


class OneProtocol(NetworkFitter):
    """A model for one protocol: signals over a known S0."""

    def __init__(self, voxels: VoxelSource, model: Model, options: Options, launch: Launch) -> None:
        adapted = (
            model.about.get("options", {}).get("variant") == "adapted"
        )  # it learned at the noise level that is given
        if not adapted and (options.sigma is not None or options.snr is not None):
            raise InputError(
                f"options of scdnn: found sigma or snr, expected neither: {model.source} is a model for a known S0"
            )
        self.signals = Signals(voxels, model, options.s0)
        super().__init__(model, voxels.bvalues[self.signals.columns], options, launch)
        self.notes += self.signals.notes
        self.evidence, self.weights, self.columns = (
            self.signals.evidence(self.bvalues, options.sigma),
            self.signals.weights,
            self.signals.columns,
        )

    def _fit(self, signals: NDArray[np.float32], first: int, s0: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        y, base = self.signals(signals, s0)
        sums, spectrum = self.code(y, first=first)
        values = decode(sums)
        strange = are_strange(self.model, y, self.launch)
        found = to_estimates(y, base, values, self.bvalues, self.limits, strange, self.weights)
        return with_errors(found, self.model, y, values, self.launch), spectrum

    def _bases(self, n: int, s0: NDArray | None) -> NDArray[np.float32] | None:
        told = self.signals.zero >= 0 or self.signals.s0 is not None
        return None if told else self.signals.bases(n, s0)

    @cached_property
    def network(self) -> Any:
        """The network on the GPU."""
        from ivimsc.methods.scdnn.on_gpu.fit import one_protocol  # CUDA is loaded only where it runs

        return one_protocol(self.launch, self.model, self.bvalues, self.signals, self.limits)


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs) -> NetworkFitter:
    """Check model and protocol, and make the fit of a data set ready.

    Parameters
    ----------
    voxels, options, launch : the data, the method's options, and where it runs
    inputs : holds the model that the option `model` names, and tells the noise level

    Raises
    ------
    InputError
        for no model or one of another method, other b-values than the model's, no S0, and no noise level
    """
    model = require_model(inputs, "scdnn", layout_of)
    require_whole(model)
    if not model.finds_s0:
        return OneProtocol(voxels, model, options, launch)
    told = options.sigma is not None or options.snr is not None
    if not model.general:
        return Adapted(voxels, model, options, launch, None if told else inputs.noise_level())
    return AnyProtocol(voxels, model, options, launch, None if told else inputs.noise_level())
