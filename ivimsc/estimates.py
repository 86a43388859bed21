"""What a fit returns: `Estimates`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIELDS", "REQUIRED", "Estimates", "Field", "Spectrum"]


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


@dataclass(frozen=True)
class Estimates:
    """Parameter estimates of one fit; every array has the shape of the signals without the b axis.

    S0, rmse in units of the signal; f, fstd without unit; D, Dstar, dstd, dstarstd in mm²/s; outcome: `Outcome` codes;
    the others as `FIELDS` says; notes: what was chosen, in sentences. Fields that a method does not have are None; S0, rmse and outcome are always there. A
    voxel that could not be fitted holds NaN and its outcome.
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
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of voxels, or of whatever the first axis counts."""
        return len(self.outcome)

    def items(self) -> Iterator[tuple[str, NDArray]]:
        """(file key, array) of every field that this fit has, in the order of `FIELDS`."""
        for field in FIELDS:
            array = getattr(self, field.code)
            if array is not None:
                yield field.key, array

    def reshape(self, shape: tuple[int, ...]) -> "Estimates":
        """The same estimates with every field in `shape`."""
        arrays = {field.code: getattr(self, field.code) for field in FIELDS}
        return replace(self, **{name: a.reshape(shape) for name, a in arrays.items() if a is not None})
