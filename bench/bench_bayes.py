"""How close does bayes come to the smallest possible error, is it calibrated, and how fast is it?

The voxels are one population with the plausible placental spread of docs/paper.md: f 0.30 ± 0.10, D 1.6 ± 0.25 µm²/ms, D*
log-normal about 45 µm²/ms with a log-SD of 0.35, Rician noise. The smallest possible mean squared error is that of the
posterior mean under this very distribution, with the noise level known.

`bench_volumes` asks the same of whole volumes of many tissues, with no option set: everything comes from the data.

Run ``python -m pytest bench/bench_bayes.py``; it writes bench/results/bayes_accuracy.md, bayes_volumes.md and
bayes_calibration.md.
"""

import time

import numpy as np
import pytest
from scipy.stats import chisquare

from ivimsc.compare.bound import smallest_error
from ivimsc.device.launch import choose_device
from ivimsc.fit.prepare import prepare
from ivimsc.fitter import Inputs
from ivimsc.methods import find_method
from ivimsc.methods.bayes import method as bayes
from ivimsc.simulate import simulate_phantom
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
    files = {} if truth is None else {"prior": dict(zip(("f", "d", "dstar"), truth, strict=True))}
    return bayes.prepare(as_voxels(signals, bvalues), bayes.Options(**options), choose_device(), Inputs(files))


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
        "population (the default: nothing but the data)": {},
        "population, sigma given": {"sigma": 1 / snr},
        "shrinkage (nothing but the data)": {"prior": "shrinkage"},
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


@pytest.mark.parametrize("prior", ["population", "shrinkage"])
@pytest.mark.parametrize("snr", [15, 30, 80])
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize(
    ("phantom", "shape"), [("placenta", (48, 48, 12)), ("abdomen", (44, 40, 10)), ("brain", (36, 44, 12))]
)
def bench_volumes(phantom, shape, seed, snr, prior, record):
    """Nothing is given: prior, noise level and likelihood come from the data. The bound knows the truth of the volume."""
    voxels = simulate_phantom(phantom, snr=float(snr), seed=seed, shape=shape)
    bound = smallest_error(voxels.signals, voxels.truth, voxels.bvalues, 1 / snr, True, False, choose_device(), seed)
    settings = {} if prior == "population" else {"prior": prior}
    start = time.perf_counter()
    fit = prepare(find_method("bayes"), settings, voxels, choose_device())
    ready = time.perf_counter()
    fit.fit(voxels.signals[:256])
    begin = time.perf_counter()
    e = fit.fit(voxels.signals)
    speed = len(voxels) / (time.perf_counter() - begin)
    t, truth = bound.tested, np.stack([voxels.truth[key] for key in ("f", "d", "dstar")], axis=1)
    found, spread = (np.stack(values, axis=1) for values in ((e.f, e.D, e.Dstar), (e.fstd, e.dstd, e.dstarstd)))
    least, error = bound.mean("noisy")
    ratio = np.mean((found[t] - truth[t]) ** 2, axis=0) / least
    held = np.mean(np.abs(found - truth) < 1.96 * spread, axis=0)
    record("bayes_volumes", "bayes with no option set on whole volumes: mean squared error over the smallest possible one", **{
        "phantom": phantom, "seed": seed, "voxels": len(voxels), "SNR": snr, "prior": prior,
        **{key: float(v) for key, v in zip(("f", "D", "D*"), ratio, strict=True)},
        "SE of the bound [%]": ", ".join(f"{100 * v:.1f}" for v in error / least), "median draws behind the bound": float(bound.ess),
        "95 % intervals hold f, D, D*": ", ".join(f"{v:.3f}" for v in held),
        "outcomes 1, 2, 3, 4, 8": ", ".join(str(np.sum(e.outcome == k)) for k in (1, 2, 3, 4, 8)),
        "prepare [s]": float(ready - start), "voxels/s": float(speed)})  # fmt: skip


def box(n, seed):
    random = np.random.default_rng(seed)
    return random.uniform(0.05, 0.5, n), random.uniform(0.5e-3, 2.5e-3, n), random.uniform(10e-3, 100e-3, n)


def lognormal(n, seed):
    """Draws of the default of prior=lognormal within the default bounds."""
    x = np.random.default_rng(seed).normal(size=(3, 2 * n)) * [[1.0], [0.5], [0.7]]
    f, D, Dstar = 1 / (1 + np.exp(-x[0] - np.log(0.15 / 0.85))), 1.2e-3 * np.exp(x[1]), 30e-3 * np.exp(x[2])
    inside = (D < 5e-3) & (Dstar > 5e-3) & (Dstar < 0.2)
    return f[inside][:n], D[inside][:n], Dstar[inside][:n]


BOX = {"f_bounds": (0.05, 0.5), "d_bounds": (0.5e-3, 2.5e-3), "dstar_bounds": (10e-3, 100e-3)}
PRIORS = {
    "uniform": (box, {"prior": "uniform", **BOX}),
    "lognormal": (lognormal, {"prior": "lognormal"}),
    "a store's truth": (cohort, {}),
}


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def bench_calibration(name, seed, record):
    """Under the true prior and Gaussian noise, the posterior probability that the truth is below its value is uniform."""
    draws, options = PRIORS[name]
    theta = draws(VOXELS, seed)
    signals = noisy(theta, TEN, 30, seed + 1000, "gaussian")
    fitter = prepared(signals, TEN, None if options else draws(65536, seed + 5000), sigma=1 / 30, **options)
    below, ratio = fitter.below(signals, *theta), against_bound(draws, fitter, seed)
    thousand = process_seconds(fitter, signals[:1000])
    for k, parameter in enumerate(("f", "D", "D*")):
        u = below[:, k]
        counts = np.histogram(u, 20, (0, 1))[0]
        record("bayes_calibration", f"Simulation-based calibration: true prior, ten b-values, SNR 30, {VOXELS:,} voxels", **{
            "prior": name, "seed": seed, "parameter": parameter, "chi-square (19 dof)": float(chisquare(counts).statistic),
            "p": float(chisquare(counts).pvalue), "coverage of the 50 % interval": float(np.mean(np.abs(u - 0.5) <= 0.25)),
            "coverage of the 95 % interval": float(np.mean(np.abs(u - 0.5) <= 0.475)),
            "MSE over the smallest possible": float(ratio[k]),
            "CPU time per voxel [µs]": thousand * 1e3})  # fmt: skip


def process_seconds(fitter, signals):
    begin = time.process_time()
    fitter.fit(signals)
    return time.process_time() - begin


def against_bound(draws, fitter, seed):
    """Ratio (3,) of the fit's mean squared error to that of the posterior mean, over 4,096 voxels that it has not seen."""
    theta = draws(70_000, seed + 9000)
    signals = noisy(theta, TEN, 30, seed + 9001, "gaussian")
    truth = dict(zip(("s0", "f", "d", "dstar"), (np.ones(70_000), *theta), strict=True))
    bound = smallest_error(signals, truth, TEN, 1 / 30, False, False, choose_device(), seed)
    e = fitter.fit(signals[bound.tested])
    found = np.stack([e.f, e.D, e.Dstar], axis=1) - np.stack(theta, axis=1)[bound.tested]
    return (found**2).mean(0) / bound.noisy.mean(0)
