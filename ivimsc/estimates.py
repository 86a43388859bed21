"""What a fit returns: `Estimates`."""

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.outcome import Outcome
from ivimsc.physics.models import predicted
from ivimsc.physics.parameters import BY_KEY

__all__ = ["FIELDS", "REQUIRED", "Estimates", "Field", "Spectrum", "spread"]


class Field(NamedTuple):
    """One per-voxel result: attribute of `Estimates`, key in files, unit and meaning."""

    code: str
    key: str
    unit: str
    meaning: str


FIELDS = (
    Field("S0", "s0", "as the input", "signal at b = 0"),
    Field("f", "f", "1", "perfusion fraction"),
    Field("D", "d", "mm²/s", "tissue diffusivity"),
    Field("Dstar", "dstar", "mm²/s", "pseudo-diffusivity"),
    Field("rmse", "rmse", "as the input", "root mean square of the residuals"),
    Field("outcome", "outcome", "1", "how the fit ended: see Outcome"),
    Field("fstd", "fstd", "1", "standard error or posterior SD of f"),
    Field("dstd", "dstd", "mm²/s", "standard error or posterior SD of D"),
    Field("dstarstd", "dstarstd", "mm²/s", "standard error or posterior SD of D*"),
    Field("gap", "gap", "1", "relative duality gap"),
    Field("iterations", "iterations", "1", "iterations used"),
    Field("atoms", "atoms", "1", "number of active atoms"),
    Field("ess", "ess", "1", "effective sample size"),
    Field("fmap", "fmap", "1", "posterior maximum of f"),
    Field("dmap", "dmap", "mm²/s", "posterior maximum of D"),
    Field("dstarmap", "dstarmap", "mm²/s", "posterior maximum of D*"),
    Field("chi2", "chi2", "1", "reduced chi-square of the residuals, where the noise is known"),
    Field("K", "k", "1", "diffusional kurtosis of the tissue"),
    Field("f2", "f2", "1", "fraction of the fast pool; f is then that of the intermediate one"),
    Field("Dstar2", "dstar2", "mm²/s", "pseudo-diffusivity of the fast pool; D* is then that of the intermediate one"),
    Field("kstd", "kstd", "1", "standard error of the kurtosis"),
    Field("f2std", "f2std", "1", "standard error of the fraction of the fast pool"),
    Field("dstar2std", "dstar2std", "mm²/s", "standard error of the pseudo-diffusivity of the fast pool"),
)
REQUIRED = ("s0", "rmse", "outcome")  # keys that every method has


