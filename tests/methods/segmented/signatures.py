"""The argument types with which segmented launches its CUDA kernel."""

from numba import boolean, float32, float64, int64, uint8

from ivimsc.methods.segmented import on_gpu
from ivimsc.methods.segmented.blood import BloodGrid
from ivimsc.methods.segmented.exponential import DecayGrid
from ivimsc.methods.segmented.method import Split
from ivimsc.numerics.ending import Box
from ivimsc.numerics.finish import Found, Problem, Rules
from tests.device.kinds import D1, F1, F2, SPAN, named

BOX = named(Box, *[float32] * 6)
RULES = named(Rules, int64, int64, float32, float64, BOX)
PROBLEM = named(Problem, F1, F1, boolean, float32, BOX, RULES)
FOUND = named(Found, *[F1] * 6, boolean[::1])
DECAY, BLOOD = named(DecayGrid, F1, F1, F1, F2), named(BloodGrid, F1, F2, F1)
SPLIT = named(Split, int64, DECAY, BLOOD, boolean, D1)

KERNELS = {
    "segments": (on_gpu.segments_kernel, (*SPAN, F2, PROBLEM, SPLIT, F1, F1, FOUND)),
    "two steps": (on_gpu.errors_kernel, (*SPAN, PROBLEM, SPLIT, F1, F1, FOUND, F2, uint8[::1])),
}
