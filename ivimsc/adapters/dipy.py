"""A model and fit pair in the shape of dipy's: ``IvimModel(gtab).fit(data, mask=…)``, ``.predict(gtab)``.

The names of the fit's properties are dipy's (`dipy.reconst.ivim.IvimFit`); what is computed is ivimsc's, all voxels at
once, without dipy being installed: `gtab` is anything with a ``bvals`` attribute, or the b-values themselves.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fit import fit_signals
from ivimsc.simulate import simulate_signals

__all__ = ["IvimFit", "IvimModel"]


def _bvalues(gtab: Any) -> NDArray[np.float64]:
    return np.asarray(getattr(gtab, "bvals", gtab), dtype=np.float64)


class IvimModel:
    """The IVIM model for a gradient table.

    Parameters
    ----------
    gtab : dipy GradientTable, or b-values (b,) in s/mm²
    method : name of the ivimsc method
    device, threads, options : as for `ivimsc.fit_signals`
    """

    def __init__(self, gtab: Any, method: str = "nlls", **options: Any) -> None:
        self.gtab, self.bvalues = gtab, _bvalues(gtab)
        self.method, self.options = method, options

    def fit(self, data: ArrayLike, mask: ArrayLike | None = None) -> "IvimFit":
        """Fit a volume, or any other array of signals.

        Parameters
        ----------
        data : (…, b), in the order of the gradient table
        mask : (…); voxels outside hold 0 and outcome 0. Default: all are fitted

        Returns
        -------
        IvimFit

        Raises
        ------
        InputError
            where the shapes do not fit together
        """
        data = np.asarray(data)
        inside = np.ones(data.shape[:-1], bool) if mask is None else np.asarray(mask, dtype=bool)
        if inside.shape != data.shape[:-1]:
            raise InputError(
                f"mask: found shape {inside.shape}, expected {data.shape[:-1]}, that of the data without b"
            )
        return IvimFit(self, fit_signals(data[inside], self.bvalues, self.method, **self.options), inside)


class IvimFit:
    """Fitted parameters, with dipy's names; `estimates` holds those of the voxels inside the mask, with outcomes."""

    def __init__(self, model: IvimModel, estimates: Estimates, mask: NDArray[np.bool_]) -> None:
        self.model, self.estimates, self.mask = model, estimates, mask

    def _volume(self, code: str) -> NDArray:
        values = getattr(self.estimates, code)
        if values is None:
            raise InputError(f"{code}: found none, expected a method that fits it: {self.model.method} does not")
        volume = np.zeros(self.mask.shape, values.dtype)
        volume[self.mask] = values
        return volume

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

    def predict(self, gtab: Any = None) -> NDArray:
        """Signals of the fitted parameters; of a method without f and D*, those of S0 and D alone.

        Parameters
        ----------
        gtab : dipy GradientTable, or b-values (b,) in s/mm²; default: the model's own

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
