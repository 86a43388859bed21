"""A general SCDNN made ready for one data set: any protocol and noise level, S0 unknown."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.device.verdict import evidence_of
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, Spectrum
from ivimsc.methods.scdnn.codes import (
    decode,
    in_order,
)
from ivimsc.methods.scdnn.fitter import NetworkFitter
from ivimsc.methods.scdnn.general.levels import (
    LEVELS,
    Level,
    levels_of,
    require_protocol,
    rough_scale,
    sigma_of,
)
from ivimsc.models import Model
from ivimsc.models.estimates import to_estimates, usable
from ivimsc.voxels import VoxelSource

if TYPE_CHECKING:
    from ivimsc.methods.scdnn.method import Options

__all__ = ["AnyProtocol"]


class AnyProtocol(NetworkFitter):
    """A general model: any protocol and noise level, S0 unknown; sigma: the noise SD of the signals, where the options do not tell it."""

    def __init__(
        self, voxels: VoxelSource, model: Model, options: "Options", launch: Launch, sigma: float | None
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
        good = usable(signals)
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
