"""How fast and how good are nlls and segmented beside what people use today, on the same voxels in one run?

Peers: dipy (IvimModel, trr), scipy.optimize.curve_fit in a loop, and a vectorised numpy segmented fit with a table of
64 D*. The slow ones fit the first voxels only; every row's errors are of the voxels that it fitted.

Run ``python -m pytest bench/bench_peers.py``; it writes bench/results/peers.md.
"""

import time

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ivimsc.device.launch import usable_cores
from tests.conftest import TEN, equation1, phantom, run_method

VOXELS = 200_000
SLOW = 300
SNR = 30


@pytest.fixture(scope="module")
def data():
    return phantom(VOXELS, TEN, SNR, seed=1)


def nlls(signals):
    e = run_method("nlls", signals, TEN, usable_cores())
    return e.f, e.D, e.Dstar


def segmented(signals):
    e = run_method("segmented", signals, TEN, usable_cores())
    return e.f, e.D, e.Dstar


def numpy_segmented(signals):
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


def scipy_loop(signals):
    model = lambda b, S0, f, D, p: equation1(S0, f, D * 1e-3, p * 1e-2, b)
    out = []
    for signal in signals:
        try:
            out.append(curve_fit(model, TEN, signal, (1, 0.2, 1, 3), bounds=((0, 0, 0, 0.5), (9, 1, 5, 20)))[0])
        except RuntimeError:
            out.append(np.full(4, np.nan))
    _, f, D, p = np.transpose(out)
    return f, D * 1e-3, p * 1e-2


def dipy_trr(signals):
    dipy_gradients = pytest.importorskip("dipy.core.gradients")
    ivim = pytest.importorskip("dipy.reconst.ivim")
    bvecs = np.tile([1.0, 0, 0], (len(TEN), 1))
    bvecs[TEN == 0] = 0
    model = ivim.IvimModel(dipy_gradients.gradient_table(TEN, bvecs=bvecs, b0_threshold=0), fit_method="trr")
    fit = model.fit(signals.astype(np.float64))
    return fit.perfusion_fraction, fit.D, fit.D_star


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fit", [nlls, segmented, numpy_segmented, scipy_loop, dipy_trr], ids=lambda f: f.__name__)
def bench_peers(fit, data, benchmark, record):
    n = SLOW if fit in (scipy_loop, dipy_trr) else VOXELS
    signals = data.signals[:n]
    fit(signals[:16])  # compile
    times = []

    def once():
        start = time.perf_counter()
        result = fit(signals)
        times.append(time.perf_counter() - start)
        return result

    f, D, Dstar = benchmark.pedantic(once, rounds=1 if n == SLOW else 5)
    speed = n / min(times)
    if fit is nlls:
        bench_peers.reference = speed
    errors = {
        "RMSE f": float(np.sqrt(np.nanmean((f - data.f[:n]) ** 2))),
        "RMSE D [µm²/ms]": float(np.sqrt(np.nanmean((D - data.D[:n]) ** 2)) * 1e3),
        "RMSE D* [µm²/ms]": float(np.sqrt(np.nanmean((Dstar - data.Dstar[:n]) ** 2)) * 1e3),
        "median |error| D*": float(np.nanmedian(np.abs(Dstar - data.Dstar[:n])) * 1e3),
    }
    record("peers", f"Peers on the same voxels: ten b-values, SNR {SNR}, Rician", method=fit.__name__, voxels=n,
           **{"voxels/s": float(speed), "nlls is faster by": float(bench_peers.reference / speed)}, **errors)  # fmt: skip
