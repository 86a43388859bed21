"""The signal models: one exponential, equation (1), equation (1) with kurtosis, and three pools.

    mono       S0 exp(-b D)
    biexp      S0 [(1 - f) exp(-b D) + f exp(-b D*)], equation (1)
    kurtosis   S0 [(1 - f) exp(-b D + b² D² K / 6) + f exp(-b D*)]
    triexp     S0 [(1 - f - f2) exp(-b D) + f exp(-b D*) + f2 exp(-b D*2)], D < D* < D*2

The exponent of the kurtosis turns up at b = 3 / (D K), where the expansion that it comes from has lost its meaning; beyond
it the exponent keeps its lowest value. Kurtosis: Jensen et al., Magn. Reson. Med. 53:1432 (2005); with perfusion: Lu et
al., J. Magn. Reson. Imaging 36:1088 (2012). Three pools: Cercueil et al., Eur. Radiol. 25:1541 (2015).

These are numpy functions, for simulation, bounds and comparisons. The kernels of the methods hold the same models in forms
of their own, and tests hold the two together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.physics.cramer_rao import standard_deviations
from ivimsc.physics.parameters import BY_KEY, Parameter

__all__ = ["MODELS", "Model", "find_model", "mixture_signals", "predicted"]

Columns = tuple[NDArray, ...]
TINY = 1e-30  # a product D K that is no 0, in float32 too


@dataclass(frozen=True)
class Model:
    """A signal model.

    Attributes
    ----------
    name, title : for commands, and for people
    keys : of its parameters in files, S0 first
    slopes_of : (S0, f, …, b) -> the signal, and its slopes along each parameter
    """

    name: str
    title: str
    keys: tuple[str, ...]
    slopes_of: Callable[..., tuple[NDArray, Columns]]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in the order of `keys`."""
        return tuple(BY_KEY[key] for key in self.keys)

    def signals(self, values: Mapping[str, ArrayLike], bvalues: ArrayLike) -> NDArray[np.float64]:
        """Signals (…, b), in the unit of S0, of parameters (…) by key, in mm²/s where they are diffusivities."""
        return self.slopes_of(*self._columns(values), np.asarray(bvalues, np.float64))[0]

    def bound(
        self,
        values: Mapping[str, ArrayLike],
        bvalues: ArrayLike,
        sigma: float,
        weights: ArrayLike | None = None,
        known: tuple[str, ...] = (),
    ) -> dict[str, NDArray[np.float64]]:
        """The Cramér-Rao bound under Gaussian noise: the smallest standard deviation of unbiased estimates.

        Parameters
        ----------
        values : key -> (voxel,) true parameters
        bvalues : (b,) in s/mm²
        sigma : noise standard deviation of one image, in the unit of S0
        weights : (b,) images behind each b-value; None: one each
        known : keys of parameters that are not estimated

        Returns
        -------
        key -> (voxel,); inf where the protocol cannot tell the parameters
        """
        slopes = self.slopes_of(*self._columns(values), np.asarray(bvalues, np.float64))[1]
        free = [i for i, key in enumerate(self.keys) if key not in known]
        shape = np.broadcast_shapes(*(slope.shape for slope in slopes))
        columns = np.stack([np.broadcast_to(slopes[i], shape) for i in free], axis=1)  # (voxel, parameter, b)
        weighted = columns if weights is None else columns * np.asarray(weights, np.float64)
        found = sigma * standard_deviations(np.einsum("vib,vjb->vij", columns, weighted))
        return {self.keys[i]: found[:, place] for place, i in enumerate(free)}

    def _columns(self, values: Mapping[str, ArrayLike]) -> Columns:
        missing = [key for key in self.keys if key not in values]
        if missing:
            raise InputError(f"model {self.name}: found no {missing[0]}, expected {', '.join(self.keys)}")
        return tuple(np.asarray(values[key], np.float64)[..., None] for key in self.keys)


def _mono(S0, D, b):
    e = np.exp(-b * D)
    return S0 * e, (e, -b * S0 * e)


def _biexp(S0, f, D, Dstar, b):
    tissue, blood = np.exp(-b * D), np.exp(-b * Dstar)
    shape = (1 - f) * tissue + f * blood
    return S0 * shape, (shape, S0 * (blood - tissue), -b * S0 * (1 - f) * tissue, -b * S0 * f * blood)


