"""SCDNN, the paper's learned dictionary, at work: a trained model's units run in Numba kernels, without torch.

A model is for one protocol, and takes signals over a known S0; or it is general (`general`), takes any protocol
and noise level, and finds S0 itself. The general model that comes with the package is the default.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.device.launch import Launch, empty_beside, is_on_gpu, leave_gpu, run_blocks
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.methods import Inputs
from ivimsc.methods.scdnn.general.canonical import signals_of
from ivimsc.methods.scdnn.general.levels import (
    LEVELS,
    Level,
    flagged,
    levels_of,
    require_protocol,
    rough_scale,
    sigma_of,
)
from ivimsc.methods.scdnn.rows import in_order, parts_of, scaled, to_rows
from ivimsc.methods.scdnn.units import WIDTH, forward
from ivimsc.models import Layout, Model
from ivimsc.models.estimates import Signals, require_model, to_estimates
from ivimsc.outcome import Outcome
from ivimsc.physics.dictionary import Dictionary
from ivimsc.voxels import VoxelSource

TITLE = "Sparse-coding network with a learned dictionary"
SOURCE = "the paper, section 2; unrolled iterations: Gregor and LeCun, ICML (2010)"

FIXED = Layout(("w", "thresholds", "grid"), inputs=("w", -2))
GENERAL = Layout(
    ("w", "w_mix", "phi", "phi_mix", "thresholds", "threshold_mix", "grid", "basis", "diffusivities", "mean", "sd")
)

BLOCKS = 32  # blocks of `WIDTH` voxels per call


@dataclass(frozen=True)
class Options:
    """Options of scdnn."""

    model: str | None = field(default="general", metadata={"help": "model file (.safetensors) of ivimsc train scdnn, or general: the one in the package, for any protocol"})  # fmt: skip
    s0: float | None = field(default=None, metadata={"help": "S0 where it is known (none: the signal at b = 0); general models find S0"})  # fmt: skip
    sigma: float | None = field(default=None, metadata={"help": "general models: noise SD in units of the signal (none: estimated from the data)"})  # fmt: skip
    snr: float | None = field(default=None, metadata={"help": "general models: S0 over noise SD, of every voxel, instead of sigma"})  # fmt: skip
    spectrum: bool = field(default=False, metadata={"help": "keep the code of every voxel, as ista does"})

    def __post_init__(self) -> None:
        for name in ("s0", "sigma", "snr"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"option {name} of scdnn: found {value:g}, expected a number > 0 or none")
        if self.sigma is not None and self.snr is not None:
            raise InputError("options of scdnn: found sigma and snr together, expected one of them")


class Fitter(fitter.Fitter):
    """A trained network made ready for one data set; its two kinds differ in what surrounds the units."""

    def __init__(self, model: Model, bvalues: NDArray[np.float64], options: Options, launch: Launch) -> None:
        super().__init__(launch)
        self.model, self.bvalues, self.options = model, bvalues, options
        self.identity = {"model_sha256": model.sha256}
        self.notes += [f"model: {model.source} (SHA-256 {model.sha256[:12]})"]
        if launch.on_gpu and "b" in model.arrays:
            self.launch = leave_gpu(launch, f"{model.source} has free layers, for which there are no CUDA kernels")
        grid = model.arrays["grid"].astype(np.float64) * 1e-3
        half = len(grid) // 2
        self.dictionary = Dictionary(bvalues, grid[:half], grid[half:], model.source) if options.spectrum else None

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used."""
        if self.launch.on_gpu:
            estimates, spectrum = self._fit_on_gpu(signals, self._bases(len(signals), s0))
        else:
            estimates, spectrum = self._fit(np.asarray(signals, np.float32), s0)
        return replace(estimates, spectrum=scaled(spectrum, np.nan_to_num(estimates.S0))) if spectrum else estimates

    def _fit(self, signals: NDArray[np.float32], beside: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        """Estimates and, with the option `spectrum`, codes as rows that sum to 1; on the CPU."""
        raise NotImplementedError

    def _bases(self, n: int, beside: NDArray | None) -> NDArray[np.float32] | None:
        """S0 (voxel,), where the network is not told it otherwise."""
        return None

    def _fit_on_gpu(self, signals: Any, bases: NDArray[np.float32] | None) -> tuple[Estimates, Spectrum | None]:
        n, atoms = len(signals), len(self.model.arrays["grid"])
        result = empty_beside(self.launch, signals, (5, n), np.float32)
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
        return Estimates(*(result[k] for k in range(5)), outcome), spectrum

    def code(
        self, y: NDArray[np.float32], weights: tuple[NDArray, ...] | None = None
    ) -> tuple[NDArray[np.float32], Spectrum | None]:
        """Sums (voxel, 4), Σx and Σgx of tissue and of perfusion part, of the network's input y (voxel, b), on the CPU.

        With the option `spectrum` the codes as well, as sparse rows that sum to 1.
        """
        arrays, options = self.model.arrays, self.model.about["options"]
        n, sums = len(arrays["grid"]), np.empty((len(y), 4), np.float32)

        def run(place: slice, dense: bool = True) -> NDArray[np.float32]:
            if "b" in arrays:
                sums[place], codes = _code_free(y[place], arrays, options)
                return codes
            part, own = y[place], weights or (arrays["w"], arrays["phi"], arrays["thresholds"])
            codes = np.empty((len(part) if dense else 0, n), np.float32)
            how = n // 2, options["threshold"] == "hard", options["residual"] == "input"
            run_blocks(self.launch, forward, -(-len(part) // WIDTH), part, *own, arrays["grid"], *how, sums[place], codes, block=BLOCKS)  # fmt: skip
            return codes

        if self.options.spectrum:
            return sums, to_rows(len(y), run)
        for place in parts_of(len(y)) if "b" in arrays else [slice(0, len(y))]:
            run(place, dense=False)
        return sums, None


class Fixed(Fitter):
    """A model for one protocol."""

    def __init__(self, voxels: VoxelSource, model: Model, options: Options, launch: Launch) -> None:
        if options.sigma is not None or options.snr is not None:
            raise InputError(
                f"options of scdnn: found sigma or snr, expected neither: {model.source} is not a general model"
            )
        self.signals = Signals(voxels, model, options.s0)
        super().__init__(model, voxels.bvalues[self.signals.columns], options, launch)
        self.notes.append(self.signals.note)

    def _fit(self, signals: NDArray[np.float32], beside: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        y, s0 = self.signals(signals, beside)
        sums, spectrum = self.code(y)
        return to_estimates(y, s0, decode(sums), self.bvalues, self.model.about.get("range", {})), spectrum

    def _bases(self, n: int, beside: NDArray | None) -> NDArray[np.float32] | None:
        told = self.signals.zero >= 0 or self.signals.s0 is not None
        return None if told else self.signals.bases(n, beside)

    @cached_property
    def network(self) -> Any:
        """The network on the GPU."""
        from ivimsc.methods.scdnn.weights_on_gpu import fixed_network  # CUDA is loaded only where it runs

        return fixed_network(self.launch, self.model, self.bvalues, self.signals)


class AnyScan(Fitter):
    """A general model."""

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
        self.sigma = options.sigma or sigma
        if options.snr is None:
            how = "given" if options.sigma else "from the residuals of nlls"
            self.notes.append(f"noise SD: {self.sigma:.4g} ({how}); S0 found by the model")
        else:
            self.notes.append(f"SNR: {options.snr:g} (given, of every voxel); S0 found by the model")

    def level(self, number: int) -> Level:
        """The weights of a level of noise, made on first use."""
        if number not in self._levels:
            self._levels[number] = Level.of(self.model, self._b, sigma_of(number))
        return self._levels[number]

    @cached_property
    def network(self) -> Any:
        """The network on the GPU."""
        from ivimsc.methods.scdnn.weights_on_gpu import general_network  # CUDA is loaded only where it runs

        noise = (0.0, self.options.snr) if self.options.snr else (self.sigma, 0.0)
        levels = [self.level(number) for number in range(LEVELS)]
        return general_network(self.launch, self.model, self.bvalues, levels, *noise, self._beyond)

    def _fit(self, signals: NDArray[np.float32], beside: NDArray | None) -> tuple[Estimates, Spectrum | None]:
        """S0 beside the signals is not used: the model finds S0."""
        good = np.isfinite(signals).all(1) & (signals[:, :1] > 0).all(1)
        scale = np.where(good, rough_scale(signals), 0)
        y = np.where(good[:, None], signals, np.float32(np.nan)) / np.where(good, scale, 1)[:, None]
        if self.options.snr:
            sigma = np.full(len(y), 1 / self.options.snr)
            level, outside = levels_of(1 / sigma)
            result, spectrum = self._by_level(y, good, level)
            sigma = sigma * np.where(result[:, 0] > 0, result[:, 0], 1)  # in units of y
        else:  # noise over S0: from a rough S0, then twice from the linear estimate of it, which depends on the level
            sigma = self.sigma / np.where(good, scale, 1)
            level, s0 = levels_of(1 / sigma)[0], np.ones(len(y))
            for _ in range(2):
                s0 = self._linear_s0(y, good, level)
                level, outside = levels_of(np.where(s0 > 0, s0, 1) / sigma)
            result, spectrum = self._by_level(y, good, level)
        shape = signals_of(np.nan_to_num(result[:, 1:].astype(np.float64)), self._b)
        squares = ((y - result[:, :1] * shape) ** 2).sum(1)
        estimates = to_estimates(y.astype(np.float32), scale.astype(np.float32), result, self.bvalues, {})
        strange = outside | self._beyond | flagged(squares, sigma, len(self._b))
        estimates.outcome[strange & (estimates.outcome == Outcome.CONVERGED)] = Outcome.OUTSIDE_TRAINING
        return estimates, spectrum

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
            weights = self.level(number)
            z, s0 = weights.coordinates(y[places].astype(np.float64))
            sums, spectrum = self.code(z, (weights.w, weights.phi, weights.thresholds))
            result[places] = decode(sums)
            result[places, 0] = (sums[:, 0] + sums[:, 2]) * s0
            parts.append(spectrum)
            order.append(places)
        return result, in_order(parts, order, len(y)) if self.options.spectrum else None


def decode(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """S0/s0 = 1, f, D, D* (voxel, 4) by (8) to (10); NaN where a part is empty."""
    tissue, d, blood, dstar = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([np.ones_like(d), blood / (tissue + blood), d / tissue, dstar / blood], axis=1)


def _code_free(
    y: NDArray, arrays: dict[str, NDArray], options: dict
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sums and codes for free layers B (unit, atom, atom): matrix products."""
    cuts, grid, hard = arrays["thresholds"], arrays["grid"], options["threshold"] == "hard"
    half = len(grid) // 2

    def threshold(u: NDArray, cut: NDArray) -> NDArray:
        return np.where((u >= cut) & (u > 0), u, 0) if hard else np.maximum(u - cut, 0)

    u = encoded = y @ arrays["w"][0]
    x = threshold(u, cuts[0])
    for t, b in enumerate(arrays["b"]):
        u = x @ b + (u if options["residual"] == "input" else encoded)
        x = threshold(u, cuts[t + 1])
    moment = x * grid
    sums = [x[:, :half].sum(1), moment[:, :half].sum(1), x[:, half:].sum(1), moment[:, half:].sum(1)]
    return np.stack(sums, axis=1).astype(np.float32), x


def layout_of(model: Model) -> Layout:
    """The arrays of a general model, or of one for a single protocol."""
    return GENERAL if model.general else FIXED


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs) -> Fitter:
    """Check model and protocol.

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
    if not model.general:
        return Fixed(voxels, model, options, launch)
    told = options.sigma is not None or options.snr is not None
    return AnyScan(voxels, model, options, launch, None if told else inputs.noise_level())
