"""The argument types with which every CUDA kernel is launched; a method's own are in tests/methods/NAME/signatures.py."""

import importlib

from numba import boolean, float32, float64, int64, uint8

from ivimsc.device import arrays, finishing, verdict, verdict_on_gpu
from ivimsc.methods import METHODS
from ivimsc.numerics.ending import Box
from ivimsc.numerics.finish import Found, Problem, Rules
from ivimsc.simulate import on_gpu as simulating
from tests.device.kinds import D1, F1, F2, SPAN, named

BOX = named(Box, *[float32] * 6)
RULES = named(Rules, int64, int64, float32, float64, BOX)
PROBLEM = named(Problem, F1, F1, boolean, float32, BOX, RULES)
FOUND = named(Found, *[F1] * 6, boolean[::1])
EVIDENCE = named(verdict.Evidence, D1, D1, float64, float64, boolean)

KERNELS = {
    "acquire": (simulating.acquire_kernel, (*SPAN, int64, F1, F1, F1, F1, D1, float64, int64, int64, F2)),
    "average": (arrays.average_kernel, (float64[:, :], int64[::1], F2)),
    "finish": (finishing.finish_kernel, (*SPAN, PROBLEM, F1, FOUND, F2, uint8[::1])),
    "judge": (verdict_on_gpu.judge_kernel, (named(verdict.Found, *[F1] * 5), EVIDENCE, uint8[::1])),
}
for method in METHODS.values():
    if method.on_cuda:
        KERNELS |= importlib.import_module(f"tests.methods.{method.name}.signatures").KERNELS
