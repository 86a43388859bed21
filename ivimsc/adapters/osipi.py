"""An algorithm class in the shape of OSIPI's standardised wrapper (TF2.4_IVIM-MRI_CodeCollection, OsipiBase).

Results carry OSIPI's keys: f, Dp (the pseudo-diffusivity D*) and D. OSIPI itself need not be installed. To register a
method in the collection, a file of its own name holds a class with ``default_method``:

    class IVIMSC_bayes(IvimscAlgorithm):
        default_method = "bayes"
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.adapters.bounds import as_options, option_names, read_bounds
from ivimsc.errors import InputError
from ivimsc.fit import fit_signals
from ivimsc.methods import find_method, load_method

__all__ = ["IvimscAlgorithm"]

KEYS = ("f", "D", "Dp", "S0")
BOUNDS = {"S0": [0.7, 1.3], "f": [0.0, 1.0], "Dp": [0.005, 0.2], "D": [0.0, 0.005]}  # those of OsipiBase
GUESS = {"S0": 1.0, "f": 0.1, "Dp": 0.01, "D": 0.001}


class IvimscAlgorithm:
    """Fits signals normalised or not: `osipi_fit`, `osipi_fit_full_volume`, `ivim_fit`, `ivim_fit_full_volume`.

    Parameters
    ----------
    bvalues : (b,) in s/mm²; may be left to the fit
    thresholds : (split b,), used by ``segmented``: b-values from it on tell D
    bounds : OSIPI's dict {"f": (low, high), "D": …, "Dp": …, "S0": …} or its arrays ([S0, f, Dp, D] low, high). Results lie
        within, to the last bit; S0 is not bounded here
    initial_guess : taken and not needed: the starts come from a table
    method : as for `ivimsc.fit_signals`; default: `default_method`
    body_part : taken and kept; nothing here depends on it
    options : the method's options, and device and threads, as for `ivimsc.fit_signals`

    Attributes
    ----------
    bvalues, thresholds, bounds, initial_guess, osipi_bounds, osipi_initial_guess, use_bounds, use_initial_guess, deep_learning,
    supervised, stochastic, result_keys
        as OsipiBase has them
    """

    default_method = "nlls"
    id_author = "The ivimsc developers"
    id_return_parameters = "f, D*, D"
    id_units = "seconds per milli metre squared or milliseconds per micro metre squared"
    id_ref: ClassVar[str | None] = None
    required_bvalues = 4
    required_thresholds: ClassVar[list[int]] = [0, 1]
    required_bounds = False
    required_bounds_optional = True
    required_initial_guess = False
    required_initial_guess_optional = True
    supported_initial_guess = False
    supported_dimensions = 4
    supported_priors = False
    result_keys: ClassVar[list[str]] = ["f", "Dp", "D"]

    def __init__(
        self,
        bvalues: ArrayLike | None = None,
        thresholds: ArrayLike | None = None,
        bounds: Any = None,
        initial_guess: Any = None,
        method: str | None = None,
        body_part: str | None = None,
        **options: Any,
    ) -> None:
        self.method = method or self.default_method
        record, has = find_method(self.method), option_names(self.method)
        self.id_algorithm_type = load_method(self.method).TITLE
        self.bvalues = None if bvalues is None else np.asarray(bvalues)
        self.thresholds = np.array([200]) if thresholds is None else np.atleast_1d(np.asarray(thresholds))
        self._within = {} if bounds is None else read_bounds(bounds)
        self.bounds = BOUNDS | {key: list(pair) for key, pair in self._within.items()}
        self.body_part = initial_guess if isinstance(initial_guess, str) else body_part
        self.initial_guess = dict(GUESS) if initial_guess is None or self.body_part is initial_guess else initial_guess
        self.osipi_bounds, self.osipi_initial_guess = self.bounds, self.initial_guess
        bounded = "f_bounds" in has or "d_range" in has
        self.supported_bounds, self.supported_thresholds = bounded, "split" in has
        self.use_bounds = dict.fromkeys(KEYS, bounded) | {"S0": False}
        self.use_initial_guess = dict.fromkeys(KEYS, False)
        self.deep_learning = self.supervised = record.trained
        self.stochastic = False
        options.pop("force_default_settings", None)
        self.options = as_options(self._within, self.method) | options
        if thresholds is not None and "split" in has and self.thresholds.size:
            self.options.setdefault("split", float(self.thresholds[0]))

    def osipi_fit(self, data: ArrayLike, *args: Any, **kwargs: Any) -> dict[str, NDArray[np.float64]]:
        """Fit many voxels, all at once, as `osipi_fit_full_volume`, but for voxels whose first signal is NaN.

        They are outside the mask in the collection, where `osipi_fit` gives 0 for them.

        Parameters
        ----------
        data : (…, b)
        args, kwargs : as for `osipi_fit_full_volume`

        Returns
        -------
        as `ivim_fit_full_volume`
        """
        outside = np.isnan(np.asarray(data, np.float64)[..., 0])
        fitted = self.osipi_fit_full_volume(data, *args, **kwargs)
        return {key: np.where(outside, 0.0, values) for key, values in fitted.items()}

    def osipi_fit_full_volume(
        self, data: ArrayLike, bvalues: ArrayLike | None = None, njobs: int | None = None, **kwargs: Any
    ) -> dict[str, NDArray[np.float64]]:
        """Fit many voxels.

        Parameters
        ----------
        data : (…, b); it is not normalised, which changes nothing but S0
        bvalues : (b,) in s/mm²; default: those of the algorithm. A number counts as `njobs`, as the collection had it both ways
        njobs : CPU threads; -1 for all
        kwargs : taken and not needed

        Returns
        -------
        as `ivim_fit_full_volume`
        """
        if isinstance(bvalues, int | np.integer):
            bvalues, njobs = None, int(bvalues)
        threads = {} if njobs is None else {"threads": njobs if njobs > 0 else None}
        return self._fitted(data, bvalues, **threads)

    def ivim_fit(self, signals: ArrayLike, bvalues: ArrayLike | None = None, **kwargs: Any) -> dict[str, float]:
        """Fit one voxel.

        Parameters
        ----------
        signals : (b,)
        bvalues : (b,) in s/mm²; default: those of the algorithm
        kwargs : taken and not needed

        Returns
        -------
        {"f", "Dp", "D"} as floats, as far as the method has them, Dp and D in mm²/s; NaN where it cannot be fitted

        Raises
        ------
        InputError
            where there are no b-values, or not as many as signals
        """
        fitted = self._fitted(np.asanyarray(signals)[None], bvalues)
        return {key: float(values[0]) for key, values in fitted.items()}

    def ivim_fit_full_volume(
        self, signals: ArrayLike, bvalues: ArrayLike | None = None, **kwargs: Any
    ) -> dict[str, NDArray[np.float64]]:
        """Fit many voxels.

        Parameters
        ----------
        signals : (…, b)
        bvalues : (b,) in s/mm²; default: those of the algorithm
        kwargs : taken and not needed

        Returns
        -------
        {"f", "Dp", "D"}, each (…), as far as the method has them, Dp and D in mm²/s; NaN where it cannot be fitted

        Raises
        ------
        InputError
            where there are no b-values, or not as many as signals
        """
        return self._fitted(signals, bvalues)

    def _fitted(self, signals: ArrayLike, bvalues: ArrayLike | None, **where: Any) -> dict[str, NDArray[np.float64]]:
        bvalues = self.bvalues if bvalues is None else bvalues
        if bvalues is None:
            raise InputError("bvalues: found none, expected b-values [s/mm²] here or when the algorithm was made")
        estimates = fit_signals(signals, bvalues, self.method, **(self.options | where))
        found = {"f": estimates.f, "Dp": estimates.Dstar, "D": estimates.D}
        # fits run in float32, whose nearest number to a bound may lie beyond it
        return {
            key: np.clip(np.asarray(values, np.float64), *self._within.get(key, (-np.inf, np.inf)))
            for key, values in found.items()
            if values is not None
        }

    def D_and_Ds_swap(self, results: dict[str, Any]) -> dict[str, Any]:
        """The results as they are: here D* is never below D."""
        return results

    def osipi_accepted_dimensions(self) -> bool:
        """Any number of dimensions is fitted."""
        return True

    def osipi_accepts_dimension(self, dim: int) -> bool:
        """Any number of dimensions is fitted."""
        return True

    def osipi_author(self) -> str:
        """Who wrote it."""
        return self.id_author
