"""An algorithm class in the shape of OSIPI's standardised wrapper (TF2.4_IVIM-MRI_CodeCollection, OsipiBase).

Results carry OSIPI's keys: f, Dp (the pseudo-diffusivity D*) and D. OSIPI itself need not be installed.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.fit import fit_signals

__all__ = ["IvimscAlgorithm"]


class IvimscAlgorithm:
    """Fits signals normalised or not, one voxel (`ivim_fit`) or a whole volume (`ivim_fit_full_volume`).

    Parameters
    ----------
    bvalues : (b,) in s/mm²; may be left to the fit
    thresholds : (split b,), used by ``method="segmented"``
    bounds : OSIPI's dict {"f": (low, high), "D": …, "Dp": …, "S0": …}; S0 is not bounded here
    initial_guess : taken and not needed: the starts come from a table
    method, options : as for `ivimsc.fit_signals`
    """

    id_author = "The ivimsc developers"
    id_algorithm_type = "Bi-exponential fit"
    id_return_parameters = "f, D*, D"
    id_units = "seconds per milli metre squared or milliseconds per micro metre squared"
    required_bvalues = 4
    supported_bounds = True
    supported_initial_guess = False
    supported_thresholds = True

    def __init__(
        self,
        bvalues: ArrayLike | None = None,
        thresholds: ArrayLike | None = None,
        bounds: dict[str, tuple[float, float]] | None = None,
        initial_guess: Any = None,
        method: str = "nlls",
        **options: Any,
    ) -> None:
        self.bvalues, self.method, self.options = bvalues, method, dict(options)
        for name, key in (("f", "f_bounds"), ("D", "d_bounds"), ("Dp", "dstar_bounds")):
            if bounds is not None and name in bounds:
                low, high = bounds[name]
                self.options[key] = (float(low), float(high))
        if thresholds is not None and method == "segmented":
            self.options["split"] = float(np.atleast_1d(thresholds)[0])

    def ivim_fit(self, signals: ArrayLike, bvalues: ArrayLike | None = None) -> dict[str, float]:
        """Fit one voxel.

        Parameters
        ----------
        signals : (b,)
        bvalues : (b,) in s/mm²; default: those of the algorithm

        Returns
        -------
        {"f", "Dp", "D"} as floats, as far as the method has them, Dp and D in mm²/s; NaN where it cannot be fitted

        Raises
        ------
        InputError
            where there are no b-values, or not as many as signals
        """
        fitted = self.ivim_fit_full_volume(np.asarray(signals)[None], bvalues)
        return {key: float(values[0]) for key, values in fitted.items()}

    def ivim_fit_full_volume(self, signals: ArrayLike, bvalues: ArrayLike | None = None) -> dict[str, NDArray]:
        """Fit many voxels.

        Parameters
        ----------
        signals : (…, b)
        bvalues : (b,) in s/mm²; default: those of the algorithm

        Returns
        -------
        {"f", "Dp", "D"}, each (…), as far as the method has them, Dp and D in mm²/s; NaN where it cannot be fitted

        Raises
        ------
        InputError
            where there are no b-values, or not as many as signals
        """
        bvalues = self.bvalues if bvalues is None else bvalues
        if bvalues is None:
            raise InputError("bvalues: found none, expected b-values [s/mm²] here or when the algorithm was made")
        estimates = fit_signals(signals, bvalues, self.method, **self.options)
        found = {"f": estimates.f, "Dp": estimates.Dstar, "D": estimates.D}
        return {key: values for key, values in found.items() if values is not None}
