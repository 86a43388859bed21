"""Residuals by volume: an image that moved, or that something went wrong in, differs from the curve of all the others."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.report.sources import Fit, Sources
from ivimsc.report.summary import curves

__all__ = ["VolumeResiduals", "residuals_by_volume"]

MOST = 100_000  # voxels that are looked at
ODD = 1.5  # times the usual residual of its b-value: more than noise makes over thousands of voxels


class VolumeResiduals(NamedTuple):
    """Residuals of single images against the curve of a fit.

    fit : its name; numbers : (volume,) in the file, from 0; bvalues : (volume,) [s/mm²]
    size : (volume,) root mean square of image less curve; shift : (volume,) its mean; both in units of `unit`
    usual : (volume,) median size of the images of the same b-value; odd : (volume,) bool, far above it
    """

    fit: str
    numbers: NDArray[np.intp]
    bvalues: NDArray[np.float64]
    size: NDArray[np.float64]
    shift: NDArray[np.float64]
    usual: NDArray[np.float64]
    odd: NDArray[np.bool_]
    unit: str


def residuals_by_volume(sources: Sources, sigma: float) -> VolumeResiduals | None:
    """How far each image of the series is from the fitted curves.

    Parameters
    ----------
    sources : with single images, else the result is None
    sigma : noise SD of one image; 0: residuals are given in % of the mean S0
    """
    images = sources.images
    if images is None:
        return None
    fit = next((one for one in sources.fits if not one.mono), sources.fits[0])
    some, curve = _looked_at(fit, sources)
    if not len(some):
        return None
    unit = sigma or float(np.mean(fit.fields["s0"][some])) / 100
    size, shift = np.empty(len(images.numbers)), np.empty(len(images.numbers))
    for k, shell in enumerate(images.shell):
        rest = images.signals[some, k] - curve[:, shell]
        rest = rest[np.isfinite(rest)].astype(np.float64)
        size[k], shift[k] = (np.sqrt(np.mean(rest**2)), rest.mean()) if len(rest) else (np.nan, np.nan)
    usual = np.array([np.nanmedian(size[images.shell == shell]) for shell in images.shell])
    repeats = np.bincount(images.shell)[images.shell]
    odd = (size > ODD * usual) & (repeats >= 3)  # of two, none is the odd one
    name = "noise SD" if sigma else "% of mean S0"
    b = sources.bvalues[images.shell]
    return VolumeResiduals(fit.name, images.numbers, b, size / unit, shift / unit, usual / unit, odd, name)


def _looked_at(fit: Fit, sources: Sources) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Some of the fitted voxels, and their curves (voxel, b)."""
    curve_known = np.isfinite(fit.fields["s0"]) & np.isfinite(fit.fields["d"])
    some = np.flatnonzero(curve_known)
    some = some[:: max(len(some) // MOST, 1)]
    curve = curves(fit, sources.bvalues, some)
    good = np.isfinite(curve).all(1)
    return some[good], curve[good]
