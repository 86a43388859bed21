"""The paper's gold standard in one call: register, fit by Bayes, and simulate from the maps what training needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivimsc.fit import FitJob, fit_file
from ivimsc.register import register_file
from ivimsc.simulate import write_from_estimates

__all__ = ["gold_standard"]


def gold_standard(
    series: Path,
    bval: Path,
    out: Path,
    mask: Path | None = None,
    planar: bool = False,
    snr: float = 30.0,
    seed: int = 0,
    force: bool = False,
    settings: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """From a measured series to a voxel store whose truth is known (the paper, its section on data).

    The series is registered to itself, fitted by `bayes`, and its maps go back through equations (1) and (11) with
    S0 = 1. Every step leaves its files in `out`.

    Parameters
    ----------
    series, bval, mask : NIfTI series, its b-values [s/mm²], its mask
    out : folder of the results
    planar : register every slice in its plane
    snr, seed : of the simulated noise
    force : replace files of the same names
    settings : options of `bayes`
    say : takes the lines that tell what was done

    Returns
    -------
    the voxel store with truth

    Raises
    ------
    InputError
        for what any step refuses
    """
    out.mkdir(parents=True, exist_ok=True)
    stem = series.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_dwi")
    registered = out / f"{stem}_registered.nii.gz"
    found, _ = register_file(series, bval, registered, force=force, planar=planar)
    say(
        f"registered: pass {found.best + 1} kept, mean displacement {found.total[found.best].mean():.3f} mm: {registered}"
    )
    job = FitJob(
        registered, "bayes", out, out / f"{stem}_registered.bval", None, mask, force=force, settings=settings or {}
    )
    done = fit_file(job, say=say)
    say(f"fitted: {done.voxels:,} voxels: {done.store}")
    target = out / f"{stem}_gold.h5"
    n = write_from_estimates(target, done.store, snr=snr, seed=seed, force=force)
    say(f"simulated from the maps: {n:,} voxels, SNR {snr:g}: {target}")
    return target
