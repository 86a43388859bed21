"""Making a report: open, look, pack, draw, write. One HTML file appears whole, or nothing does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ivimsc.errors import InputError
from ivimsc.files import refuse_existing, written_whole
from ivimsc.report.cautions import cautions_of
from ivimsc.report.paragraph import write_paragraph
from ivimsc.report.plan import pack_sources
from ivimsc.report.regions import find_regions, region_rows
from ivimsc.report.sources import opened_sources, refuse_too_many
from ivimsc.report.summary import bound_of, count_outcomes, error_rows, histograms, mean_curves, noise_of
from ivimsc.report.volumes import residuals_by_volume
from ivimsc.store import VoxelStore

__all__ = ["ReportJob", "check_job", "write_report"]


@dataclass(frozen=True)
class ReportJob:
    """One report.

    Attributes
    ----------
    input : the voxel store (.h5) or the NIfTI series that was fitted
    estimates : the estimate stores of its fits, in the order in which they are shown
    out : the HTML file to write
    bval, volumes : of a NIfTI series, as for the fit
    labels : regions: a NIfTI volume of whole numbers, or a voxel store with tissues
    force : replace a file of the same name
    """

    input: Path
    estimates: Sequence[Path]
    out: Path
    bval: Path | None = None
    volumes: Any = None
    labels: Path | None = None
    force: bool = False


def check_job(job: ReportJob, mask: Any = "given") -> None:
    """Refuse, before any work, a report that could not be written.

    Parameters
    ----------
    job : the report
    mask : of a fit that is still to come; None: without a mask, so that all voxels of the input are counted

    Raises
    ------
    InputError
        where the file exists (without `force`) or cannot be there, for too many voxels, and without Bokeh
    """
    if find_spec("bokeh") is None:
        raise InputError("report: found no bokeh, expected the extra: pip install 'ivimsc[report]'")
    refuse_existing(job.out, job.force)
    if mask is None:
        refuse_too_many(_count(job.input), job.input)


def _count(path: Path) -> int:
    """How many voxels a voxel store or a volume has."""
    if path.suffix == ".h5":
        with VoxelStore(path) as store:
            return len(store)
    from ivimsc.nifti import read_shape  # nibabel is loaded only where NIfTI is read

    return math.prod(read_shape(path)[:3])


def write_report(job: ReportJob) -> Path:
    """Write a report.

    Parameters
    ----------
    job : what to show, and where

    Returns
    -------
    the HTML file

    Raises
    ------
    InputError
        for estimates of other signals, labels of another grid, too many voxels, and a file that exists; nothing is written
    """
    check_job(job)
    if not job.out.absolute().parent.is_dir():
        raise InputError(f"{job.out}: found no folder {job.out.parent}, expected one for the report")
    with opened_sources(job.input, job.estimates, job.bval, job.volumes) as sources:
        regions = find_regions(sources, job.labels)
        noise = noise_of(sources)
        sigma = noise.sigma if noise else 0.0
        counts = {fit.name: count_outcomes(fit) for fit in sources.fits}
        moved = residuals_by_volume(sources, sigma)
        bound = bound_of(sources, sigma)
        found = {
            "regions": regions,
            "region_rows": region_rows(sources, regions) if regions else [],
            "noise": noise,
            "counts": counts,
            "moved": moved,
            "errors": error_rows(sources, bound),
            "histograms": histograms(sources, bound),
            "curves": mean_curves(sources),
            "cautions": cautions_of(sources, noise, counts, moved),
            "paragraph": write_paragraph(sources, noise, counts),
        }
        kept = pack_sources(sources, sigma, regions.codes if regions else None)
        from ivimsc.report.page import render  # Bokeh and Jinja are loaded only where a page is made

        text = render(sources, found, kept)
    with written_whole(job.out, job.force) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return job.out
