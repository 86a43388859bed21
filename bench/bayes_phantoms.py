"""How close does bayes come to the smallest possible error, is it calibrated, and how fast is it?

Cohort (PAPER.md's own): f 0.30 ± 0.10, D 1.6 ± 0.25, D* log-normal about 45 (0.35) µm²/ms, Rician noise. The smallest
possible mean squared error is that of the posterior mean under this very distribution, with the noise level known.
"""

import time

import numpy as np
import pytest
from scipy.stats import chisquare

from ivimsc.kernels.launch import choose_device
from ivimsc.methods import bayes
from tests.conftest import FIVE, TEN, as_voxels, equation1

VOXELS = 10_000


def cohort(n, seed):
    random = np.random.default_rng(seed)
    f = np.clip(random.normal(0.3, 0.1, n), 0.01, 0.99)
    D = np.clip(random.normal(1.6e-3, 0.25e-3, n), 0.2e-3, 5e-3)
    return f, D, np.exp(random.normal(np.log(45e-3), 0.35, n))


def noisy(theta, bvalues, snr, seed, kind="rician"):
    random = np.random.default_rng(seed)
    signals = equation1(np.ones(len(theta[0])), *theta, bvalues)
    one, two = random.normal(0, 1 / snr, (2, *signals.shape))
    return (np.hypot(signals + one, two) if kind == "rician" else signals + one).astype(np.float32)


def prepared(signals, bvalues, truth=None, **options):
    options |= {"prior": "truth.h5"} if truth is not None else {}
    more = {} if truth is None else {"truth": dict(zip(("f", "d", "dstar"), truth, strict=True))}
    return bayes.prepare(as_voxels(signals, bvalues), bayes.Options(**options), choose_device(), **more)


def squares(e, theta):
    pairs = zip((e.f, e.D, e.Dstar), theta, (1, 1e3, 1e3), strict=True)
    return np.array([np.mean(((found - true) * unit) ** 2) for found, true, unit in pairs])


@pytest.mark.parametrize("snr", [15, 30, 100])
@pytest.mark.parametrize(("bvalues", "s0"), [(FIVE, 1.0), (TEN, None)], ids=["five, S0 known", "ten, S0 unknown"])
def bench_accuracy(bvalues, s0, snr, record):
    theta = cohort(VOXELS, 1)
    signals = noisy(theta, bvalues, snr, 2)
    best = squares(
        prepared(signals, bvalues, cohort(65536, 99), s0=s0, sigma=1 / snr, likelihood="rician").fit(signals), theta
    )
    fits = {
        "its true prior, Gaussian noise": {"truth": cohort(65536, 98), "sigma": 1 / snr},
        "shrinkage (nothing but the data)": {},
        "shrinkage, sigma given": {"sigma": 1 / snr},
        "uniform": {"prior": "uniform", "sigma": 1 / snr},
    }
    for name, options in fits.items():
        start = time.perf_counter()
        fitter = prepared(signals, bvalues, s0=s0, **options)
        ready = time.perf_counter()
        fitter.fit(signals[:256])
        begin = time.perf_counter()
        e = fitter.fit(signals)
        speed = len(signals) / (time.perf_counter() - begin)
        ratio = squares(e, theta) / best
        record("bayes_accuracy", f"Mean squared error of bayes over the smallest possible ({VOXELS:,} voxels)", **{
            "b-values": len(bvalues), "S0": "known" if s0 else "unknown", "SNR": snr, "prior": name, "f": float(ratio[0]), "D": float(ratio[1]),
            "D*": float(ratio[2]), "smallest MSE f, D, D* [(µm²/ms)²]": ", ".join(f"{v:.3g}" for v in best),
            "prepare [s]": float(ready - start), "voxels/s": float(speed)})  # fmt: skip


def bench_calibration(record):
    """Under the true prior and Gaussian noise, the posterior probability that the truth is below its value is uniform."""
    theta = cohort(VOXELS, 3)
    signals = noisy(theta, TEN, 30, 4, "gaussian")
    below = prepared(signals, TEN, cohort(65536, 97), sigma=1 / 30).below(signals, *theta)
    for k, name in enumerate(("f", "D", "D*")):
        u = below[:, k]
        counts = np.histogram(u, 20, (0, 1))[0]
        record("bayes_calibration", f"Simulation-based calibration: true prior, ten b-values, SNR 30, {VOXELS:,} voxels", **{
            "parameter": name, "chi-square p (20 bins)": float(chisquare(counts).pvalue),
            "coverage of the 50 % interval": float(np.mean(np.abs(u - 0.5) <= 0.25)),
            "coverage of the 95 % interval": float(np.mean(np.abs(u - 0.5) <= 0.475))})  # fmt: skip
