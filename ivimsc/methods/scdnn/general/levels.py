"""A general SCDNN at work: from b-values and a noise level to the weights of its units, without torch.

`general.network` says how the weights are made. Here the same sums stand in numpy. They are taken once for every level of
noise that the voxels of a data set have, which are some dozen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.methods.scdnn.codes import weights_of
from ivimsc.methods.scdnn.general.canonical import LARGEST_B, SNR, Basis, Projection
from ivimsc.methods.scdnn.units import Weights
from ivimsc.models import Model

__all__ = ["FEWEST", "LEVELS", "STEP", "Level", "levels_of", "require_protocol", "rough_scale", "sigma_of"]

STEP = 1.12  # from one level of noise to the next
LEVELS = int(np.log(SNR[1] / SNR[0]) / np.log(STEP)) + 1
FEWEST, MOST = 4, 20  # b-values of a protocol, as `general.network.draw_bvalues` draws them
FIRST, LAST, END = 30.0, 300.0, 1e3 * LARGEST_B  # s/mm²: the smallest is in 0..FIRST, the largest in LAST..END
ROOM_B = 1.01  # scanners round b-values


@dataclass(frozen=True)
class Level:
    """What a general model is for one protocol and noise level.

    Attributes
    ----------
    weights : of its units, whose inputs are the r coordinates
    project : (r, b) from signals to coordinates
    origin : (r,) from coordinates to the linear estimate of S0
    """

    weights: Weights
    project: NDArray[np.float64]
    origin: NDArray[np.float64]

    @staticmethod
    def of(model: Model, b: NDArray[np.float64], sigma: float | NDArray[np.float64]) -> "Level":
        """For b-values b (b,) [ms/µm²] and noise SD `sigma`, over S0: a number, or one for each b-value (b,)."""
        a = {name: array.astype(np.float64) for name, array in model.arrays.items()}
        basis = Basis(a["diffusivities"], a["basis"])
        scan = Projection.of(basis, b, sigma)
        context = (scan.context - a["mean"]) / a["sd"]
        hidden = a["features.0.weight"] @ context + a["features.0.bias"]
        hidden = hidden / (1 + np.exp(-hidden))  # SiLU
        features = np.tanh(a["features.2.weight"] @ hidden + a["features.2.bias"])
        few = features[: len(a["w_mix"])]
        w = a["w"] + np.einsum("q,qtra->tra", few, a["w_mix"])
        phi = np.einsum("rk,tka->tra", scan.mix, a["phi"] + np.einsum("q,qtra->tra", few, a["phi_mix"]))
        cuts = a["thresholds"] + np.einsum("q,qta->ta", features, a["threshold_mix"])
        layers = [np.ascontiguousarray(array, np.float32) for array in (w, phi, cuts)]
        return Level(weights_of(model, layers), scan.project, basis.at([0.0])[0])

    def coordinates(self, y: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """ẑ over the linear estimate of S0 (voxel, r), and that estimate (voxel,), of signals y (voxel, b)."""
        z = y @ self.project.T
        s0 = z @ self.origin
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.ascontiguousarray(z / s0[:, None], np.float32), s0


def require_protocol(bvalues: NDArray[np.float64], source: str) -> list[str]:
    """Refuse too few b-values; a note for each reason why the protocol lies outside what general models are trained for."""
    n, smallest, largest = len(bvalues), bvalues[0], bvalues[-1]
    if n < FEWEST:
        raise InputError(f"{source}: found {n} b-values, expected at least {FEWEST}, which general models are trained for")  # fmt: skip
    beyond = bvalues[bvalues > END * ROOM_B]
    found = {
        f"b = {', '.join(f'{b:g}' for b in beyond)} s/mm² lies beyond 0..{END:g}": len(beyond),
        f"the smallest b-value, {smallest:g} s/mm², is above 0..{FIRST:g}": smallest > FIRST * ROOM_B,
        f"the largest b-value, {largest:g} s/mm², is below {LAST:g}..{END:g}": largest * ROOM_B < LAST,
        f"{n} b-values are more than {FEWEST} to {MOST}": n > MOST,
    }
    advice = "all voxels have outcome 7: do not use their values, and fit by a method without training, such as nlls"
    return [f"warning: {words}, which the model was trained for; {advice}" for words, holds in found.items() if holds]


def rough_scale(y: NDArray[np.float32]) -> NDArray[np.float64]:
    """A first S0 (voxel,) of signals (voxel, b): the larger of the first two."""
    return np.maximum(y[:, :2].max(axis=1).astype(np.float64), 1e-30)


def levels_of(ratio: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The level of noise (voxel,) of S0/σ, and whether it lies outside the range that general models are trained for."""
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.rint((np.log(ratio) - np.log(SNR[0])) / np.log(STEP))
    outside = ~((level >= 0) & (level < LEVELS))
    return np.clip(np.nan_to_num(level), 0, LEVELS - 1).astype(np.intp), outside


def sigma_of(level: int) -> float:
    """The noise SD over S0 of a level."""
    return 1 / (SNR[0] * STEP**level)
