"""The argument types with which bayes launches its CUDA kernels."""

import numpy as np
from numba import int64, typeof, uint8

from ivimsc.methods.bayes import on_gpu
from ivimsc.methods.bayes.draws import Draws, Proposal
from ivimsc.methods.bayes.likelihood import NoiseModel, Spread
from ivimsc.methods.bayes.priors import box_prior
from ivimsc.methods.bayes.problem import Problem, sampling
from tests.device.kinds import F1, F2, F3, SPAN

NOISE = NoiseModel(np.ones(1, np.float32), np.ones(1, np.float32), np.float32(0), np.float32(1), False)
SPREAD = Spread(*np.ones((2, 1), np.float32))
DRAWS = Draws(*np.ones((3, 1, 1), np.float32), np.ones(1, np.float32), SPREAD)
PROPOSAL = Proposal(1, np.ones((3, 1), np.float32), np.ones(1, np.float32), SPREAD)
PROBLEM = Problem(NOISE, box_prior(np.array([[0, 1], [0, 5], [5, 200]])), DRAWS, PROPOSAL, sampling(6, 0))

KERNELS = {
    "posterior": (on_gpu.posterior_kernel, (*SPAN, int64, F2, typeof(PROBLEM), F3, F3, F2)),
    "posterior's finish": (on_gpu.finish_kernel, (*SPAN, F2, F1, typeof(PROBLEM.sampling), F2, uint8[::1])),
}