def _kurtosis(S0, f, D, Dstar, K, b):
    with np.errstate(divide="ignore"):
        turn = np.where((D * K) > 0, 3 / np.maximum(D * K, TINY), np.inf)
    u = np.minimum(b, turn)  # beyond the turn the exponent is -3 / (2 K)
    tissue, blood = np.exp(-u * D + u * u * D * D * K / 6), np.exp(-b * Dstar)
    along_d = np.where(b < turn, -u + u * u * D * K / 3, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        along_k = np.where(b < turn, u * u * D * D / 6, 1.5 / np.square(K))
    shape = (1 - f) * tissue + f * blood
    scaled = S0 * (1 - f) * tissue
    return S0 * shape, (shape, S0 * (blood - tissue), scaled * along_d, -b * S0 * f * blood, scaled * along_k)


def _triexp(S0, f, D, Dstar, f2, Dstar2, b):
    slow, middle, fast = np.exp(-b * D), np.exp(-b * Dstar), np.exp(-b * Dstar2)
    rest = 1 - f - f2
    shape = rest * slow + f * middle + f2 * fast
    return S0 * shape, (
        shape, S0 * (middle - slow), -b * S0 * rest * slow, -b * S0 * f * middle,
        S0 * (fast - slow), -b * S0 * f2 * fast,
    )  # fmt: skip


MODELS = {
    model.name: model
    for model in (
        Model("mono", "one exponential", ("s0", "d"), _mono),
        Model("biexp", "two pools", ("s0", "f", "d", "dstar"), _biexp),
        Model("kurtosis", "two pools, the tissue with kurtosis", ("s0", "f", "d", "dstar", "k"), _kurtosis),
        Model("triexp", "three pools", ("s0", "f", "d", "dstar", "f2", "dstar2"), _triexp),
    )
}


def find_model(name: str) -> Model:
    """The model `name`; InputError for an unknown name."""
    if name not in MODELS:
        raise InputError(f"model: found {name!r}, expected one of {', '.join(MODELS)}")
    return MODELS[name]


def mixture_signals(truth: Mapping[str, ArrayLike], bvalues: ArrayLike) -> NDArray[np.float64]:
    """Signals (voxel, b) of voxels of any of the models, which all are three pools, the slow one with kurtosis.

    Parameters
    ----------
    truth : key -> (voxel,): s0 and d, and what the models have besides: there a key that is missing and a NaN mean that the
        voxel has no such part. A NaN of s0 or d makes its signals NaN
    bvalues : (b,) in s/mm²
    """
    zero = np.zeros(len(truth["d"]))
    S0, D = (np.asarray(truth[key], np.float64)[:, None] for key in ("s0", "d"))
    f, Dstar, K, f2, Dstar2 = (
        np.nan_to_num(np.asarray(truth.get(key, zero), np.float64))[:, None]
        for key in ("f", "dstar", "k", "f2", "dstar2")
    )
    b = np.asarray(bvalues, np.float64)
    tissue = _kurtosis(np.ones_like(S0), np.zeros_like(f), D, Dstar, K, b)[0]
    return S0 * ((1 - f - f2) * tissue + f * np.exp(-b * Dstar) + f2 * np.exp(-b * Dstar2))


def predicted(fields: Mapping[str, NDArray], bvalues: NDArray) -> NDArray[np.floating]:
    """The curves of fitted parameters, each fit's own: which parameters it has says which model.

    With k it is the one with kurtosis, with f2 that of three pools, with f and dstar equation (1), without f one exponential.
    With f alone (simplified) it is the tissue, S0 (1 - f) exp(-b D), and S0 at b = 0.

    Parameters
    ----------
    fields : (…) under s0 and d, and under f, dstar, k, f2 and dstar2 where the model has them, in units as for `Model.signals`,
        or with diffusivities in the unit of 1 / b; other keys are not looked at. A part that a voxel does not have (f = 0, say) may
        have no rate, NaN: any rate gives the same curve
    bvalues : (b,), in the precision that the curves are to have

    Returns
    -------
    (…, b) in the unit of S0; NaN where S0 is, or where a part that is there has no rate
    """
    at = {key: np.asarray(fields[key])[..., None] for key in BY_KEY if key in fields}
    S0, D, f, f2 = at["s0"], at["d"], at.get("f"), at.get("f2", 0)
    with np.errstate(invalid="ignore", over="ignore"):
        if f is None:
            return S0 * np.exp(-bvalues * D)
        at["d"] = D = np.where(f + f2 == 1, 0, D)
        if "dstar" not in at:
            return S0 * np.where(bvalues > 0, (1 - f) * np.exp(-bvalues * D), 1)
        at["dstar"] = np.where(f == 0, 0, at["dstar"])
        if "dstar2" in at:
            at["dstar2"] = np.where(f2 == 0, 0, at["dstar2"])
        model = MODELS["kurtosis" if "k" in at else "triexp" if "f2" in at else "biexp"]
        return model.slopes_of(*(at[key] for key in model.keys), bvalues)[0]
