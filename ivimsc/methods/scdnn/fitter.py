"""A trained SCDNN made ready for one data set: what models for one protocol and general ones share."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch, empty_beside, is_on_gpu, leave_gpu
from ivimsc.device.verdict import judged
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.fitter import Fitter
from ivimsc.methods.scdnn.codes import (
    parts_of,
    run_free_layers,
    run_units,
    scaled,
    to_rows,
    weights_of,
)
from ivimsc.methods.scdnn.units import Weights
from ivimsc.models import Model
from ivimsc.models.limits import limits_of
from ivimsc.outcome import Outcome
from ivimsc.physics.dictionary import Dictionary

if TYPE_CHECKING:
    from ivimsc.methods.scdnn.method import Options

__all__ = ["NetworkFitter"]


class NetworkFitter(Fitter):
    """A trained network made ready for one data set. Its two kinds differ in what surrounds the units.

    Parameters
    ----------
    model : the trained network
    bvalues : (b,) those that the network takes [s/mm²]
    options : of the user
    launch : where to run; a GPU that has no kernels for the model is left

    Attributes
    ----------
    notes : what was chosen, for the user
    evidence : what the data know of a voxel
    dictionary : the grids of the spectrum, where the option `spectrum` asks for one
    """

    def __init__(self, model: Model, bvalues: NDArray[np.float64], options: "Options", launch: Launch) -> None:
        super().__init__(launch)
        self.model, self.bvalues, self.options = model, bvalues, options
        self.identity = {"model_sha256": model.sha256}
        self.limits = limits_of(model.about.get("range", {}), len(bvalues))
        self.free = "b" in model.arrays
        self.notes += [f"model: {model.source} (SHA-256 {model.sha256[:12]})"]
        if launch.on_gpu and self.free:
            self.launch = leave_gpu(launch, f"{model.source} has free layers, for which there are no CUDA kernels")
        if launch.on_gpu and "typical.whiten" in model.arrays:
            self.launch = leave_gpu(launch, f"{model.source} knows its population, for which there are no CUDA kernels")
        if self.launch.on_gpu and "spread.weight0" in model.arrays:
            self.notes.append("no standard deviations: on a GPU they are not computed")
        grid = model.arrays["grid"].astype(np.float64) * 1e-3
        half = len(grid) // 2
        self.dictionary = Dictionary(bvalues, grid[:half], grid[half:], model.source) if options.spectrum else None

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`."""
        if self.launch.on_gpu:
            estimates, spectrum = self._fit_on_gpu(signals, self._bases(len(signals), s0))
        else:
            estimates, spectrum = self._fit(np.asarray(signals, np.float32), first, s0)
        judged(self.launch, estimates, self.evidence)
        if spectrum is None:
            return estimates
        return replace(estimates, spectrum=scaled(spectrum, np.nan_to_num(estimates.S0)))

    def code(
        self, y: NDArray[np.float32], weights: Weights | None = None, first: int = 0
    ) -> tuple[NDArray[np.float32], Spectrum | None]:
        """The network's units on the CPU.

        Parameters
        ----------
        y : (voxel, input) what the units take
        weights : of the units; by default the model's own
        first : number of the first voxel in the data set

        Returns
        -------
        sums : (voxel, 4) Σx and Σgx of the tissue part, then of the perfusion part
        spectrum : with the option `spectrum`, the codes as sparse rows that sum to 1
        """
        sums = np.empty((len(y), 4), np.float32)
        own = None if self.free else weights or weights_of(self.model)

        def run(place: slice) -> NDArray[np.float32]:
            if self.free:
                sums[place], codes = run_free_layers(y[place], self.model, first + place.start)
            else:
                sums[place], codes = run_units(self.launch, y[place], own, dense=self.options.spectrum)
            return codes

        if self.options.spectrum:
            return sums, to_rows(len(y), run)
        for place in parts_of(len(y)) if self.free else [slice(0, len(y))]:
            run(place)
        return sums, None

    def _fit(self, signals: NDArray[np.float32], first: int, s0: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        """Estimates, and with the option `spectrum` codes as rows that sum to 1; on the CPU."""
        raise NotImplementedError

    def _bases(self, n: int, s0: NDArray | None) -> NDArray[np.float32] | None:
        """S0 (voxel,) of n voxels where the GPU cannot read it from their signals; `s0`: the one that came along."""
        return None

    def _fit_on_gpu(self, signals: Any, bases: NDArray[np.float32] | None) -> tuple[Estimates, Spectrum | None]:
        n, atoms = len(signals), len(self.model.arrays["grid"])
        result = empty_beside(self.launch, signals, (6, n), np.float32)
        outcome = empty_beside(self.launch, signals, (n,), np.uint8)

        def code(place: slice) -> NDArray[np.float32]:
            codes = np.empty((atoms, place.stop - place.start), np.float32)
            part = None if bases is None else bases[place]
            self.network.run(signals[place], result[:, place], outcome[place], part, codes)
            codes[:, outcome[place] == Outcome.BAD_SIGNAL] = 0
            return codes.T

        spectrum = None
        if not self.options.spectrum:
            self.network.run(signals, result, outcome, bases)
        elif is_on_gpu(signals):
            raise InputError("option spectrum of scdnn: found signals on a GPU, expected them in host memory")
        else:
            spectrum = to_rows(n, code)
        return Estimates(*(result[k] for k in range(5)), outcome, spread=result[5]), spectrum
