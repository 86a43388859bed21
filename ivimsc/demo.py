"""The demonstration: the placenta phantom simulated, fitted by methods that need no truth, and shown beside its truth.

nlls knows one voxel at a time. bayes and an adapted scdnn learn the population of the voxels from the same signals.
"""

import csv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.compare.bound import Bound, smallest_error
from ivimsc.device.launch import choose_device
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fit import FitJob, fit_file
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.report import ReportJob, write_report
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore, VoxelStore

__all__ = ["METHODS", "ErrorRow", "error_table", "run_demo"]

METHODS: dict[str, dict[str, Any]] = {  # method -> its options
    "nlls": {},
    "bayes": {"points": 512},  # half of the usual draws, for a quick demo
    "scdnn": {"model": "adapt", "sights": 1_000_000},  # a third of the usual sights, for a quick demo
}
SNR = 30.0
BRIGHT = 0.6745  # median of |x| for a standard normal x


class ErrorRow(NamedTuple):
    """Errors of one method in one parameter, in display units, over the voxels of a tissue."""

    tissue: str
    method: str
    parameter: str
    unit: str
    bias: float
    rmse: float
    median: float
    missing: int


def run_demo(out: Path, seed: int = 0, force: bool = False, say: Callable[[str], None] = print) -> Path:
    """Simulate the placenta phantom, fit it, and write maps, picture, table and report.

    Parameters
    ----------
    out : folder of the results; made if it is not there
    seed : keys the phantom and its noise
    force : replace the results of an earlier demo
    say : takes the lines that tell what was done

    Returns
    -------
    path of the picture

    Raises
    ------
    InputError
        if `out` is a file, or holds the results of an earlier demo and `force` is not given
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: found a file, expected a folder for the results")
    store, picture, table = out / "placenta.h5", out / "placenta.png", out / "placenta_errors.csv"
    page = ReportJob(
        store, [out / f"placenta_{method}.h5" for method in METHODS], out / "placenta_report.html", force=force
    )
    for path in (store, picture, table, page.out):
        if path.exists() and not force:
            raise InputError(f"{path}: found the result of an earlier demo, expected none: force=True overwrites it")
    out.mkdir(parents=True, exist_ok=True)
    n = write_phantom(store, "placenta", snr=SNR, seed=seed, force=force)
    say(f"simulated the placenta phantom: {n:,} voxels, SNR {SNR:g}, seed {seed}: {store}")
    fits: dict[str, Estimates] = {}
    for method in METHODS:
        done = fit_file(FitJob(store, method, out, force=force, settings=METHODS[method]))
        say(f"{method}: {done.voxels:,} voxels in {done.seconds:.2f} s ({done.voxels / done.seconds:,.0f} voxels/s, the first fit of an installation compiles its kernels)")  # fmt: skip
        with EstimateStore(done.store) as estimates:
            fits[method] = estimates.read()
    from ivimsc.figures import sheet  # matplotlib is loaded only where something is drawn

    with VoxelStore(store) as voxels:
        signals = voxels.read(0, len(voxels))
        least = smallest_error(signals, voxels.truth, voxels.bvalues, 1 / SNR, True, False, choose_device())
        rows = error_table(voxels, fits, 1 / SNR, least)
        sheet(voxels, fits, picture, f"Placenta phantom, SNR {SNR:g}")
    _write_table(rows, table)
    _print_table(rows, say)
    say(f"maps and estimates: {out}\nerrors:             {table}\npicture:            {picture}")
    if find_spec("bokeh") is None:
        say("report:             not written: it needs the extra, pip install 'ivimsc[report]'")
    else:
        say(f"report:             {write_report(page)}")
    return picture


def error_table(
    voxels: VoxelStore, fits: dict[str, Estimates], sigma: float, least: Bound | None = None
) -> list[ErrorRow]:
    """Errors per tissue, method and parameter, with a constant guess, the Cramér-Rao bound and the smallest possible error.

    The constant guess is the mean of the truth over the tissue: a method that is worse than that has learned nothing
    from the data. The bound's "RMSE" and median are those of an unbiased estimate that reaches it in every voxel.

    Parameters
    ----------
    voxels : open store with truth and tissues
    fits : method name -> estimates (voxel,)
    sigma : noise standard deviation, in the unit of the signal
    least : the smallest possible error of the phantom, where it is known: of a method that knows what tissues there are, but
        not in which voxel, and not S0

    Returns
    -------
    a row for each of f, D and D* that a method has, in display units
    """
    rows = []
    truth = voxels.truth
    for code, name in sorted(voxels.tissue_names.items()):
        inside = np.asarray(voxels.tissue) == code
        if not inside.any():
            continue
        true = {key: values[inside].astype(np.float64) for key, values in truth.items()}
        bound = cramer_rao(true["s0"], true["f"], true["d"], true["dstar"], voxels.bvalues, sigma)
        for i, p in enumerate(PARAMETERS):
            if p.key == "s0":
                continue
            scale, about = p.display_scale, (p.symbol, p.display_unit)
            guess = (true[p.key].mean() - true[p.key]) * scale
            rows.append(_row(name, "constant guess", about, guess))
            deviation = bound[:, i] * scale
            rows.append(ErrorRow(name, "Cramér-Rao bound", *about, 0.0, float(np.sqrt(np.mean(deviation**2))), float(np.median(deviation) * BRIGHT), 0))  # fmt: skip
            if least is not None:
                rows.append(_of_the_best(name, about, least, inside, i - 1, scale))
            for method, estimates in fits.items():
                found = getattr(estimates, p.code)
                if found is not None:
                    rows.append(_row(name, method, about, (found[inside] - true[p.key]) * scale))
    return rows


def _of_the_best(tissue: str, about: tuple[str, str], least: Bound, inside: NDArray, place: int, scale: float) -> ErrorRow:  # fmt: skip
    """The smallest possible root mean squared error of the parameter at `place` (f, D, D*); its other numbers are not known."""
    square = max(float(least.mean("noisy", inside)[0][place]), 0.0)
    return ErrorRow(tissue, "smallest possible", *about, np.nan, float(np.sqrt(square)) * scale, np.nan, 0)


def _row(tissue: str, method: str, about: tuple[str, str], error: NDArray) -> ErrorRow:
    known = error[np.isfinite(error)]
    return ErrorRow(tissue, method, *about, float(known.mean()), float(np.sqrt(np.mean(known**2))), float(np.median(np.abs(known))), len(error) - len(known))  # fmt: skip


def _write_table(rows: list[ErrorRow], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(ErrorRow._fields)
        writer.writerows(rows)


def _print_table(rows: list[ErrorRow], say: Callable[[str], None], tissue: str = "placenta core") -> None:
    """The rows of one tissue: the others are in the CSV file."""
    shown = [row for row in rows if row.tissue == tissue] or [row for row in rows if row.tissue == rows[0].tissue]
    say(f"errors in {shown[0].tissue} (bias, RMSE, median |error|); for the other tissues see the CSV file")
    for symbol in dict.fromkeys(row.parameter for row in shown):
        for row in (row for row in shown if row.parameter == symbol):
            missing = f"   {row.missing} voxels not fitted" if row.missing else ""
            numbers = " ".join("        -" if np.isnan(x) else f"{x:9.3f}" for x in (row.bias, row.rmse, row.median))
            say(f"  {symbol:3}[{row.unit:6}] {row.method:17}{numbers}{missing}")
