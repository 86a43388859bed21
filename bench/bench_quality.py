"""Is the optimum of nlls the global one? Its cost beside the best of a multi-start scipy reference, per protocol and SNR.

The reference: scipy's trust-region least squares on all four parameters within the same bounds, from 12 starts and from
the answer of nlls itself (which only helps the reference).

Run ``python -m pytest bench/bench_quality.py``; it writes bench/results/quality.md.
"""

import numpy as np
import pytest
from joblib import Parallel, delayed

from ivimsc.simulate import simulate_phantom
from tests.conftest import FIVE, TEN, phantom, run_method
from tests.methods.nlls.test_method import cost, scipy_best

VOXELS = 500


def signals_of(name, bvalues, snr):
    if name == "uniform":
        return phantom(VOXELS, bvalues, snr, seed=11).signals
    signals = simulate_phantom("placenta", bvalues, snr=snr, shape=(64, 64, 5)).signals
    return signals[np.random.default_rng(0).choice(len(signals), VOXELS, replace=False)]


@pytest.mark.parametrize("name", ["uniform", "placenta"])
@pytest.mark.parametrize("snr", [30, 100])
@pytest.mark.parametrize("bvalues", [TEN, FIVE], ids=["ten", "five"])
def bench_quality(bvalues, snr, name, record):
    signals = signals_of(name, bvalues, snr)
    mine = cost(run_method("nlls", signals, bvalues), signals, bvalues)
    best = np.array(Parallel(-1)(delayed(scipy_best)(signal, bvalues) for signal in signals.astype(np.float64)))
    excess = (mine - best) / np.maximum(best, 1e-10)
    record("quality", "Cost of nlls beside the best of 12 scipy starts", phantom=name, **{
        "b-values": len(bvalues), "SNR": snr, "voxels": VOXELS, "within 1e-4 [%]": float(100 * np.mean(excess <= 1e-4)),
        "worst excess": float(excess.max()), "scipy worse by > 1e-4 [%]": float(100 * np.mean(excess < -1e-4))})  # fmt: skip
