"""Regions: their voxels, and what each fit found in them.

The statistics follow docs/outcomes.md: f and D of all voxels with outcome 1, 2 or 4, D* of those with outcome 1 alone.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.physics.parameters import PARAMETERS, Parameter
from ivimsc.regions import regions_of, usable
from ivimsc.report.sources import Sources

__all__ = ["RegionRow", "Regions", "find_regions", "region_rows"]

MOST = 60  # regions in a figure


class Regions(NamedTuple):
    """codes : (voxel,) number of the region of each voxel, 0 for none; names : of the regions 1, 2, …; source : of them."""

    codes: NDArray[np.uint16]
    names: list[str]
    source: str


class RegionRow(NamedTuple):
    """One parameter of one fit in one region, in display units; low and high: 5th and 95th percentile."""

    region: str
    parameter: Parameter
    name: str
    n: int
    mean: float
    sd: float
    low: float
    lower: float
    median: float
    upper: float
    high: float


def find_regions(sources: Sources, labels: Path | None) -> Regions | None:
    """The regions of the labels, else the tissues of the voxel store; None where there are neither.

    Parameters
    ----------
    sources : the data
    labels : NIfTI volume of whole numbers, or a voxel store with tissues

    Raises
    ------
    InputError
        for labels of another grid, and where no voxel lies in a region
    """
    if labels is None:
        tissue = getattr(sources.voxels, "tissue", None)
        if tissue is None:
            return None
        codes = [code for code in np.unique(tissue) if code > 0]
        names = {code: sources.voxels.tissue_names.get(int(code), f"label {code}") for code in codes}
        return _numbered({names[code]: tissue == code for code in codes}, sources.name)
    inside = regions_of(sources.fits[0].store, labels)
    del inside["all"]
    if not inside:
        raise InputError(f"{labels}: found no label above 0 in the fitted voxels, expected at least one region")
    return _numbered(inside, labels.name)


def _numbered(inside: dict[str, NDArray[np.bool_]], source: str) -> Regions | None:
    names = list(inside)[:MOST]
    codes = np.zeros(len(next(iter(inside.values()), ())), np.uint16)
    for code, name in enumerate(names, start=1):
        codes[inside[name]] = code
    return Regions(codes, names, source) if names else None


def region_rows(sources: Sources, regions: Regions) -> list[RegionRow]:
    """Statistics of every region, parameter and fit, where there is a voxel to tell them."""
    rows = []
    for code, region in enumerate(regions.names, start=1):
        here = regions.codes == code
        for p in PARAMETERS:
            for fit in (fit for fit in sources.fits if p.key in fit.fields):
                values = fit.fields[p.key][here & usable(p.key, fit.fields["outcome"])].astype(np.float64)
                values = values[np.isfinite(values)] * p.display_scale
                if len(values):
                    parts = np.percentile(values, (5, 25, 50, 75, 95))
                    rows.append(RegionRow(region, p, fit.name, len(values), values.mean(), values.std(), *parts))
    return rows
