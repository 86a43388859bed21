"""A noise level that is not the same everywhere: a map of the noise SD, as parallel imaging makes it.

Every method takes the noise of one image as one number. So the signals of a voxel are divided by its own noise SD, the method
is told that the noise is 1, and what has the unit of the signal, S0 and the residuals, is multiplied again. Nothing else
changes: all methods are the same for signals in any unit.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.voxels import VoxelSource

__all__ = ["InUnitsOfNoise", "NoiseMap", "noise_map_of"]

ENDINGS = (".nii", ".nii.gz", ".hdr", ".img")


class NoiseMap(NamedTuple):
    """The noise SD of one image, voxel by voxel.

    sigma (voxel,) float32, in the unit of the signal, NaN where there is none; source: the file, or ``an array``.
    """

    sigma: NDArray[np.float32]
    source: str

    @property
    def identity(self) -> dict[str, str]:
        """What tells a fit with this map from another: where it is from, and its SHA-256."""
        return {"sigma": self.source, "sigma_sha256": hashlib.sha256(self.sigma.astype("<f4").data).hexdigest()}

    def notes(self) -> list[str]:
        """What the user is told."""
        some = np.isfinite(self.sigma)
        low, middle, high = np.quantile(self.sigma[some], (0.1, 0.5, 0.9))
        notes = [
            f"noise level: SD of one image from {self.source}, {middle:.4g} ({low:.4g} to {high:.4g} in 80 % of the voxels)"
        ]
        if not some.all():
            notes.append(f"warning: {self.source}: {np.sum(~some):,} voxels have no noise level above 0: outcome 5")
        return notes

    def divided(self, signals: NDArray[np.float32], first: int) -> NDArray[np.float32]:
        """Signals (voxel, …) of the voxels from `first` on, over their noise; NaN where there is none."""
        part = self.sigma[first : first + len(signals)]
        return np.ascontiguousarray(signals / part.reshape(-1, *[1] * (signals.ndim - 1)), np.float32)

    def restored(self, estimates: Estimates, first: int) -> Estimates:
        """Estimates of signals over their noise, in the unit of the signals."""
        part = self.sigma[first : first + len(estimates)]
        spectrum = estimates.spectrum
        if spectrum is not None:
            each = np.repeat(np.nan_to_num(part), np.diff(spectrum.indptr))
            spectrum = spectrum._replace(data=(spectrum.data * each).astype(np.float32))
        return replace(estimates, S0=estimates.S0 * part, rmse=estimates.rmse * part, spectrum=spectrum)


class InUnitsOfNoise:
    """The voxels of a source, with signals over their own noise."""

    def __init__(self, voxels: VoxelSource, noise: NoiseMap) -> None:
        self._voxels, self._noise = voxels, noise

    def __len__(self) -> int:
        return len(self._voxels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._voxels, name)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Signals (voxel, b) over the noise."""
        return self._noise.divided(self._voxels.read(start, stop), start)

    def read_s0(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """The signal at b = 0 (voxel,) over the noise, where `read` leaves it out."""
        s0 = self._voxels.read_s0(start, stop)
        return None if s0 is None else self._noise.divided(s0, start)


def noise_map_of(settings: Mapping[str, Any], voxels: VoxelSource) -> NoiseMap | None:
    """The noise map that the option `sigma` names, or is; None where it is a number or not given.

    Parameters
    ----------
    settings : the method's options, typed or as text: sigma a NIfTI file, or an array (voxel,)
    voxels : the data

    Raises
    ------
    InputError
        for a map of another place or another number of voxels, for one without any noise above 0, and beside s0 or snr
    """
    given = settings.get("sigma")
    named = isinstance(given, str | Path) and str(given).lower().endswith(ENDINGS)
    if not named and (isinstance(given, str) or np.ndim(given) == 0):
        return None
    for other in ("s0", "snr"):
        if str(settings.get(other, "none")).lower() != "none":
            raise InputError(f"option {other}: found {settings[other]} beside a map of sigma, expected one of them")
    values = _read(Path(given), voxels) if named else np.ravel(np.asarray(given))
    source = Path(given).name if named else "an array"
    if values.shape != (len(voxels),):
        raise InputError(f"option sigma: found {len(values):,} numbers, expected {len(voxels):,}, one per voxel")
    values = values.astype(np.float32)
    values[~(np.isfinite(values) & (values > 0))] = np.nan
    if len(values) and np.isnan(values).all():
        raise InputError(f"option sigma: found no number above 0 in {source}, expected the noise SD of the voxels")
    return NoiseMap(values, source)


def _read(path: Path, voxels: Any) -> NDArray:
    """The values (voxel,) of a NIfTI map at the places of the voxels."""
    from ivimsc.nifti import read_volume, require_same_place  # nibabel is loaded only where NIfTI is read

    geometry = getattr(voxels, "geometry", None)
    if geometry is None:
        raise InputError(f"option sigma: found {path} for signals that come from no volume, expected an array")
    volume, place = read_volume(path)
    require_same_place(path, volume.shape, place, getattr(voxels, "source", "the series") or "the series", geometry)
    return volume.reshape(geometry.shape)[tuple(np.asarray(voxels.index[:]).T)]
