"""The argument types with which nlls launches its CUDA kernels."""

from numba import boolean, float32, float64, from_dtype, int64

from ivimsc.methods.nlls import on_gpu
from ivimsc.methods.nlls.start_table import NODE, PAIR, Starts, StartTable
from ivimsc.numerics.ending import Box
from ivimsc.numerics.finish import Found, Problem, Rules
from tests.device.kinds import F1, F2, SPAN, named

BOX = named(Box, *[float32] * 6)
RULES = named(Rules, int64, int64, float32, float64, BOX)
PROBLEM = named(Problem, F1, F1, boolean, float32, BOX, RULES)
FOUND = named(Found, *[F1] * 6, boolean[::1])
NODES, PAIRS = from_dtype(NODE)[::1], from_dtype(PAIR)[:, ::1]
TABLE, STARTS = named(StartTable, F2, F2, F2, NODES, F1, F1, PAIRS), named(Starts, F2, F2)

KERNELS = {
    "starts": (on_gpu.starts_kernel, (*SPAN, F2, TABLE, PROBLEM, F1, STARTS)),
    "search": (on_gpu.search_kernel, (*SPAN, F2, F1, STARTS, PROBLEM, float32, FOUND)),
}
