"""The argument types with which segmented launches its CUDA kernel."""

from numba import boolean, float32, int64

from ivimsc.methods.segmented import on_gpu
from ivimsc.methods.segmented.exponential import DecayGrid
from ivimsc.methods.segmented.method import Split
from ivimsc.numerics.ending import Box
from ivimsc.numerics.finish import Found, Problem
from tests.device.kinds import F1, F2, SPAN, named

PROBLEM = named(Problem, F1, float32, float32, named(Box, *[float32] * 6))
FOUND = named(Found, *[F1] * 5, boolean[::1])
DECAY = named(DecayGrid, F1, F1, F2)

KERNELS = {
    "segments": (on_gpu.segments_kernel, (*SPAN, F2, PROBLEM, named(Split, int64, DECAY, DECAY, boolean), F1, FOUND)),
}
