"""Figure 3: one test scan, estimates against the truth, its maps and residuals."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from ivimsc.figures import COLOURS as MAPS
from ivimsc.figures import into_slice, new_figure, save
from ivimsc.paper.printed import FIG3_R2
from ivimsc.paper.result import Result, command, number, table
from ivimsc.paper.runs import Runs
from ivimsc.paper.setting import FIVE, KEYS, NETWORKS, SYMBOLS, UNITS
from ivimsc.store import VoxelStore

__all__ = ["fig3"]

COHORT = "cohort-test"
RANGES = {"f": (0.0, 0.6), "d": (0.8, 2.4), "dstar": (0.0, 110.0)}
TICKS = {"f": np.arange(0, 0.7, 0.2), "d": np.arange(0.8, 2.5, 0.4), "dstar": np.arange(0, 101, 20)}
ERRORS = {"f": 0.15, "d": 0.6, "dstar": 50.0}  # ends of the residuals' colour bars


@dataclass(frozen=True)
class Case:
    """A line of fig3.csv: R² (equation (12)) and squared error over one scan."""

    scan: str
    row: str
    test: str
    parameter: str
    unit: str
    voxels: int
    mse: float
    r2: float
    printed: float


@dataclass(frozen=True)
class Scan:
    """One scan: its name, places (voxel, 3), volume shape, pixel aspect, and values (voxel, 3) by row and kind of signals."""

    name: str
    index: NDArray[np.int32]
    shape: tuple[int, int, int]
    aspect: float
    truth: NDArray[np.float64]
    found: dict[tuple[str, str], NDArray[np.float64]]


def fig3(runs: Runs) -> Result:
    """The middle one of the test scans, by SCDNN and by least squares."""
    net = NETWORKS[-1]
    model = runs.train(net, FIVE, 0)
    fits = {}
    for test in ("noisy", "noise-free"):
        fits["SCDNN", test] = runs.fit(COHORT, test != "noisy", net.method, FIVE, model=model).values
        fits["least squares", test] = runs.fit(COHORT, test != "noisy", "nlls", FIVE).values
    with VoxelStore(runs.store(COHORT)) as store:
        number_of = sorted(store.tissue_names)[len(store.tissue_names) // 2]
        here = np.asarray(store.tissue) == number_of
        zooms = store.geometry.zooms
        scan = Scan(store.tissue_names[number_of], store.index[:][here], store.geometry.shape, zooms[1] / zooms[0],
                    runs.truth(COHORT)[here], {key: values[here] for key, values in fits.items()})  # fmt: skip
    lines = [line for key in fits for line in _cases(scan, *key)]
    rows = []
    for row, test in fits:
        mine = [line for line in lines if (line.row, line.test) == (row, test)]
        rows.append([f"{row}, {test}", *(number(line.r2, 4) for line in mine), *(number(line.mse) for line in mine)])
    rows.append(["the paper's SCDNN, one case", *(f"{r2:.4f}" for r2 in FIG3_R2), "", "", ""])
    head = ["", *(f"R² {SYMBOLS[k]}" for k in KEYS), *(f"MSE {SYMBOLS[k]}" for k in KEYS)]
    text = f"# Figure 3: one test scan\n\n{command('fig3', runs.setting)} {scan.name}, {here.sum():,} voxels, five b-values, SNR 30; MSE in (µm²/ms)² for D and D*.\n\n{table(head, rows)}"
    pictures = {
        "fig3_scatter.png": partial(_scatter, scan=scan, lines=lines),
        "fig3_maps.png": partial(_maps, scan=scan),
    }
    return Result(lines, text, pictures)


def _cases(scan: Scan, row: str, test: str) -> list[Case]:
    lines = []
    for p, key in enumerate(KEYS):
        found, true = scan.found[row, test][:, p], scan.truth[:, p]
        there = np.isfinite(found)
        mse = float(np.mean((found[there] - true[there]) ** 2))
        r2 = 1 - mse / float(true[there].var())
        printed = FIG3_R2[p] if row == "SCDNN" else float("nan")
        lines.append(Case(scan.name, row, test, SYMBOLS[key], UNITS[key], int(there.sum()), mse, r2, printed))
    return lines


def _scatter(path: Path, scan: Scan, lines: list[Case]) -> None:
    """Density of estimates over truth: rows are methods and signals, columns parameters; what lies outside is at the edge."""
    shown = [("SCDNN", "noisy"), ("SCDNN", "noise-free"), ("least squares", "noisy")]
    figure, grid = new_figure(3, 3, (11.5, 11.5))
    for (row, test), panels in zip(shown, grid, strict=True):
        for p, (key, axes) in enumerate(zip(KEYS, panels, strict=True)):
            limits = RANGES[key]
            found, true = scan.found[row, test][:, p], scan.truth[:, p]
            there = np.isfinite(found)
            cells = axes.hist2d(np.clip(true[there], *limits), np.clip(found[there], *limits), bins=70, range=(limits, limits),
                                norm=LogNorm(vmin=1, vmax=max(10, len(scan.truth) / 150)), cmap="viridis")[3]  # fmt: skip
            axes.plot(limits, limits, color="#d1495b", lw=1)
            (r2,) = (line.r2 for line in lines if (line.row, line.test, line.parameter) == (row, test, SYMBOLS[key]))
            axes.set_title(f"{row}, {test}: R² = {number(r2, 3)}", fontsize=10)
            unit = "" if UNITS[key] == "1" else f" [{UNITS[key]}]"
            axes.set(xlabel=f"{SYMBOLS[key]}, truth{unit}", ylabel=f"{SYMBOLS[key]}, estimate{unit}", aspect="equal")
            axes.set(facecolor="#f4f4f4", xlim=limits, ylim=limits, xticks=TICKS[key], yticks=TICKS[key])
    figure.colorbar(cells, ax=grid, shrink=0.4, label="voxels per cell", extend="max")
    figure.suptitle(f"{scan.name}: estimates against the truth (beyond the axes: at the edge)")
    save(figure, path)


def _maps(path: Path, scan: Scan) -> None:
    """Maps of the scan's fullest slice, and below each estimate its residuals."""
    slices = np.bincount(scan.index[:, 2])
    z = int(slices.argmax())
    first = int(np.flatnonzero(slices)[0])
    margin = 3
    low = np.maximum(scan.index[:, :2].min(0) - margin, 0)
    high = np.minimum(scan.index[:, :2].max(0) + margin + 1, scan.shape[:2])
    window = slice(low[0], high[0]), slice(low[1], high[1])
    rows = [("truth", None), ("SCDNN", False), ("SCDNN", True), ("least squares", False), ("least squares", True)]
    height = 4.6 * scan.aspect * (high[1] - low[1]) / (high[0] - low[0]) + 0.12  # of a row of maps
    figure, grid = new_figure(len(rows), 3, (14, len(rows) * height + 2.2))
    for p, key in enumerate(KEYS):
        drawn = {}
        for (name, residual), axes in zip(rows, grid[:, p], strict=True):
            values = scan.truth[:, p] if name == "truth" else scan.found[name, "noisy"][:, p]
            values = values - scan.truth[:, p] if residual else values
            image = into_slice(values, scan.index, scan.shape, z, np.nan)[window]
            drawn[bool(residual)] = _show(axes, image, key, bool(residual), scan.aspect)
            if p == 0:
                axes.set_ylabel(f"{name}\n- truth" if residual else name)
        unit = "" if UNITS[key] == "1" else f" [{UNITS[key]}]"
        grid[0, p].set_title(SYMBOLS[key])
        for residual, label in ((False, SYMBOLS[key]), (True, f"{SYMBOLS[key]} - truth")):
            figure.colorbar(
                drawn[residual],
                ax=grid[:, p],
                location="bottom",
                shrink=0.8,
                aspect=40,
                pad=0.01,
                extend="both",
                label=label + unit,
            )
    figure.suptitle(
        f"{scan.name}, slice {z - first + 1} of {int((slices > 0).sum())}: noisy signals, five b-values, SNR 30"
    )
    save(figure, path)


def _show(axes: Axes, image: NDArray, key: str, residual: bool, aspect: float):
    """One map (x, y): grey where there is no organ."""
    colours = matplotlib.colormaps["RdBu_r" if residual else MAPS[key]].with_extremes(bad="#c8c8c8")
    low, high = (-ERRORS[key], ERRORS[key]) if residual else RANGES[key]
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes.imshow(
        image.T, origin="lower", cmap=colours, vmin=low, vmax=high, aspect=aspect, interpolation="nearest"
    )
