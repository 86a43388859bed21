"""What each outcome is worth: the share of voxels that have it, and what keeping only the converged ones does to f.

Run: python -m pytest bench/bench_outcomes.py
"""

import numpy as np
import pytest

import ivimsc
from ivimsc.outcome import Outcome

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
