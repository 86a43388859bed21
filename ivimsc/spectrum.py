"""The mean spectrum per region: amplitude against diffusivity, from the sparse coefficients of `ista`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import make_folder, refuse_existing, written_together
from ivimsc.regions import regions_of
from ivimsc.store import EstimateStore
from ivimsc.tables import fill_table
from ivimsc.text import one_line

__all__ = ["mean_spectra", "regions_of", "write_spectra"]


def mean_spectra(fit: EstimateStore, regions: dict[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.float64]]:
    """The mean spectrum of each region: coefficients as parts of S0, averaged over its fitted voxels.

    Parameters
    ----------
    fit : estimate store with a spectrum
    regions : name -> (voxel,) bool, as `regions_of` has them

    Returns
    -------
    Name -> (atom,) mean coefficients, which add up to 1; the atoms of D come first

    Raises
    ------
    InputError
        for estimates of a method without a dictionary
    """
    if fit.spectrum is None or fit.dictionary is None:
        raise InputError(
            f"{fit.path}: found no spectrum (method {fit.method}), expected estimates of a method with a dictionary"
        )
    data, indices, indptr = fit.spectrum
    atoms = len(fit.dictionary.D) + len(fit.dictionary.Dstar)
    voxel = np.repeat(np.arange(len(fit)), np.diff(indptr))
    totals = np.bincount(voxel, weights=data, minlength=len(fit))
    known = totals > 0
    shares = data / np.where(known, totals, 1)[voxel]
    spectra = {}
    for name, inside in regions.items():
        chosen = inside & known
        part = chosen[voxel]
        spectra[name] = np.bincount(indices[part], weights=shares[part], minlength=atoms) / max(chosen.sum(), 1)
    return spectra


def write_spectra(estimates: Path, out: Path, labels: Path | None = None, force: bool = False) -> list[Path]:
    """Write the mean spectrum of each region as a table and as a picture.

    Parameters
    ----------
    estimates : estimate store of a method with a dictionary
    out : folder for ``<store>_spectrum.csv`` (part, diffusivity [mm²/s], one column per region) and ``<store>_spectrum.png``
    labels : as in `regions_of`
    force : write over earlier files

    Returns
    -------
    Paths of both files

    Raises
    ------
    InputError
        as `regions_of` and `mean_spectra`; and where a file exists and `force` is not set
    """
    paths = [out / f"{estimates.stem}_spectrum{end}" for end in (".csv", ".png")]
    for path in paths:
        refuse_existing(path, force)
    with EstimateStore(estimates) as fit:
        regions = regions_of(fit, labels)
        spectra = mean_spectra(fit, regions)
        dictionary, coded = fit.dictionary, np.diff(fit.spectrum.indptr) > 0
        counts = {name: int(np.sum(inside & coded)) for name, inside in regions.items()}
    make_folder(out)
    with written_together(paths, force) as temporary:
        rates = [("D", d) for d in dictionary.D] + [("D*", d) for d in dictionary.Dstar]
        fill_table(temporary[0], ["part", "diffusivity [mm²/s]", *spectra],
                   ([part, f"{rate:.6g}", *(f"{values[k]:.6g}" for values in spectra.values())] for k, (part, rate) in enumerate(rates)))  # fmt: skip
        _draw(spectra, counts, (dictionary.D * 1e3, dictionary.Dstar * 1e3), temporary[1])
    return paths


def _draw(spectra: dict[str, NDArray], counts: dict[str, int], rates: tuple[NDArray, NDArray], path: Path) -> None:
    """Amplitude against diffusivity, a row per region with its number of voxels.

    Atoms are summed into 48 logarithmic bins so that grids compare.
    """
    from ivimsc.figures import CURVES, bare, new_figure, save  # matplotlib is loaded only where something is drawn

    d, p = rates
    low = max(min(d[d > 0].min(), p.min()), 1e-2)
    edges = np.geomspace(low * 0.999, max(d.max(), p.max()) * 1.001, 49)
    figure, axes = new_figure(len(spectra), 1, (8, 1.2 + 1.5 * len(spectra)), sharex=True, squeeze=False)
    for row, (name, values) in zip(axes[:, 0], spectra.items(), strict=True):
        parts = (
            (np.maximum(d, low), values[: len(d)], CURVES[0], "tissue (D)", ""),
            (p, values[len(d) :], CURVES[1], "blood (D*)", "//"),
        )
        for places, heights, colour, label, hatch in parts:
            sums = np.histogram(places, edges, weights=100 * heights)[0]
            row.stairs(sums, edges, fill=True, color=colour, alpha=0.75, hatch=hatch, ec="white" if hatch else colour,
                       label=f"{label}: {100 * heights.sum():.0f} %")  # fmt: skip
        row.set_xscale("log")
        row.set_ylim(0, None)
        row.margins(y=0.08)
        row.set_ylabel("% of S0 per bin", fontsize=8)
        row.set_title(f"{one_line(name)}: mean of {counts[name]:,} voxels", fontsize=9, loc="left", parse_math=False)
        row.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2, borderpad=0)
        bare(row)
    axes[-1, 0].set_xlabel("D, D* [µm²/ms]")
    save(figure, path)
