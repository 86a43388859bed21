"""Is the optimum of nlls the global one? Its cost beside the best of a multi-start scipy reference, per protocol and SNR.

The reference: scipy's trust-region least squares on all four parameters within the same bounds, from 12 starts and from
the answer of nlls itself (which only helps the reference).
"""

import numpy as np
import pytest
from joblib import Parallel, delayed

from tests.conftest import FIVE, TEN, phantom, run_method
from tests.methods.test_nlls import cost, scipy_best

VOXELS = 1000


@pytest.mark.parametrize("snr", [30, 100])
@pytest.mark.parametrize("bvalues", [TEN, FIVE], ids=["ten", "five"])
def bench_quality(bvalues, snr, record):
    p = phantom(VOXELS, bvalues, snr, seed=11)
    mine = cost(run_method("nlls", p.signals, bvalues), p.signals, bvalues)
    best = np.array(Parallel(-1)(delayed(scipy_best)(signal, bvalues) for signal in p.signals.astype(np.float64)))
    excess = (mine - best) / np.maximum(best, 1e-10)
    record("quality", "Cost of nlls beside the best of 12 scipy starts (uniform phantom)", **{
        "b-values": len(bvalues), "SNR": snr, "voxels": VOXELS, "within 1e-4 [%]": float(100 * np.mean(excess <= 1e-4)),
        "worst excess": float(excess.max()), "scipy worse by > 1e-4 [%]": float(100 * np.mean(excess < -1e-4))})  # fmt: skip
