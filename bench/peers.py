"""The programs that `bench/page.py` measures side by side: each takes signals (voxel, b) at the ten b-values and gives f, D, D*.

A `Program` is one row of the page. Those of this project run on all cores; the others as they are used: numpy and scipy on one,
dipy in one process. What is not installed is left out, and the page says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit, nnls

from ivimsc.device.launch import usable_cores
from ivimsc.physics.dictionary import make_dictionary
from tests.conftest import TEN, equation1, run_method

__all__ = ["PROGRAMS", "Program"]

Found = tuple[NDArray, NDArray, NDArray]  # f, D, D* (voxel,) in mm²/s; NaN where a program failed


class Program(NamedTuple):
    """A row: what it is called, how it fits, how many voxels it is given, how often, and what is to be said of it."""

    name: str
    fit: Callable[[NDArray], Found]
    voxels: int
    rounds: int
    about: str
    needs: str = ""  # package
    threads: int = 1


def _ours(method: str, **options: object) -> Callable[[NDArray], Found]:
    def fit(signals: NDArray) -> Found:
        e = run_method(method, signals, TEN, usable_cores(), **options)
        return e.f, e.D, e.Dstar

    return fit


def numpy_segmented(signals: NDArray) -> Found:
    """Vectorised: line through the logarithms above b = 200, then the best of 64 D* for the remainder."""
    high = TEN > 200
    y = np.log(np.maximum(signals[:, high], 1e-6))
    b = TEN[high] - TEN[high].mean()
    slope = (y - y.mean(1, keepdims=True)) @ b / (b @ b)
    D = np.clip(-slope, 0, 5e-3)
    a = np.exp(y.mean(1) + D * TEN[high].mean())
    rest = signals[:, ~high] - a[:, None] * np.exp(-D[:, None] * TEN[~high])
    grid = np.geomspace(5e-3, 0.2, 64)
    columns = np.exp(-np.outer(grid, TEN[~high]))
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    products = rest @ columns.T
    best = products.argmax(1)
    c = np.maximum(products.max(1), 0) / np.linalg.norm(np.exp(-np.outer(grid[best], TEN[~high])), axis=1)
    return c / (a + c), D, grid[best]


def scipy_curve_fit(signals: NDArray) -> Found:
    """`curve_fit` with bounds, voxel by voxel, as most scripts do it."""
    model = lambda b, S0, f, D, p: equation1(S0, f, D * 1e-3, p * 1e-2, b)
    out = []
    for signal in signals:
        try:
            out.append(curve_fit(model, TEN, signal, (1, 0.2, 1, 3), bounds=((0, 0, 0, 0.5), (9, 1, 5, 20)))[0])
        except RuntimeError:
            out.append(np.full(4, np.nan))
    _, f, D, p = np.transpose(out)
    return f, D * 1e-3, p * 1e-2


def scipy_nnls(signals: NDArray) -> Found:
    """Non-negative least squares over the 600 atoms of `ista`, decoded in the same way."""
    dictionary = make_dictionary(TEN, "log", (300, 300), (1e-5, 5e-3), (5e-3, 0.2))
    codes = np.array([nnls(dictionary.matrix, signal.astype(float))[0] for signal in signals])
    tissue, blood = np.split(codes, [len(dictionary.D)], axis=1)
    with np.errstate(invalid="ignore"):
        D, Dstar = tissue @ dictionary.D / tissue.sum(1), blood @ dictionary.Dstar / blood.sum(1)
    return blood.sum(1) / codes.sum(1), D, Dstar


def dipy_trr(signals: NDArray) -> Found:
    """dipy's IvimModel with its default options."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.ivim import IvimModel

    bvecs = np.tile([1.0, 0, 0], (len(TEN), 1))
    bvecs[TEN == 0] = 0
    fit = IvimModel(gradient_table(TEN, bvecs=bvecs, b0_threshold=0), fit_method="trr").fit(signals.astype(np.float64))
    return fit.perfusion_fraction, fit.D, fit.D_star


def osipi_pvh(signals: NDArray) -> Found:
    """PvH_KB_NKI of OSIPI's collection, its own function over all voxels at once: a line, an intercept, D* from two b-values."""
    from original.PvH_KB_NKI.DWI_functions_standalone import generate_IVIMmaps_standalone

    D, f, Dstar = generate_IVIMmaps_standalone(signals[:, None, None].astype(np.float64), TEN.tolist())
    return f.ravel(), D.ravel() * 1e-3, Dstar.ravel() * 1e-3


def osipi_oj_gu(signals: NDArray) -> Found:
    """OJ_GU_seg of OSIPI's collection: ivim-mri's segmented fit, vectorised, as it was before 1.0."""
    from original.OJ_GU.ivim_seg import seg

    fit = seg(signals.astype(np.float64), TEN, 200)
    return fit["f"], fit["D"], fit["Dstar"]


MANY, SOME, FEW = 200_000, 20_000, 300
CORES = usable_cores()
PROGRAMS = (
    Program("ivimsc nlls", _ours("nlls"), MANY, 7, "global optimum within wide bounds", threads=CORES),
    Program("ivimsc segmented", _ours("segmented"), MANY, 7, "D from b ≥ 200 s/mm², then f and D*", threads=CORES),
    Program("ivimsc scdnn", _ours("scdnn"), MANY, 5, "the general network, as installed", threads=CORES),
    Program("ivimsc bayes", _ours("bayes"), SOME, 3, "posterior mean, the prior learnt from the same voxels within the time", threads=CORES),
    Program("ivimsc ista", _ours("ista"), SOME, 5, "non-negative codes over 600 atoms, every gap proved", threads=CORES),
    Program("numpy segmented", numpy_segmented, MANY, 7, "vectorised, 30 lines, a table of 64 D*"),
    Program("scipy nnls", scipy_nnls, FEW, 3, "the same 600 atoms as ista"),
    Program("scipy curve_fit", scipy_curve_fit, FEW, 3, "with bounds, in a loop"),
    Program("dipy IvimModel", dipy_trr, FEW, 3, "fit_method='trr', its own bounds", needs="dipy"),
    Program("OSIPI PvH_KB_NKI", osipi_pvh, MANY, 5, "the fastest of OSIPI's collection: closed forms, D* from b = 0 and 10 alone, 0 where that fails", needs="original"),
    Program("OSIPI OJ_GU_seg", osipi_oj_gu, SOME, 3, "segmented, D ≤ 3 and D* 3 to 100 µm²/ms (ivim-mri before 1.0)", needs="original"),
)  # fmt: skip
