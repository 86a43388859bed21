"""Signals that are on a GPU already (CuPy, torch, anything with ``__cuda_array_interface__``), as rows to fit."""

import math
from typing import Any

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import SIMULATED
from ivimsc.device.driver import gpu_of_pointer
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import THREADS, grid, on_device
from ivimsc.errors import InputError

__all__ = ["average_kernel", "gpu_of", "rows_of"]


@cuda.jit(cache=True)
def average_kernel(volumes, shell, rows):
    """Rows (voxel, b) float32: mean over the finite volumes (voxel, volume) of each shell, in float64; NaN without one."""
    element = cuda.grid(1)
    v, b = element // rows.shape[1], element % rows.shape[1]
    if v >= rows.shape[0]:
        return
    total, n = 0.0, 0
    for k in range(shell.shape[0]):
        value = np.float64(volumes[v, k])
        if shell[k] == b and math.isfinite(value):
            total += value
            n += 1
    rows[v, b] = total / n if n > 0 else np.float32(np.nan)


def gpu_of(array: Any) -> str:
    """The device that an array is on, "cuda:N"."""
    return "cuda:0" if SIMULATED else f"cuda:{gpu_of_pointer(array.__cuda_array_interface__['data'][0])}"


def rows_of(launch: Launch, signals: Any, shell: np.ndarray, n_b: int) -> Any:
    """Signals (…, volume) as rows (voxel, b) float32 on the same GPU: the same memory where that is what they are.

    Other types, strides and volumes to average (shell (volume,): the b-value of each) are brought into rows on the GPU.

    Raises
    ------
    InputError
        for dtypes that are no real numbers, and for strided arrays of other than two dimensions
    """
    with on_device(launch):
        array = signals if SIMULATED else cuda.as_cuda_array(signals)
        if array.dtype.kind not in "fiub":
            raise InputError(f"signals: found dtype {array.dtype}, expected real numbers")
        contiguous = array.is_c_contiguous()
        shape = tuple(array.shape)
        n = math.prod(shape[:-1])
        if array.ndim != 2:
            if not contiguous:
                raise InputError(f"signals: found a strided device array of shape {shape}, expected a contiguous one, or two dimensions (voxel, b)")  # fmt: skip
            array = array.reshape(n, shape[-1])
        if array.dtype == np.float32 and contiguous and np.array_equal(shell, np.arange(n_b)):
            return array
        rows = cuda.device_array((n, n_b), np.float32)
        if n:
            average_kernel[grid(n * n_b, THREADS), THREADS](array, cuda.to_device(np.asarray(shell, np.int64)), rows)
            cuda.synchronize()
        return rows
