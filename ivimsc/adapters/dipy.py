"""A model and fit pair in the shape of dipy's: ``IvimModel(gtab).fit(data, mask=…)``, ``.predict(gtab)``.

A script for `dipy.reconst.ivim` runs with the import alone changed. The names are dipy's (`IvimFit`); what is computed is
ivimsc's, all voxels at once, without dipy being installed: `gtab` is anything with a ``bvals`` attribute, or the
b-values themselves. Options of dipy's own solvers have no meaning here; they are taken, and a warning says so.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.adapters.bounds import as_options, option_names, read_bounds
from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, Estimates
from ivimsc.fit import fit_signals
from ivimsc.simulate import simulate_signals

__all__ = ["IvimFit", "IvimModel", "IvimModelTRR", "IvimModelVP", "ivim_prediction"]

SOLVER = {"split_b_D", "split_b_S0", "two_stage", "tol", "x_scale", "gtol", "ftol", "xtol", "eps", "maxiter"}
PARALLEL = {"engine", "n_jobs", "vox_per_chunk", "verbose"}  # of dipy's multi_voxel_fit


def _bvalues(gtab: Any) -> NDArray[np.float64]:
    return np.asarray(getattr(gtab, "bvals", gtab), dtype=np.float64)


def ivim_prediction(params: ArrayLike, gtab: Any) -> NDArray[np.float64]:
    """The signal of parameters.

    Parameters
    ----------
    params : (…, 4) S0, f, D*, D, dipy's order
    gtab : dipy GradientTable, or b-values (b,) in s/mm²

    Returns
    -------
    (…, b) in the unit of S0
    """
    S0, f, Dstar, D = np.moveaxis(np.asarray(params, np.float64), -1, 0)
    return simulate_signals(S0, f, D, Dstar, _bvalues(gtab))


class IvimModel:
    """The IVIM model for a gradient table.

    Parameters
    ----------
    gtab : dipy GradientTable, or b-values (b,) in s/mm²
    method : name of the ivimsc method
    fit_method : "trr" or "VarPro" of dipy; taken with a warning, as `method` fits
    bounds : dipy's, ([S0, f, D*, D] low, high) or (f, D*, D) without S0; S0 stays free
    device, threads, options : as for `ivimsc.fit_signals`; options of dipy's solvers are taken with a warning
    """

    def __init__(
        self, gtab: Any, method: str = "nlls", *, fit_method: str | None = None, bounds: Any = None, **options: Any
    ) -> None:
        self.gtab, self.bvalues, self.method = gtab, _bvalues(gtab), method
        unused = sorted((SOLVER - option_names(method)) & options.keys())
        unused = ([f"fit_method={fit_method!r}"] if fit_method is not None else []) + unused
        if unused:
            warnings.warn(f"{', '.join(unused)}: left aside, {method} of ivimsc fits", stacklevel=2)
        self.bounds = bounds
        given = {} if bounds is None else as_options(read_bounds(bounds), method)
        self.options = given | {key: value for key, value in options.items() if key not in unused}

    def fit(self, data: ArrayLike, mask: ArrayLike | None = None, **parallel: Any) -> "IvimFit":
        """Fit a volume, or any other array of signals.

        Parameters
        ----------
        data : (…, b), in the order of the gradient table
        mask : (…); voxels outside hold 0 and outcome 0. Default: all are fitted
        parallel : dipy's engine, n_jobs, vox_per_chunk and verbose, not needed here

        Returns
        -------
        IvimFit

        Raises
        ------
        InputError
            where the shapes do not fit together
        """
        if parallel.keys() - PARALLEL:
            raise InputError(f"fit: found {', '.join(parallel.keys() - PARALLEL)}, expected data and mask")
        data = np.asanyarray(data)  # a masked array keeps its mask
        inside = np.ones(data.shape[:-1], bool) if mask is None else np.asarray(mask, dtype=bool)
        if inside.shape != data.shape[:-1]:
            raise InputError(
                f"mask: found shape {inside.shape}, expected {data.shape[:-1]}, that of the data without b"
            )
        return IvimFit(self, fit_signals(data[inside], self.bvalues, self.method, **self.options), inside)

    def predict(self, ivim_params: ArrayLike, gtab: Any = None, S0: float = 1.0) -> NDArray[np.float64]:
        """The signal of parameters.

        Parameters
        ----------
        ivim_params : (…, 4) S0, f, D*, D, dipy's order
        gtab : dipy GradientTable, or b-values (b,) in s/mm²; default: the model's own
        S0 : taken for dipy's callers; the S0 among the parameters counts, as in dipy

        Returns
        -------
        (…, b) in the unit of the parameters' S0
        """
        return ivim_prediction(ivim_params, self.bvalues if gtab is None else gtab)


IvimModelTRR = IvimModelVP = IvimModel  # dipy's names for its two solvers


class IvimFit:
    """Fitted parameters, with dipy's names; `estimates` holds those of the voxels inside the mask, with outcomes.

    ``fit[index]`` is the fit of some voxels, with the index of the volume.
    """

    def __init__(self, model: IvimModel, estimates: Estimates, mask: NDArray[np.bool_]) -> None:
        self.model, self.estimates, self.mask = model, estimates, mask

    def __getitem__(self, index: Any) -> "IvimFit":
        number = np.full(self.mask.shape, -1)
        number[self.mask] = np.arange(len(self.estimates))
        chosen = np.asarray(number[index])
        inside = chosen >= 0
        arrays = {one.code: getattr(self.estimates, one.code) for one in FIELDS}
        per_voxel = {name: np.asarray(a)[chosen[inside]] for name, a in arrays.items() if a is not None}
        return IvimFit(self.model, replace(self.estimates, **per_voxel, spectrum=None), inside)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (…) of the volume."""
        return self.mask.shape

    def _volume(self, code: str) -> NDArray:
        values = getattr(self.estimates, code)
        if values is None:
            raise InputError(f"{code}: found none, expected a method that fits it: {self.model.method} does not")
        volume = np.zeros(self.mask.shape, values.dtype)
        volume[self.mask] = values
        return volume[()]  # a number for one voxel

    @property
    def S0_predicted(self) -> NDArray:
        """S0 (…), in the unit of the data."""
        return self._volume("S0")

    @property
    def perfusion_fraction(self) -> NDArray:
        """Perfusion fraction f (…)."""
        return self._volume("f")

    @property
    def D_star(self) -> NDArray:
        """Pseudo-diffusivity D* (…) [mm²/s]."""
        return self._volume("Dstar")

    @property
    def D(self) -> NDArray:
        """Tissue diffusivity D (…) [mm²/s]."""
        return self._volume("D")

    @property
    def outcome(self) -> NDArray[np.uint8]:
        """`ivimsc.Outcome` codes (…); 0 outside the mask."""
        return self._volume("outcome")

    @property
    def model_params(self) -> NDArray:
        """(…, 4) S0, f, D*, D: dipy's order."""
        return np.stack([self.S0_predicted, self.perfusion_fraction, self.D_star, self.D], axis=-1)

    def predict(self, gtab: Any = None, S0: float = 1.0) -> NDArray:
        """Signals of the fitted parameters; of a method without f and D*, those of S0 and D alone.

        Parameters
        ----------
        gtab : dipy GradientTable, or b-values (b,) in s/mm²; default: the model's own
        S0 : taken for dipy's callers; the fitted S0 counts, as in dipy

        Returns
        -------
        (…, b) in the unit of the data; 0 outside the mask
        """
        bvalues = self.model.bvalues if gtab is None else _bvalues(gtab)
        e = self.estimates
        signals = np.zeros((*self.mask.shape, len(bvalues)))
        f, Dstar = (0.0, 0.0) if e.f is None or e.Dstar is None else (e.f, e.Dstar)
        signals[self.mask] = simulate_signals(e.S0, f, e.D, Dstar, bvalues)
        return signals
