"""The measurements behind docs/choosing.md: methods and models for protocols, and the speeds of the models.

Voxels of the uniform phantom (f 0.05 to 0.5, D 0.5 to 2.5, D* 10 to 100 µm²/ms) with Gaussian noise; D* that is held fixed is
held at 50 µm²/ms, near the middle of the truth.

Run ``python -m pytest bench/bench_choosing.py``; it writes bench/results/choosing_protocols.md, choosing_models.md and
choosing_speed.md.
"""

import time

import numpy as np
import pytest

from ivimsc.fit import fit_signals
from ivimsc.simulate import simulate_phantom

VOXELS = 5000
PROTOCOLS = {
    "0, 200, 800": (0, 200, 800),
    "0, 50, 200, 800": (0, 50, 200, 800),
    "0, 50, 100, 200, 400, 800": (0, 50, 100, 200, 400, 800),
    "the paper's ten": (0, 10, 20, 50, 80, 100, 150, 200, 300, 500),
}
FITS = (("simplified", {}), ("segmented", {}), ("nlls", {"dstar": 0.05}), ("nlls", {}))
LEAST = {"simplified": 3, "segmented": 4, "nlls": 4}
HIGH = np.array([0, 10, 20, 40, 80, 150, 200, 400, 600, 800, 1000, 1500.0])


def error(found, truth, unit=1.0):
    """Root mean square error of one map."""
    return float("nan") if found is None else float(np.sqrt(np.nanmean((found - truth) ** 2)) * unit)


@pytest.mark.parametrize("snr", [30, 100])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def bench_protocols(protocol, snr, record):
    b = np.array(PROTOCOLS[protocol], float)
    v = simulate_phantom("uniform", b, snr, 3, "gaussian", voxels=VOXELS)
    for method, options in FITS:
        if len(b) >= LEAST[method] - ("dstar" in options) and (method != "segmented" or np.sum(b < 200) > 1):
            e = fit_signals(v.signals, b, method, **options)
            record("choosing_protocols", "Protocols: root mean square errors", b=protocol, SNR=snr,
                   method=f"{method}, D* fixed" if options else method, f=error(e.f, v.truth["f"]),
                   D=error(e.D, v.truth["d"], 1e3), Dstar=error(e.Dstar, v.truth["dstar"], 1e3))  # fmt: skip


@pytest.mark.parametrize("model", ["biexp", "kurtosis"])
@pytest.mark.parametrize("snr", [30, 100])
def bench_models(snr, model, record):
    v = simulate_phantom("uniform", HIGH, snr, 3, "gaussian", voxels=VOXELS, model=model)
    for method, last in (("nlls", 1500), ("nlls", 600), ("kurtosis", 1500)):
        use = last >= HIGH
        e = fit_signals(v.signals[:, use], HIGH[use], method)
        truth = v.truth
        record("choosing_models", "b to 1500 s/mm²: with kurtosis and without", truth=model, SNR=snr, method=method, b_max=last,
               f=error(e.f, truth["f"]), f_bias=float(np.mean(e.f - truth["f"])), D=error(e.D, truth["d"], 1e3),
               D_bias=float(np.mean(e.D - truth["d"]) * 1e3), Dstar=error(e.Dstar, truth["dstar"], 1e3),
               K=error(e.K, truth.get("k", 0.0)))  # fmt: skip


def bench_speed(record):
    v = simulate_phantom("uniform", HIGH, 50, 3, "gaussian", voxels=40_000, model="kurtosis")
    seconds = {}
    for method in ("nlls", "adc", "simplified", "kurtosis", "triexp"):
        fit_signals(v.signals[:100], HIGH, method, threads=1)  # compiled here
        seconds[method] = min(_seconds(v.signals, method) for _ in range(5))
        record("choosing_speed", "Speed of the models on one thread, in CPU time, 12 b-values, SNR 50", method=method,
               voxels_per_second=int(len(v) / seconds[method]), of_nlls=seconds["nlls"] / seconds[method])  # fmt: skip


def _seconds(signals, method):
    begin = time.process_time()
    fit_signals(signals, HIGH, method, threads=1)
    return time.process_time() - begin