class Spectrum(NamedTuple):
    """Sparse coefficients, CSR rows: voxel × atom, in units of the signal."""

    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Estimates:
    """Parameter estimates of one fit; every array has the shape of the signals without the b axis.

    S0, rmse in units of the signal; f, fstd without unit; D, Dstar, dstd, dstarstd in mm²/s; outcome: `Outcome` codes;
    the others as `FIELDS` says. Fields that a method does not have are None; S0, rmse and outcome are always there. A voxel
    that could not be fitted holds NaN and its outcome; one outside the mask holds 0 and outcome 0.

    notes: what was chosen, in sentences; method, bvalues (b,) [s/mm²], options: what made the estimates, where it is known.
    `spread` goes into no file: rmse with each residual times the root of the number of images behind its signal; None where
    each is one image.
    """

    S0: NDArray
    f: NDArray | None
    D: NDArray | None
    Dstar: NDArray | None
    rmse: NDArray
    outcome: NDArray[np.uint8]
    fstd: NDArray | None = None
    dstd: NDArray | None = None
    dstarstd: NDArray | None = None
    gap: NDArray | None = None
    iterations: NDArray | None = None
    atoms: NDArray | None = None
    ess: NDArray | None = None
    fmap: NDArray | None = None
    dmap: NDArray | None = None
    dstarmap: NDArray | None = None
    chi2: NDArray | None = None
    K: NDArray | None = None
    f2: NDArray | None = None
    Dstar2: NDArray | None = None
    kstd: NDArray | None = None
    f2std: NDArray | None = None
    dstar2std: NDArray | None = None
    spectrum: Spectrum | None = None
    spread: NDArray | None = None
    notes: tuple[str, ...] = ()
    method: str = ""
    bvalues: NDArray[np.float64] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of voxels, or of whatever the first axis counts."""
        return len(self.outcome)

    def items(self) -> Iterator[tuple[str, NDArray]]:
        """(file key, array) of every field that this fit has, in the order of `FIELDS`."""
        for one in FIELDS:
            array = getattr(self, one.code)
            if array is not None:
                yield one.key, array

    def reshape(self, shape: tuple[int, ...]) -> "Estimates":
        """The same estimates with every field in `shape`."""
        arrays = {one.code: getattr(self, one.code) for one in FIELDS}
        return replace(self, **{name: a.reshape(shape) for name, a in arrays.items() if a is not None})

    def predict(self, bvalues: ArrayLike | None = None) -> NDArray[np.float64]:
        """The fitted curves, of the method's own model: equation (1), or as `ivimsc.physics.models.predicted` says.

        Parameters
        ----------
        bvalues : (b,) in s/mm², any that are wanted; default: those of the fit, in the order of its signals

        Returns
        -------
        (…, b) in the unit of the signals; NaN for voxels that were not fitted, 0 outside the mask. The decoded curve for ista
        and scdnn, whose `rmse` is that of their code

        Raises
        ------
        InputError
            for b-values that are negative or not finite, and for none where the fit does not know its own
        """
        b = self.bvalues if bvalues is None else np.atleast_1d(np.asarray(bvalues, np.float64))
        if b is None:
            raise InputError("bvalues: found none, and estimates that do not know theirs, expected b-values [s/mm²]")
        if b.ndim != 1 or not np.all(np.isfinite(b) & (b >= 0)):
            raise InputError(f"bvalues: found {b.tolist()}, expected a list of finite numbers >= 0 in s/mm²")
        return predicted({key: _on_host(values).astype(np.float64) for key, values in self.items() if key in BY_KEY}, b)

    def residuals(self, signals: ArrayLike) -> NDArray[np.float64]:
        """What the fitted curves leave of the signals: signals - predict().

        Parameters
        ----------
        signals : (…, b) that were fitted, in the order in which they were

        Returns
        -------
        (…, b) in the unit of the signals
        """
        signals, curves = np.asarray(signals), self.predict()
        if signals.shape != curves.shape:
            raise InputError(f"signals: found shape {signals.shape}, expected {curves.shape}, that of the fitted ones")
        return signals - curves

    def table(self) -> dict[str, NDArray]:
        """Columns for a data frame, ``pandas.DataFrame(estimates.table())``: a row for every voxel inside the mask.

        Returns
        -------
        name -> (voxel,): the place of the voxel (i, j, k, as many as there are axes), every field under its file key, in the
        units of `FIELDS`, and ``meaning``, the outcome in words
        """
        inside = _on_host(self.outcome) != Outcome.OUTSIDE
        columns: dict[str, NDArray] = dict(zip("ijklmn", np.nonzero(np.atleast_1d(inside)), strict=False))
        columns |= {key: np.atleast_1d(_on_host(values)[inside]) for key, values in self.items()}
        return columns | {"meaning": np.array([Outcome(int(code)).sentence for code in columns["outcome"]])}

    def to_nifti(self, folder: str | Path, like: Any, stem: str = "ivim", force: bool = False) -> list[Path]:
        """Write the maps as NIfTI files, as ``ivimsc fit`` does.

        Parameters
        ----------
        folder : made if it is not there
        like : where the voxels lie: a NIfTI file (of the series, say), a nibabel image, or a voxel store; its first three axes
            are those of the estimates
        stem : how the names begin
        force : replace maps of the same names

        Returns
        -------
        the files ``<stem>_model-ivim_desc-<method>_param-<key>_dwimap.nii.gz``
        """
        from ivimsc.maps import write_estimates  # a door upward, opened when it is asked for: see setup.cfg

        return write_estimates(self, folder, like, stem, force)

    def _lines(self) -> list[tuple[str, str]]:
        """What is in here, as pairs of a name and words: medians and quartiles in display units, and the outcomes."""
        outcome = np.ravel(_on_host(self.outcome))
        inside, lines = outcome != Outcome.OUTSIDE, []
        for p in BY_KEY.values():
            values = getattr(self, p.code)
            if values is None:
                continue
            known = np.ravel(_on_host(values)).astype(np.float64)[inside] * p.display_scale
            known = known[np.isfinite(known)]
            words = f"{np.median(known):.4g} {p.display_unit}" if len(known) else "no value"
            if len(known) > 1:
                words = f"median {words}, quartiles {np.quantile(known, 0.25):.4g} to {np.quantile(known, 0.75):.4g}"
            lines.append((p.code, words))
        counts = np.bincount(outcome[inside], minlength=len(Outcome))
        shares = [
            f"{100 * n / max(inside.sum(), 1):.1f} % {Outcome(k).sentence.split(':')[0]}"
            for k, n in enumerate(counts)
            if n
        ]
        lines.append(("outcome", "; ".join(shares) or "no voxel"))
        others = [key for key, _ in self.items() if key not in BY_KEY and key != "outcome"]
        return [*lines, ("also", ", ".join([*others, *(["spectrum"] if self.spectrum is not None else [])]))]

    def _title(self) -> str:
        shape = self.outcome.shape
        size = (
            " × ".join(map(str, shape)) + (" voxels" if math.prod(shape) != 1 else " voxel") if shape else "one voxel"
        )
        b = (
            ""
            if self.bvalues is None or not len(self.bvalues)
            else f", {len(self.bvalues)} b-values {min(self.bvalues):g} to {max(self.bvalues):g} s/mm²"
        )
        return f"Estimates{f' by {self.method}' if self.method else ''}: {size}{b}"

    def __repr__(self) -> str:
        return "\n".join([self._title(), *(f"  {name:8}{words}" for name, words in self._lines())])

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(words)}</td></tr>"
            for name, words in self._lines()
        )
        return f"<p><b>{html.escape(self._title())}</b></p><table>{rows}</table>"


def _on_host(values: Any) -> NDArray:
    """An array in host memory; those of a GPU are copied."""
    return np.asarray(values.copy_to_host() if hasattr(values, "copy_to_host") else values)


def spread(estimates: Estimates, inside: NDArray[np.bool_]) -> Estimates:
    """Estimates of the voxels of a mask in the shape of the mask.

    Parameters
    ----------
    estimates : fields (voxel,), as many as there are True in `inside`, in its order
    inside : (…) the mask

    Returns
    -------
    Estimates with fields (…): 0 outside, where the outcome is 0 too; rows of the spectrum are empty there
    """
    arrays: dict[str, Any] = {}
    for one in FIELDS:
        values = getattr(estimates, one.code)
        if values is not None:
            arrays[one.code] = np.zeros(inside.shape, values.dtype)
            arrays[one.code][inside] = values
    if estimates.spectrum is not None:
        lengths = np.zeros(inside.size, np.int64)
        lengths[np.flatnonzero(inside)] = np.diff(estimates.spectrum.indptr)
        arrays["spectrum"] = estimates.spectrum._replace(indptr=np.concatenate([[0], np.cumsum(lengths)]))
    return replace(estimates, **arrays)
