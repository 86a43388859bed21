"""Regions of interest: what the fits found in each region, as a table, and the fit of the region's mean curve.

The statistics follow docs/outcomes.md (`ivimsc.regions.usable`): f, D and the rest of all voxels with outcome 1, 2 or 4, D* of
those with outcome 1 alone. The mean curve is the mean of the signals of all voxels of the region that have a signal; noise
falls with their number, and with it the bias of f and D*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import choose_device
from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, Estimates
from ivimsc.files import make_folder, refuse_existing
from ivimsc.fit.prepare import prepare
from ivimsc.maps import MAP_KEYS
from ivimsc.methods import find_method
from ivimsc.nifti import read_series
from ivimsc.outcome import Outcome
from ivimsc.regions import regions_of, usable
from ivimsc.store import EstimateStore, VoxelStore, name_fits
from ivimsc.tables import write_table
from ivimsc.voxels import SelectedVoxels, Voxels

__all__ = ["RegionRow", "RoiJob", "mean_curves", "region_rows", "region_values", "run_roi"]

BLOCK = 2**18  # voxels whose signals are read at once
UNITS = {one.key: one.unit for one in FIELDS}
SHARES = tuple(outcome for outcome in Outcome if outcome)  # 0 is outside the mask: no voxel of a store
COLUMNS = ("estimates", "region", "map", "unit", "voxels", "n", "mean", "sd", "median", "q25", "q75",
           "curve", "curve_sd", "curve_outcome")  # fmt: skip


@dataclass(frozen=True)
class RoiJob:
    """One run of ``ivimsc roi``.

    Attributes
    ----------
    estimates : estimate stores, all of one volume
    labels : NIfTI volume of label numbers, or voxel store with tissues
    out : table to write (.csv)
    names : table of the labels' names; default: one that is called like the labels
    signals : voxel store or NIfTI series that was fitted: the mean curve of each region is fitted too
    bval, mask, volumes : of the series, as they were for the fit
    method, settings : fit the mean curves by this method and its options; default: by those of the estimates
    force : replace an earlier table
    """

    estimates: Sequence[Path]
    labels: Path
    out: Path
    names: Path | None = None
    signals: Path | None = None
    bval: Path | None = None
    mask: Path | str | None = None
    volumes: str | Path | None = None
    method: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False


class RegionRow(NamedTuple):
    """One map of one fit in one region; values in the unit of the API.

    voxels: of the region that were fitted; n: of them counted; curve, curve_sd, curve_outcome: from the mean curve, where it
    was fitted; shares: outcome -> share of the voxels.
    """

    estimates: str
    region: str
    key: str
    unit: str
    voxels: int
    n: int
    mean: float
    sd: float
    median: float
    q25: float
    q75: float
    curve: float
    curve_sd: float
    curve_outcome: Outcome | None
    shares: dict[Outcome, float]


def region_values(fit: EstimateStore, inside: Mapping[str, NDArray[np.bool_]], key: str) -> dict[str, NDArray]:
    """The values of a map that count, by region: what a box plot shows.

    Parameters
    ----------
    fit : estimate store
    inside : region -> (voxel,) bool, from `ivimsc.regions.regions_of`
    key : of the map, as in files

    Returns
    -------
    region -> values (some voxels,) float64 in the unit of the map; see `ivimsc.regions.usable`
    """
    values, counted = fit[key], usable(key, fit["outcome"])
    counted &= np.isfinite(values)
    return {name: values[here & counted].astype(np.float64) for name, here in inside.items()}


def region_rows(fit: EstimateStore, name: str, inside: Mapping[str, NDArray[np.bool_]],
                curves: Mapping[str, Estimates] | None = None) -> list[RegionRow]:  # fmt: skip
    """The table of one fit: a row for every region and map.

    Parameters
    ----------
    fit : estimate store
    name : what the fit is called in the table
    inside : region -> (voxel,) bool
    curves : region -> estimates (1,) of its mean curve
    """
    outcome = fit["outcome"]
    counts = {region: np.bincount(outcome[here], minlength=len(Outcome)) for region, here in inside.items()}
    shares = {region: {o: float(n[o] / max(n.sum(), 1)) for o in SHARES} for region, n in counts.items()}
    found = {}
    for key in (key for key in MAP_KEYS if key in fit.keys and key != "outcome"):
        for region, values in region_values(fit, inside, key).items():
            about = (name, region, key, UNITS[key], int(counts[region].sum()), len(values))
            curve = _of_curve(curves[region], key) if curves and region in curves else (np.nan, np.nan, None)
            found[region, key] = RegionRow(*about, *_statistics(values), *curve, shares[region])
    return [found[region, key] for region in inside for key in MAP_KEYS if (region, key) in found]


def _statistics(values: NDArray) -> tuple[float, ...]:
    """Mean, SD, median and quartiles, as far as there are values."""
    if not len(values):
        return (np.nan,) * 5
    lower, median, upper = np.percentile(values, (25, 50, 75))
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    return float(values.mean()), sd, float(median), float(lower), float(upper)


def _of_curve(estimates: Estimates, key: str) -> tuple[float, float, Outcome]:
    """Value, its SD and the outcome of the mean curve of one region, for one map."""
    found = dict(estimates.items())
    value, sd = (float(found[k][0]) if k in found else np.nan for k in (key, f"{key}std"))
    return value, sd, Outcome(int(estimates.outcome[0]))


def mean_curves(voxels: Any, inside: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.float64]]:
    """The mean signals of regions, block by block.

    Parameters
    ----------
    voxels : voxel store, or `Voxels` in memory
    inside : region -> (voxel,) bool

    Returns
    -------
    region -> (b,) mean over its voxels with a finite signal at every b-value; NaN where there is none
    """
    sums = {name: np.zeros(len(voxels.bvalues)) for name in inside}
    counts = dict.fromkeys(inside, 0)
    for start in range(0, len(voxels), BLOCK):
        stop = min(start + BLOCK, len(voxels))
        signals = voxels.read(start, stop)
        good = np.isfinite(signals).all(axis=1) & signals.any(axis=1)
        for name, here in inside.items():
            chosen = here[start:stop] & good
            sums[name] += signals[chosen].sum(axis=0, dtype=np.float64)
            counts[name] += int(chosen.sum())
    return {
        name: sums[name] / counts[name] if counts[name] else np.full(len(voxels.bvalues), np.nan) for name in inside
    }


def _fitted_curves(job: RoiJob, fit: EstimateStore, voxels: Any, means: Mapping[str, NDArray]) -> dict[str, Estimates]:
    """Every region's mean curve, fitted alone, as the voxels were: by the method, the options and the b-values of the fit."""
    method = find_method(job.method or fit.method)
    known = {option.name for option in fields(method.load().Options)}
    kept = {key: value for key, value in fit.options.items() if key in known} if job.method is None else {}
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()} | job.settings
    launch, found = choose_device("cpu", None, method.name, method.on_cuda), {}
    for name, mean in means.items():
        one = Voxels(mean[None].astype(np.float32), voxels.bvalues, repeats=np.asarray(voxels.weights))
        chosen = SelectedVoxels(one, fit.bvalues)
        found[name] = prepare(method, settings, chosen, launch).fit(chosen.read(0, 1), 0, chosen.read_s0(0, 1))
    return found


