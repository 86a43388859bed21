"""Simulated signals on a GPU: one thread per voxel and b-value, so that neighbouring threads write neighbouring floats.

The draws are those of the CPU: keyed by (seed, voxel, b-value), computed in float64 from the same functions. So are the
signals; what differs is the last digit of the device's log, cos and exp before they are rounded to float32.
"""

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import as_device
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.numerics.random_numbers import NOISE, normals
from ivimsc.physics import noise
from ivimsc.physics import signal as biexponential
from ivimsc.simulate.phantom import NONE, RICIAN

__all__ = ["acquire", "acquire_kernel"]

_signal, _rician, _gaussian, _normals = (as_device(f) for f in (biexponential.signal, noise.rician, noise.gaussian, normals))  # fmt: skip


@cuda.jit(cache=True)
def acquire_kernel(first, size, number, S0, f, D, Dstar, bvalues, sigma, kind, seed, signals):
    """Signals (voxel, b) of the voxels first .. first + size; `number` is the number of voxel 0 in the phantom."""
    n_b = bvalues.shape[0]
    element = cuda.grid(1)
    i, k = element // n_b, element % n_b
    if i >= size:
        return
    v = first + i
    S = _signal(bvalues[k], S0[v], f[v], D[v], Dstar[v])
    if kind != NONE:
        xi1, xi2 = _normals(seed, NOISE, number + v, k)
        S = _rician(S, xi1, xi2, sigma) if kind == RICIAN else _gaussian(S, xi1, sigma)
    signals[v, k] = S


def acquire(launch: Launch, truth, first: int, b, sigma: float, kind: int, seed: int, signals) -> None:
    """Fill the signals of a block of a phantom, as `_acquire` of `ivimsc.simulate.phantom` does on the CPU.

    Parameters
    ----------
    launch : the GPU
    truth : (S0, f, D, Dstar), each (voxel,) float32; D and Dstar in mm²/s
    first : number of the block's first voxel in the phantom, which keys its noise
    b : (b,) in s/mm²
    sigma : noise standard deviation, in the unit of the signal
    kind : number of the noise in `NOISES`
    seed : keys the noise
    signals : (voxel, b) float32 on the host, filled
    """
    with on_device(launch):
        bvalues = cuda.to_device(np.ascontiguousarray(b, dtype=np.float64))

    def work(stream, start, at, size, inputs, outputs, scratch):
        number = first + start - at
        acquire_kernel[grid(size * len(b), THREADS), THREADS, stream](at, size, number, *inputs, bvalues, sigma, kind, seed, *outputs)  # fmt: skip

    columns = [np.ascontiguousarray(column) for column in truth]
    run_chunks(launch, len(signals), columns, [signals], [], work, rows=True)
