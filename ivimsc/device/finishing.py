"""The last step of the least-squares fits on a GPU: `numerics.finish`, one thread per voxel."""

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import as_device
from ivimsc.numerics import finish, lanes, standard_errors
from ivimsc.numerics.standard_errors import NO_GRAM

__all__ = ["FOUND", "finish_kernel"]

ONE = 1.0
FOUND = [((), np.float32)] * 6 + [((), np.bool_)]  # scratch of `run_chunks` for the fields of `finish.Found`
_add_gram, _unit_errors, _fit_at, _results_of, _results_at, _write, _exp64 = (
    as_device(f)
    for f in (
        standard_errors.add_gram,
        standard_errors.unit_errors,
        finish.fit_at,
        finish.results_of,
        finish.results_at,
        finish.write,
        lanes.exp64,
    )
)


@cuda.jit(cache=True)
def finish_kernel(first, size, problem, scale, found, rows, outcome):
    """Write the results of `size` voxels, from voxel `first` of rows (RESULT_ROWS, voxel) and outcome (voxel,) on.

    scale (chunk,) and found, (chunk,) each, are those of `finish.finish`.
    """
    i = cuda.grid(1)
    if i >= size:
        return
    fit = _fit_at(found, i)
    good, known_s0 = scale[i] > 0, problem.s0 > 0
    tissue, blood = (np.float64(fit.tissue), np.float64(fit.blood)) if good else (ONE, ONE)
    d, p = (np.float64(fit.d), np.float64(fit.p)) if good else (ONE, ONE)
    sums = NO_GRAM
    for k in range(problem.b.shape[0]):
        b, root = np.float64(problem.b[k]), np.float64(problem.root[k])
        sums = _add_gram(sums, root * _exp64(-b * d), root * _exp64(-b * p), b)
    errors = _unit_errors(sums, tissue, blood, known_s0, problem.box.p_low == problem.box.p_high)
    values = _results_at(scale[i], fit, errors, problem.box, problem.rules)
    _write(_results_of(rows, outcome), first + i, values)
