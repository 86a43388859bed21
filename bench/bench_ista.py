"""How fast is the exact sparse code beside its peers, how does it scale, and what is sparse coding worth?

Peers on the same voxels in one run: scikit-learn's Lasso(positive=True) and scipy's nnls, which fit the first voxels only.
"""

import time
import warnings

import numpy as np
import pytest
from scipy.optimize import nnls

from ivimsc.device.launch import Launch, choose_device, run_blocks, usable_cores
from ivimsc.methods import load_method, make_options
from ivimsc.methods.scdnn.units import Weights, blocks_of, forward
from ivimsc.physics.cramer_rao import cramer_rao
from tests.conftest import FIVE, TEN, as_voxels, phantom, run_method

VOXELS, SLOW, SNR = 200_000, 100, 30
THREE = np.array([0, 150, 500.0])
UNITS = {"f": 1.0, "D": 1e3, "Dstar": 1e3}


def prepared(bvalues, **options):
    ista = load_method("ista")
    return ista.prepare(
        as_voxels(np.ones((1, len(bvalues))), bvalues), make_options(ista, options), choose_device("cpu")
    )


def best_time(call, rounds=3):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


@pytest.mark.parametrize("beta", [0.0, 0.01])
def bench_exact_beside_peers(beta, record):
    signals = phantom(VOXELS, TEN, SNR, seed=1).signals
    fitter = prepared(TEN, beta=beta)
    fitter.fit(signals[:100])
    seconds, e = best_time(lambda: fitter.fit(signals))
    cpu = time.process_time()
    fitter.fit(signals)
    cpu = (time.process_time() - cpu) / VOXELS
    phi, scaled = fitter.dictionary.matrix, (signals[:SLOW] / signals[:SLOW].max(axis=1, keepdims=True)).astype(float)
    code = fitter.code(signals[:SLOW], beta, "exact")
    ours = code.squares + beta * np.add.reduceat(code.data, code.indptr[:-1])
    rates = {"exact": VOXELS / seconds}
    title = "Exact non-negative code: ten b-values, N = 600, SNR 30"
    record("ista_peers", title, method="ista, exact", beta=beta, voxels=VOXELS, **{"voxels/s": float(rates["exact"]), "CPU time per voxel [µs]": float(cpu * 1e6), "largest relative gap": float(e.gap.max())})  # fmt: skip
    peer = scipy_nnls if beta == 0 else sklearn_lasso
    seconds, x = best_time(lambda: peer(phi, scaled, beta), 1)
    cost = np.sum((scaled - x @ phi.T) ** 2, axis=1) + beta * x.sum(axis=1)
    rate = SLOW / seconds
    record("ista_peers", title, method=peer.__name__, beta=beta, voxels=SLOW, **{"voxels/s": float(rate), "exact is faster by": float(rates["exact"] / rate), "median cost over exact - 1": float(np.median(cost / ours - 1))})  # fmt: skip


def scipy_nnls(phi, scaled, _):
    return np.array([nnls(phi, y)[0] for y in scaled])


