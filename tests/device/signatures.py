"""The argument types with which every CUDA kernel is launched."""

import numpy as np
from numba import boolean, float32, float64, int32, int64, typeof, uint8, uint64

from ivimsc.device import arrays, finishing
from ivimsc.methods.bayes import on_gpu as posterior
from ivimsc.methods.bayes.draws import Draws, Proposal
from ivimsc.methods.bayes.likelihood import NoiseModel, Spread
from ivimsc.methods.bayes.priors import box_prior
from ivimsc.methods.bayes.problem import Problem, sampling
from ivimsc.methods.ista import on_gpu as sparse_coding
from ivimsc.methods.nlls import on_gpu as nlls
from ivimsc.methods.scdnn import around_units
from ivimsc.methods.scdnn import units_on_gpu as unrolled
from ivimsc.methods.segmented import on_gpu as segmented
from ivimsc.numerics.finish import Limits
from ivimsc.simulate import on_gpu as simulating

NOISE = NoiseModel(np.ones(1, np.float32), np.float32(0), np.float32(1), False)
SPREAD = Spread(*np.ones((2, 1), np.float32))
DRAWS = Draws(*np.ones((3, 1, 1), np.float32), np.ones(1, np.float32), SPREAD)
PROPOSAL = Proposal(1, np.ones((3, 1), np.float32), np.ones(1, np.float32), SPREAD)
PROBLEM = Problem(NOISE, box_prior(np.array([[0, 1], [0, 5], [5, 200]])), DRAWS, PROPOSAL, sampling(6, 0))
LIMITS = typeof(Limits(*np.ones(7, np.float32)))
F1, F2, F3 = float32[::1], float32[:, ::1], float32[:, :, ::1]
D1, D2, I1, I2 = float64[::1], float64[:, ::1], int64[::1], int64[:, ::1]
F4, D3, N1 = float32[:, :, :, ::1], float64[:, :, ::1], int32[::1]
LEAVE = (F1, F1, F1, float64, float64, float64, boolean, F2, uint8[::1])
SPAN = (int64, int64)  # first voxel, number of voxels

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
    "posterior": (posterior.posterior_kernel, (*SPAN, int64, F2, typeof(PROBLEM), F3, F3, F2)),
    "posterior's finish": (posterior.finish_kernel, (*SPAN, F2, F1, float32, F2, uint8[::1])),
    "rows": (sparse_coding.rows_kernel, (N1, int32[:, ::1], F2, I1, F1, N1)),
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
