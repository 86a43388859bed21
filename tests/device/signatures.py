"""The argument types with which every CUDA kernel is launched."""

import numpy as np
from numba import boolean, float32, float64, int32, int64, typeof, types, uint8, uint64

from ivimsc.device import arrays, finishing
from ivimsc.methods.bayes import on_gpu as posterior
from ivimsc.methods.ista import on_gpu as sparse_coding
from ivimsc.methods.nlls import on_gpu as nlls
from ivimsc.methods.scdnn.on_gpu import around_units, units
from ivimsc.methods.scdnn.units import Weights
from ivimsc.methods.segmented import on_gpu as segmented
from ivimsc.numerics.finish import Limits
from ivimsc.simulate import on_gpu as simulating

LIMITS = typeof(Limits(*np.ones(7, np.float32)))
F1, F2, F3 = float32[::1], float32[:, ::1], float32[:, :, ::1]
D1, D2, I1, I2 = float64[::1], float64[:, ::1], int64[::1], int64[:, ::1]
F4, D3, N1 = float32[:, :, :, ::1], float64[:, :, ::1], int32[::1]
SPAN = (int64, int64)  # first voxel, number of voxels


def named(group, *members):
    """The type of a NamedTuple whose fields have the types `members`."""
    if len(set(members)) == 1:
        return types.NamedUniTuple(members[0], len(members), group)
    return types.NamedTuple(members, group)


WEIGHTS = named(Weights, F4, F4, F3, F1, int64, boolean, boolean)
PLACES, SCRATCH = named(units.Places, N1, N1), named(units.Scratch, F2, F2)
BASE = named(around_units.Base, I1, int64, float32)
ENTERED, ENTERED_GENERAL = (named(around_units.Entered, y, scale, D1, N1) for y, scale in ((F2, F1), (D2, D1)))
REACH = named(around_units.Reach, F1, F1, F1)
NOISE_LEVELS = named(around_units.NoiseLevels, D3, D1, float64, float64, float64, float64, float64, boolean)

KERNELS = {
    "acquire": (
        simulating.acquire_kernel,
        (*SPAN, int64, F1, F1, F1, F1, float64[::1], float64, int64, int64, F2),
    ),
    "average": (arrays.average_kernel, (float64[:, :], int64[::1], F2)),
    "starts": (nlls.starts_kernel, (*SPAN, F2, F2, F2, F2, F2, F2, F3, LIMITS, F1, F2)),
    "search": (nlls.search_kernel, (*SPAN, F2, F1, F2, F1, float32, LIMITS, float32, F2)),
    "finish": (finishing.finish_kernel, (*SPAN, F1, F1, F2, float32, boolean, LIMITS, F2, uint8[::1])),
    "segments": (segmented.segments_kernel, (*SPAN, F2, F1, int64, F1, F2, F1, F2, boolean, LIMITS, F1, F2)),
    "codes": (
        sparse_coding.codes_kernel,
        (
            *(*SPAN, F2, D2, D2, I1, I1, I1, D1, D2, D1, D3, D1, D1, uint64[::1]),
            *(float64, boolean, float64),
            *(I2, D2, D3, D3, D2, I2, D2, I2, D2, I2, uint8[:, ::1]),
            *(F2, uint8[::1], F1, N1, N1, int32[:, ::1], F2),
        ),
    ),
    "posterior": (
        posterior.posterior_kernel,
        (
            *(*SPAN, int64, F2, F1, float32, float32, boolean, F2, F2, F2, F1, F2, int64, F2, F1, F2),
            *(I1, F1, F1, F1, F2, F3, F2, float32, int64, float32, int64, int64, F3, F3, F2),
        ),
    ),
    "posterior's finish": (posterior.finish_kernel, (*SPAN, F2, F1, float32, F2, uint8[::1])),
    "rows": (sparse_coding.rows_kernel, (N1, int32[:, ::1], F2, I1, F1, N1)),
    "units": (units.units_kernel(10), (int64, F2, PLACES, WEIGHTS, SCRATCH, F2, F2, boolean)),
    "enter": (around_units.enter_kernel, (*SPAN, F2, F1, BASE, ENTERED, PLACES)),
    "enter, general": (around_units.enter_general_kernel, (*SPAN, F2, NOISE_LEVELS, ENTERED_GENERAL, N1)),
    "clear": (around_units.clear_kernel, (N1,)),
    "begin": (around_units.begin_kernel, (N1, N1, N1)),
    "place": (around_units.place_kernel, (int64, ENTERED_GENERAL, NOISE_LEVELS, N1, N1, F2)),
    "leave": (around_units.leave_kernel, (*SPAN, N1, F2, ENTERED, REACH, NOISE_LEVELS, F2, uint8[::1])),
    "leave, general": (
        around_units.leave_kernel,
        (*SPAN, N1, F2, ENTERED_GENERAL, REACH, NOISE_LEVELS, F2, uint8[::1]),
    ),
}