def _open_signals(job: RoiJob, fits: Sequence[EstimateStore]) -> Any:
    """The signals of the job, checked to be those that were fitted."""
    assert job.signals is not None
    if job.signals.suffix == ".h5":
        voxels = VoxelStore(job.signals)
    elif job.bval is None:
        raise InputError(f"bval: found none, expected the .bval file of {job.signals}")
    else:
        voxels = read_series(job.signals, job.bval, mask=job.mask, volumes=job.volumes)
    for fit in fits:
        if fit.signals_sha256 != voxels.signals_sha256:
            raise InputError(f"{job.signals}: found other signals (checksum {voxels.signals_sha256[:8]}…) than those of {fit.path} ({fit.signals_sha256[:8]}…), expected the same series, mask and volumes as for the fit")  # fmt: skip
    return voxels


def run_roi(job: RoiJob) -> list[RegionRow]:
    """Tell what fits found in regions, and write it as a table; everything is checked before anything is written.

    Parameters
    ----------
    job : what to do

    Returns
    -------
    the rows of the table, in its order

    Raises
    ------
    InputError
        for labels of another grid, estimates of other signals, and a table that exists (without `force`)
    """
    refuse_existing(job.out, job.force)
    opened: list[Any] = []
    try:
        opened = [EstimateStore(path) for path in job.estimates]
        fits = name_fits(opened)
        curves = None if job.signals is None else _open_signals(job, opened)
        if isinstance(curves, VoxelStore):
            opened.append(curves)
        rows: list[RegionRow] = []
        for name, fit in fits.items():
            inside = regions_of(fit, job.labels, job.names)
            if len(inside) == 1:
                raise InputError(f"{job.labels}: found no label above 0 in the voxels of {fit.path}, expected at least one region")  # fmt: skip
            fitted = None if curves is None else _fitted_curves(job, fit, curves, mean_curves(curves, inside))
            rows += region_rows(fit, name, inside, fitted)
    finally:
        for store in opened:
            store.close()
    make_folder(job.out.absolute().parent)
    write_table(job.out, [*COLUMNS, *(f"share_{o.name.lower()}" for o in SHARES)], map(_cells, rows), job.force)
    return rows


def _cells(row: RegionRow) -> list[Any]:
    """A row of the file: numbers with seven digits, as float32 has them."""
    numbers = [float(f"{value:.7g}") for value in (*row[6:13],)]
    outcome = None if row.curve_outcome is None else int(row.curve_outcome)
    return [*row[:6], *numbers, outcome, *(float(f"{row.shares[o]:.6g}") for o in SHARES)]
