"""What each outcome is worth: the share of voxels that have it, what keeping only the converged ones does to f, and how often
the interval of 95 % holds the truth in settings easy and hard.

Run: python -m pytest bench/bench_outcomes.py
"""

import warnings

import numpy as np
import pytest

import ivimsc
from ivimsc.outcome import Outcome
from ivimsc.simulate import simulate_phantom

B = np.array([0, 10, 20, 50, 80, 100, 150, 200, 300, 500, 800.0])
N, SNR = 20_000, 30


@pytest.mark.parametrize("f", [0.02, 0.05, 0.1, 0.2])
def bench_only_converged(f, record):
    """One tissue: D 1.2, D* 30 µm²/ms, eleven b-values to 800 s/mm², SNR 30, nlls."""
    random = np.random.default_rng(0)
    signals = ivimsc.simulate_signals(np.ones(N), f, 1.2e-3, 30e-3, B) + random.normal(0, 1 / SNR, (N, len(B)))
    e = ivimsc.fit_signals(signals, B)
    kept = e.outcome == Outcome.CONVERGED
    share = {f"outcome {o} [%]": float(100 * np.mean(e.outcome == o)) for o in (1, 2, 4, 8)}
    record(
        "outcomes", "nlls on one tissue: D 1.2, D* 30 µm²/ms, eleven b-values to 800 s/mm², SNR 30, 20,000 voxels",
        **{"true f": f, **share, "median f, all": float(np.nanmedian(e.f)), "median f, converged": float(np.median(e.f[kept])),
           "median D, all": float(1e3 * np.nanmedian(e.D)), "median D, converged": float(1e3 * np.median(e.D[kept]))},
    )  # fmt: skip


TEN = np.array([0, 20, 50, 100, 150, 200, 300, 500, 700, 900.0])
PROTOCOLS = {
    "ten": TEN,
    "six": np.array([0, 20, 60, 150, 400, 800.0]),
    "five": np.array([0, 20, 80, 200, 800.0]),
    "no b = 0": np.array([20, 60, 150, 400, 800.0]),
    "nothing between 0 and 400": np.array([0, 400, 500, 600, 700, 800.0]),
    "three": np.array([0, 100, 800.0]),
    "largest b is 100": np.array([0, 10, 20, 40, 70, 100.0]),
}
METHODS = ("nlls", "segmented", "bayes")


def tissue(n, seed):
    """Logit-normal f about 0.2, log-normal D about 1.4 and D* about 40 µm²/ms."""
    x = np.random.default_rng(seed).normal(size=(3, n))
    return 1 / (1 + np.exp(1.4 - 0.5 * x[0])), 1.4e-3 * np.exp(0.2 * x[1]), 40e-3 * np.exp(0.4 * x[2])


def magnitude(clean, snr, seed):
    random = np.random.default_rng(seed)
    noise = random.normal(0, 1 / snr, (2, *clean.shape))
    return np.hypot(clean + noise[0], noise[1])


def tell(record, setting, method, e, truth):
    """One row: the share of each outcome, and how often f, D, D* lie within 1.96 of the error that the method gives."""
    outcome = np.concatenate([np.atleast_1d(part.outcome) for part in e])
    held = {}
    for name, sd, true in zip(("f", "D", "Dstar"), ("fstd", "dstd", "dstarstd"), truth, strict=True):
        found, spread = (np.concatenate([np.atleast_1d(getattr(part, key)) for part in e]) for key in (name, sd))
        inside = np.abs(found - true) <= 1.96 * spread
        for words, which in (("all", np.isfinite(found)), ("converged", outcome == Outcome.CONVERGED)):
            held[f"{name}, {words}"] = float(np.mean(inside[which])) if which.sum() >= 20 else "fewer than 20"
    record(
        "coverage", "How often the 95 % interval (1.96 of the error that is given) holds the truth; Rician noise",
        **{"setting": setting, "method": method, **held},
        **{f"outcome {o} [%]": float(100 * np.mean(outcome == o)) for o in (1, 2, 3, 4, 7, 8)},
    )  # fmt: skip


def fits(method, blocks, bvalues):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return [ivimsc.fit_signals(block.astype(np.float32), bvalues, method=method) for block in blocks]
        except ivimsc.InputError as error:
            pytest.skip(str(error))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 4, 15, 60, 300])
def bench_few_voxels(n, method, record):
    """Many data sets of n voxels each, fitted apart: 600 voxels in all (100 data sets of one voxel)."""
    sets = min(100, 600 // n)
    truth = tissue(n * sets, n)
    signals = magnitude(ivimsc.simulate_signals(np.ones(n * sets), *truth, TEN), 30, n + 1)
    e = fits(method, np.split(signals, sets), TEN)
    tell(record, f"{n} voxel(s) a data set, ten b-values, SNR 30", method, e, truth)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("snr", [30, 100])
@pytest.mark.parametrize("name", PROTOCOLS)
def bench_protocols(name, snr, method, record):
    truth = tissue(10_000, 3)
    signals = magnitude(ivimsc.simulate_signals(np.ones(10_000), *truth, PROTOCOLS[name]), snr, 4)
    tell(record, f"b-values: {name}, SNR {snr}", method, fits(method, [signals], PROTOCOLS[name]), truth)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("phantom", ["placenta", "abdomen", "brain"])
def bench_tissues(phantom, method, record):
    v = simulate_phantom(phantom, snr=30.0, seed=5, shape=(32, 32, 10))
    truth = [v.truth[key] for key in ("f", "d", "dstar")]
    tell(record, f"{phantom} phantom, SNR 30", method, fits(method, [v.signals], v.bvalues), truth)


@pytest.mark.parametrize("method", [*METHODS, "kurtosis"])
@pytest.mark.parametrize("largest", [800, 1200, 2000])
def bench_curvature(largest, method, record):
    """Tissue with a kurtosis of 0.6 to 1.4, which only the method `kurtosis` knows."""
    b = np.array([0, 10, 20, 50, 100, 200, 300, 400, 600, *np.linspace(800, largest, 3 if largest > 800 else 1)])
    truth, K = tissue(10_000, 5), np.random.default_rng(6).uniform(0.6, 1.4, 10_000)
    f, D, p = (a[:, None] for a in truth)
    clean = (1 - f) * np.exp(-b * D + (b * D) ** 2 * K[:, None] / 6) + f * np.exp(-b * p)
    signals = magnitude(clean, 60, 7)
    tell(record, f"kurtosis 0.6 to 1.4, b to {largest} s/mm², SNR 60", method, fits(method, [signals], b), truth)