def sklearn_lasso(phi, scaled, beta):
    from sklearn.linear_model import Lasso

    lasso = Lasso(alpha=beta / (2 * len(phi)), positive=True, fit_intercept=False, max_iter=10_000, tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it has not converged: the table says by how much
        return np.array([lasso.fit(phi, y).coef_ for y in scaled])


@pytest.mark.parametrize("n", [100, 200, 400, 600, 800, 1000, 2000])
def bench_atoms(n, record):
    signals = phantom(20_000, TEN, SNR).signals
    e, rate = coded(signals, TEN, n_d=n // 2, n_dstar=n // 2)
    record("ista_atoms", "Exact, by the number of atoms (ten b-values, SNR 30)", atoms=n, **about(e, rate))


@pytest.mark.parametrize("k", [3, 5, 10, 20, 40, 60])
def bench_bvalues(k, record):
    bvalues = {3: THREE, 5: FIVE, 10: TEN}.get(k)
    if bvalues is None:
        bvalues = np.r_[np.linspace(0, 200, k - k // 3), np.linspace(250, 800, k // 3)]
    e, rate = coded(phantom(20_000, bvalues, SNR).signals, bvalues)
    record("ista_bvalues", "Exact, by the number of b-values (N = 600, SNR 30)", **{"b-values": k}, **about(e, rate))


def coded(signals, bvalues, **options):
    fitter = prepared(bvalues, **options)
    fitter.fit(signals[:100])
    seconds, e = best_time(lambda: fitter.fit(signals))
    return e, len(signals) / seconds


def about(e, rate):
    return {"voxels/s": float(rate), "turns": float(e.iterations.mean()), "active atoms": float(e.atoms.mean()), "largest relative gap": float(e.gap.max())}  # fmt: skip


def bench_iterations(record):
    """Iterations of (6) in float32: 4 K N operations each, beside what a matrix product reaches on the same cores."""
    n, t = 20_000, 8
    fitter = prepared(TEN)
    phi = np.repeat(fitter.dictionary.matrix.astype(np.float32)[None], t + 1, axis=0)
    ws, cuts = phi / np.float32(fitter.dictionary.lipschitz), np.full((t + 1, 600), 1e-4, np.float32)
    grid, sums, none = np.ones(600, np.float32), np.empty((n, 4), np.float32), np.empty((0, 600), np.float32)
    launch, signals = Launch("cpu", usable_cores()), phantom(n, TEN, SNR).signals
    weights = Weights(ws, phi, cuts, grid, 300, True, False)
    call = lambda: run_blocks(launch, forward, blocks_of(n), signals, weights, sums, none, block=16)
    call()
    seconds, _ = best_time(call)
    square = np.ones((1000, 1000), np.float32)
    product, _ = best_time(lambda: square @ square, 5)
    reached, ceiling = n * t * 4 * 10 * 600 / seconds / 1e9, 2 / product
    record("ista_iterations", "Iterations of (6), ten b-values, N = 600, 128 voxels side by side (methods/scdnn/units.py)", **{"voxel iterations/s": float(n * t / seconds), "GFLOP/s": float(reached), "matrix product GFLOP/s": float(ceiling), "share": float(reached / ceiling)})  # fmt: skip


WORTH = {
    "nlls": ("nlls", {}),
    "β = 0": ("ista", {}),
    "β = 1e-3": ("ista", {"beta": 1e-3}),
    "β = 1e-2": ("ista", {"beta": 1e-2}),
    "β = 3e-2": ("ista", {"beta": 3e-2}),
    "β = 0.1": ("ista", {"beta": 0.1}),
    "β = 0.3": ("ista", {"beta": 0.3}),
    "β = 0.02 ||Φᵀy||_∞": ("ista", {"beta": 0.02, "beta_rule": "relative"}),
    "β by discrepancy": ("ista", {"beta_rule": "noise"}),
    "β by discrepancy, sigma given": ("ista", {"beta_rule": "noise", "sigma": 1.0}),
    "β = 0, N = 100": ("ista", {"n_d": 50, "n_dstar": 50}),
    "β = 0, N = 2000": ("ista", {"n_d": 1000, "n_dstar": 1000}),
    "β = 0, linear grid": ("ista", {"grid": "linear", "d_range": (0.0, 5e-3)}),
    "β = 0, the true ranges as grids": ("ista", {"d_range": (0.5e-3, 2.5e-3), "dstar_range": (0.01, 0.1)}),
    "β = 0.03, the true ranges as grids": (
        "ista",
        {"beta": 3e-2, "d_range": (0.5e-3, 2.5e-3), "dstar_range": (0.01, 0.1)},
    ),
    "fista, β = 1e-2": ("ista", {"solver": "fista", "beta": 1e-2}),
    "soft, β = 1e-2": ("ista", {"solver": "soft", "beta": 1e-2}),
    "hard, λ = 1e-4": ("ista", {"solver": "hard", "threshold": 1e-4}),
    "hard, λ = 5e-4": ("ista", {"solver": "hard", "threshold": 5e-4}),
    "hard, λ = 2e-3": ("ista", {"solver": "hard", "threshold": 2e-3}),
}


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:All-NaN slice")  # where a threshold leaves no blood
@pytest.mark.parametrize("snr", [30, 100])
@pytest.mark.parametrize("name", WORTH)
def bench_worth(name, snr, record):
    method, options = WORTH[name]
    options = {**options, "sigma": 1 / snr} if "sigma" in options else options
    p = phantom(1000 if options.get("solver") else 20_000, TEN, snr, seed=2)
    e = run_method(method, p.signals, TEN, usable_cores(), **options)
    row = {}
    for key in UNITS:
        error = (getattr(e, key) - getattr(p, key)) * UNITS[key]
        row |= {f"RMSE {key}": float(np.sqrt(np.nanmean(error**2))), f"bias {key}": float(np.nanmean(error)), f"median |error| {key}": float(np.nanmedian(np.abs(error)))}  # fmt: skip
    row["no D*"] = f"{np.mean(np.isnan(e.Dstar)):.1%}"
    row["S0"] = float(np.nanmean(e.S0))
    row["atoms"] = float(e.atoms.mean()) if e.atoms is not None else ""
    row["gap"] = float(np.nanmedian(e.gap)) if e.gap is not None else ""
    record(
        f"ista_worth_{snr}", f"What sparse coding is worth: ten b-values, SNR {snr} (D, D* in µm²/ms)", fit=name, **row
    )


@pytest.mark.parametrize("snr", [30, 100])
def bench_worth_bound(snr, record):
    p = phantom(20_000, TEN, snr, seed=2)
    bound = cramer_rao(p.S0, p.f, p.D, p.Dstar, TEN, 1 / snr)[:, 1:] * list(UNITS.values())
    row = {f"RMSE {key}": float(np.sqrt(np.mean(bound[:, i] ** 2))) for i, key in enumerate(UNITS)}
    row |= {f"median |error| {key}": float(0.6745 * np.median(bound[:, i])) for i, key in enumerate(UNITS)}
    record(f"ista_worth_{snr}", f"What sparse coding is worth: ten b-values, SNR {snr} (D, D* in µm²/ms)", fit="Cramér-Rao bound (unbiased, unbounded)", **row)  # fmt: skip
