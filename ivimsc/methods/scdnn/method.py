"""SCDNN at work: a trained model fits voxels, with Numba kernels and without torch.

A model is for one protocol, and then it takes signals over a known S0. Or it is general (`general`): then it takes any
protocol and noise level, and finds S0 itself. The general model that comes with the package is the default.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch, empty_beside, is_on_gpu, leave_gpu
from ivimsc.device.verdict import evidence_of, judged
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.fitter import Fitter, Inputs
from ivimsc.methods.scdnn.codes import (
    decode,
    in_order,
    parts_of,
    run_free_layers,
    run_units,
    scaled,
    to_rows,
    weights_of,
)
from ivimsc.methods.scdnn.general.levels import (
    LEVELS,
    Level,
    levels_of,
    require_protocol,
    rough_scale,
    sigma_of,
)
from ivimsc.methods.scdnn.layouts import layout_of, require_whole
from ivimsc.methods.scdnn.units import Weights
from ivimsc.models import Model
from ivimsc.models.estimates import Signals, require_model, to_estimates
from ivimsc.models.limits import limits_of
from ivimsc.options import expect_positive, option
from ivimsc.outcome import Outcome
from ivimsc.physics.dictionary import Dictionary
from ivimsc.voxels import VoxelSource

TITLE = "Sparse-coding network with a learned dictionary"
SOURCE = "the paper, section 2; unrolled iterations: Gregor and LeCun, ICML (2010)"


@dataclass(frozen=True)
class Options:
    """Options of scdnn."""

    model: str | None = option(
        "general",
        "model file (.safetensors) of ivimsc train scdnn, or general: the one in the package, for any protocol",
    )
    s0: float | None = option(None, "S0 where it is known (none: the signal at b = 0); general models find S0")
    sigma: float | None = option(
        None, "general models: noise SD of one image in units of the signal (none: estimated from the data)"
    )
    snr: float | None = option(None, "general models: S0 over noise SD, of every voxel, instead of sigma")
    spectrum: bool = option(False, "keep the code of every voxel, as ista does")

    def __post_init__(self) -> None:
        expect_positive(self, ("s0", "sigma", "snr"), "scdnn")
        if self.sigma is not None and self.snr is not None:
            raise InputError("options of scdnn: found sigma and snr together, expected one of them")


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

    def __init__(self, model: Model, bvalues: NDArray[np.float64], options: Options, launch: Launch) -> None:
        super().__init__(launch)
        self.model, self.bvalues, self.options = model, bvalues, options
        self.identity = {"model_sha256": model.sha256}
        self.limits = limits_of(model.about.get("range", {}), len(bvalues))
        self.free = "b" in model.arrays
        self.notes += [f"model: {model.source} (SHA-256 {model.sha256[:12]})"]
        if launch.on_gpu and self.free:
            self.launch = leave_gpu(launch, f"{model.source} has free layers, for which there are no CUDA kernels")
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


class OneProtocol(NetworkFitter):
    """A model for one protocol: signals over a known S0."""

    def __init__(self, voxels: VoxelSource, model: Model, options: Options, launch: Launch) -> None:
        if options.sigma is not None or options.snr is not None:
            raise InputError(
                f"options of scdnn: found sigma or snr, expected neither: {model.source} is not a general model"
            )
        self.signals = Signals(voxels, model, options.s0)
        super().__init__(model, voxels.bvalues[self.signals.columns], options, launch)
        self.notes += self.signals.notes
        self.evidence, self.weights, self.columns = (
            self.signals.evidence(self.bvalues),
            self.signals.weights,
            self.signals.columns,
        )

    def _fit(self, signals: NDArray[np.float32], first: int, s0: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        y, base = self.signals(signals, s0)
        sums, spectrum = self.code(y, first=first)
        return to_estimates(y, base, decode(sums), self.bvalues, self.limits, weights=self.weights), spectrum

    def _bases(self, n: int, s0: NDArray | None) -> NDArray[np.float32] | None:
        told = self.signals.zero >= 0 or self.signals.s0 is not None
        return None if told else self.signals.bases(n, s0)

    @cached_property
    def network(self) -> Any:
        """The network on the GPU."""
        from ivimsc.methods.scdnn.on_gpu.fit import one_protocol  # CUDA is loaded only where it runs

        return one_protocol(self.launch, self.model, self.bvalues, self.signals, self.limits)


class AnyProtocol(NetworkFitter):
    """A general model: any protocol and noise level, S0 unknown; sigma: the noise SD of the signals, where the options do not tell it."""

    def __init__(
        self, voxels: VoxelSource, model: Model, options: Options, launch: Launch, sigma: float | None
    ) -> None:
        if options.s0 is not None:
            raise InputError(
                f"option s0 of scdnn: found {options.s0:g}, expected none: {model.source}, a general model, finds S0"
            )
        super().__init__(model, voxels.bvalues, options, launch)
        beyond = require_protocol(voxels.bvalues, model.source)
        self.notes += beyond
        self._beyond, self._b, self._levels = bool(beyond), voxels.bvalues * 1e-3, {}
        self.weights = voxels.weights
        quiet = float(
            np.sqrt(np.mean(1 / self.weights))
        )  # noise of the signals, RMS over the b-values, over that of an image
        self._relative = np.sqrt(1 / self.weights) / quiet
        one = options.sigma or (None if sigma is None else sigma / quiet)  # noise SD of one image
        self.sigma, self.snr = (
            None if one is None else one * quiet,
            None if options.snr is None else options.snr / quiet,
        )
        self.evidence = evidence_of(voxels.bvalues, one, weights=self.weights)
        if options.snr is None:
            how = "given" if options.sigma else "from the residuals of nlls"
            self.notes.append(f"noise SD: {one:.4g} ({how}); S0 found by the model")
        else:
            self.notes.append(f"SNR: {options.snr:g} (given, of every voxel); S0 found by the model")

    def level(self, number: int) -> Level:
        """The weights of a level of noise, made on first use."""
        if number not in self._levels:
            self._levels[number] = Level.of(self.model, self._b, sigma_of(number) * self._relative)
        return self._levels[number]

    @cached_property
    def network(self) -> Any:
        """The network on the GPU."""
        from ivimsc.methods.scdnn.on_gpu.fit import any_protocol  # CUDA is loaded only where it runs

        noise = (0.0, self.snr) if self.snr else (self.sigma, 0.0)
        levels = [self.level(number) for number in range(LEVELS)]
        return any_protocol(self.launch, self.bvalues, self.weights, levels, noise, self.limits, self._beyond)

    def _fit(self, signals: NDArray[np.float32], first: int, s0: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        """`first` and `s0` are not used: the model finds S0, and a voxel's result depends on its signal alone."""
        good = np.isfinite(signals).all(1) & (signals[:, :1] > 0).all(1)
        scale = np.where(good, rough_scale(signals), 0)
        y = np.where(good[:, None], signals, np.float32(np.nan)) / np.where(good, scale, 1)[:, None]
        if self.snr:
            level, outside = levels_of(np.full(len(y), self.snr))
            result, spectrum = self._by_level(y, good, level)
        else:  # noise over S0: from a rough S0, then twice from the linear estimate of it, which depends on the level
            sigma = self.sigma / np.where(good, scale, 1)
            level, s0 = levels_of(1 / sigma)[0], np.ones(len(y))
            for _ in range(2):
                s0 = self._linear_s0(y, good, level)
                level, outside = levels_of(np.where(s0 > 0, s0, 1) / sigma)
            result, spectrum = self._by_level(y, good, level)
        found = y.astype(np.float32), scale.astype(np.float32), result, self.bvalues, self.limits
        return to_estimates(*found, outside=outside | self._beyond, weights=self.weights), spectrum

    def _linear_s0(self, y: NDArray, good: NDArray, level: NDArray) -> NDArray[np.float64]:
        """The linear estimate of S0 (voxel,), NaN for bad voxels."""
        s0 = np.full(len(y), np.nan)
        for number in np.unique(level[good]):
            places = np.flatnonzero(good & (level == number))
            s0[places] = self.level(number).coordinates(y[places].astype(np.float64))[1]
        return s0

    def _by_level(self, y: NDArray, good: NDArray, level: NDArray) -> tuple[NDArray[np.float64], Spectrum | None]:
        """S0, f, D, D* (voxel, 4) of the good voxels, level by level, NaN elsewhere; and their codes as rows."""
        result, parts, order = np.full((len(y), 4), np.nan), [], []
        for number in np.unique(level[good]):
            places = np.flatnonzero(good & (level == number))
            own = self.level(number)
            z, s0 = own.coordinates(y[places].astype(np.float64))
            sums, spectrum = self.code(z, own.weights)
            result[places] = decode(sums)
            result[places, 0] = (sums[:, 0] + sums[:, 2]) * s0
            parts.append(spectrum)
            order.append(places)
        return result, in_order(parts, order, len(y)) if self.options.spectrum else None


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
    if not model.general:
        return OneProtocol(voxels, model, options, launch)
    told = options.sigma is not None or options.snr is not None
    return AnyProtocol(voxels, model, options, launch, None if told else inputs.noise_level())
