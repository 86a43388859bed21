"""`verdict.judge` for arrays that are on a GPU: one thread per voxel."""

from typing import Any

import numpy as np
from numba import cuda

from ivimsc.device import verdict
from ivimsc.device.device_functions import as_device
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import THREADS, grid, on_device
from ivimsc.numerics import lanes, standard_errors
from ivimsc.numerics.ending import AT_BOUND, CONVERGED, UNIDENTIFIABLE

__all__ = ["judge_kernel", "judge_on_gpu"]

NO_GRAM = standard_errors.NO_GRAM
_is_unidentifiable, _noise_of, _add_gram, _unit_errors, _exp64 = (
    as_device(f)
    for f in (
        verdict.is_unidentifiable, verdict.noise_of, standard_errors.add_gram, standard_errors.unit_errors, lanes.exp64
    )
)  # fmt: skip


@cuda.jit(cache=True)
def judge_kernel(found, evidence, outcome):
    """See `verdict.judge`: one voxel per thread."""
    v = cuda.grid(1)
    if v >= outcome.shape[0] or (outcome[v] != CONVERGED and outcome[v] != AT_BOUND):
        return
    f, d, p = np.float64(found.f[v]), 1e3 * np.float64(found.D[v]), 1e3 * np.float64(found.Dstar[v])
    b, root, sums = evidence.b, evidence.root, NO_GRAM
    for k in range(b.shape[0]):
        sums = _add_gram(sums, root[k] * _exp64(-b[k] * d), root[k] * _exp64(-b[k] * p), b[k])
    errors = _unit_errors(sums, 1.0 - f, f, evidence.known_s0, False)
    noise = _noise_of(found.spread[v], evidence) / found.S0[v]
    if _is_unidentifiable(f, d, p, (errors.f, errors.p), noise):
        outcome[v] = UNIDENTIFIABLE


def judge_on_gpu(launch: Launch, found: Any, evidence: Any, outcome: Any) -> None:
    """`verdict.judge` where the arrays are on the GPU of `launch`."""
    with on_device(launch):
        there = evidence._replace(b=cuda.to_device(evidence.b), root=cuda.to_device(evidence.root))
        if len(outcome):
            judge_kernel[grid(len(outcome), THREADS), THREADS](found, there, outcome)
            cuda.synchronize()
