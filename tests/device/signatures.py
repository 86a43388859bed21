"""The argument types with which every CUDA kernel is launched."""

from numba import boolean, float32, float64, from_dtype, int32, int64, types, uint8, uint64

from ivimsc.device import arrays, finishing
from ivimsc.estimates import Spectrum
from ivimsc.methods.bayes import on_gpu as posterior
from ivimsc.methods.ista import on_gpu as sparse_coding
from ivimsc.methods.ista.decoding import Maps
from ivimsc.methods.ista.problem import Penalty
from ivimsc.methods.ista.pyramid import Pyramid
from ivimsc.methods.nlls import on_gpu as nlls
from ivimsc.methods.nlls.start_table import NODE, PAIR, Starts, StartTable
from ivimsc.methods.scdnn import around_units
from ivimsc.methods.scdnn import units_on_gpu as unrolled
from ivimsc.methods.segmented import on_gpu as segmented
from ivimsc.methods.segmented.exponential import DecayGrid
from ivimsc.methods.segmented.method import Split
from ivimsc.numerics.ending import Box
from ivimsc.numerics.finish import Found, Problem
from ivimsc.physics.dictionary import Grids
from ivimsc.simulate import on_gpu as simulating


def named(kind, *fields):
    """The type of a NamedTuple, whose fields have these types."""
    return (
        types.NamedUniTuple(fields[0], len(fields), kind) if len(set(fields)) == 1 else types.NamedTuple(fields, kind)
    )


F1, F2, F3 = float32[::1], float32[:, ::1], float32[:, :, ::1]
D1, D2, I1, I2 = float64[::1], float64[:, ::1], int64[::1], int64[:, ::1]
F4, D3, N1 = float32[:, :, :, ::1], float64[:, :, ::1], int32[::1]
LEAVE = (F1, F1, F1, float64, float64, float64, boolean, F2, uint8[::1])
SPAN = (int64, int64)  # first voxel, number of voxels
BOX = named(Box, *[float32] * 6)
PROBLEM = named(Problem, F1, float32, float32, BOX)
FOUND = named(Found, *[F1] * 5, boolean[::1])
NODES, PAIRS = from_dtype(NODE)[::1], from_dtype(PAIR)[:, ::1]
TABLE, STARTS = named(StartTable, F2, F2, F2, NODES, F1, F1, PAIRS), named(Starts, F2, F2)
DECAY = named(DecayGrid, F1, F1, F2)
SPLIT = named(Split, int64, DECAY, DECAY, boolean)

PYRAMID = named(Pyramid, D2, D2, I1, I1, I1, D1, D2, D1, D3)
GRIDS, PENALTY = named(Grids, D1, D1), named(Penalty, float64, boolean)
ROOM = named(sparse_coding.Room, I2, D2, D3, D3, D2, I2, D2, I2, D2, I2, uint8[:, ::1], uint64[::1])
MAPS = named(Maps, F1, F1, F1, F1, F1, uint8[::1])
CODES = named(sparse_coding.Codes, F1, N1, N1, int32[:, ::1], F2)

KERNELS = {
    "acquire": (
        simulating.acquire_kernel,
        (*SPAN, int64, F1, F1, F1, F1, float64[::1], float64, int64, int64, F2),
    ),
    "average": (arrays.average_kernel, (float64[:, :], int64[::1], F2)),
    "starts": (nlls.starts_kernel, (*SPAN, F2, TABLE, BOX, F1, STARTS)),
    "search": (nlls.search_kernel, (*SPAN, F2, F1, STARTS, PROBLEM, float32, FOUND)),
    "finish": (finishing.finish_kernel, (*SPAN, PROBLEM, F1, FOUND, F2, uint8[::1])),
    "segments": (segmented.segments_kernel, (*SPAN, F2, PROBLEM, SPLIT, F1, FOUND)),
    "codes": (
        sparse_coding.codes_kernel,
        (*SPAN, F2, PYRAMID, GRIDS, PENALTY, float64, ROOM, MAPS, CODES),
    ),
    "posterior": (
        posterior.posterior_kernel,
        (
            *(*SPAN, int64, F2, F1, float32, float32, boolean, F2, F2, F2, F1, F2, int64, F2, F1, F2),
            *(I1, F1, F1, F1, F2, F3, F2, float32, int64, float32, int64, int64, F3, F3, F2),
        ),
    ),
    "posterior's finish": (posterior.finish_kernel, (*SPAN, F2, F1, float32, F2, uint8[::1])),
    "rows": (sparse_coding.rows_kernel, (CODES, named(Spectrum, F1, N1, I1))),
    "units": (
        unrolled.units_kernel(10),
        (int64, F2, N1, N1, F4, F4, F3, F1, int64, boolean, boolean, boolean, F2, F2, F2, F2),
    ),
    "enter": (around_units.enter_kernel, (*SPAN, F2, F1, I1, int64, float32, F2, F1, N1, N1)),
    "enter, general": (
        around_units.enter_general_kernel,
        (*SPAN, F2, D3, D1, float64, float64, float64, float64, D2, D1, N1, N1),
    ),
    "clear": (around_units.clear_kernel, (N1,)),
    "begin": (around_units.begin_kernel, (N1, N1, N1)),
    "place": (around_units.place_kernel, (int64, D2, N1, D3, D1, N1, N1, F2, D1)),
    "leave": (around_units.leave_kernel, (*SPAN, N1, F2, F2, F1, D1, N1, *LEAVE)),
    "leave, general": (around_units.leave_kernel, (*SPAN, N1, F2, D2, D1, D1, N1, *LEAVE)),
}
