"""The loop of an unrolled sparse-coding network on a GPU: `kernels.unrolled.forward`, two voxels per thread.

One pass over the atoms per unit: an atom's coefficient is updated from the residual, and what it explains is taken from
the residual of the next unit at once. So a coefficient is read and written once per unit, (atom, voxel), neighbouring
threads side by side; its weights, the same for all threads, are loaded once for two voxels. Residuals lie in registers,
for which the number of b-values has to be known when the kernel is compiled.
"""

import functools
from typing import Any

import numpy as np
from numba import cuda, float32

from ivimsc.kernels import unrolled
from ivimsc.kernels.cuda.device_functions import as_device
from ivimsc.kernels.cuda.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.kernels.launch import Launch

__all__ = ["run_units", "units_kernel"]

ZERO = np.float32(0.0)
CHUNK = 2**17  # voxels: 600 atoms of each take 2.4 kB
_soft, _firm = as_device(unrolled.soft), as_device(unrolled.firm)


@functools.cache
def units_kernel(n_b: int) -> Any:
    """The kernel for n_b b-values: ``kernel(first, size, signals, w, phi, thresholds, atoms, n_d, hard, onto_input, dense, x, u, sums, codes)``.

    signals (voxel, b); w, phi (unit, atom, b); thresholds (unit, atom); atoms (atom,): the diffusivities; x, u (atom,
    chunk): scratch, u (1, chunk) without `onto_input`; sums (4, voxel) and, with `dense`, codes (atom,
    voxel): written.
    """

    @cuda.jit
    def kernel(first, size, signals, w, phi, thresholds, atoms, n_d, hard, onto_input, dense, x, u, sums, codes):
        half = (size + 1) // 2
        i = cuda.grid(1)
        if i >= half:
            return
        k = i + half if i + half < size else i  # of an odd number, the last thread takes one voxel twice
        r_i, r_k = cuda.local.array(n_b, float32), cuda.local.array(n_b, float32)
        s_i, s_k = cuda.local.array(n_b, float32), cuda.local.array(n_b, float32)
        for m in range(n_b):
            r_i[m], r_k[m] = signals[first + i, m], signals[first + k, m]
        one_i, one_k, moment_i, moment_k = ZERO, ZERO, ZERO, ZERO
        units, n = thresholds.shape
        for t in range(units):
            last = t + 1 == units
            for m in range(n_b):
                s_i[m] = ZERO if onto_input else signals[first + i, m]
                s_k[m] = ZERO if onto_input else signals[first + k, m]
            for j in range(n):
                u_i, u_k = ZERO, ZERO
                for m in range(n_b):
                    weight = w[t, j, m]
                    u_i += weight * r_i[m]
                    u_k += weight * r_k[m]
                if t > 0:
                    u_i += x[j, i]
                    u_k += x[j, k]
                    if onto_input:
                        u_i += u[j, i]
                        u_k += u[j, k]
                if onto_input:
                    u[j, i], u[j, k] = u_i, u_k
                cut = thresholds[t, j]
                x_i = _firm(u_i, cut) if hard else _soft(u_i, cut)
                x_k = _firm(u_k, cut) if hard else _soft(u_k, cut)
                if last:
                    one_i, one_k = one_i + x_i, one_k + x_k
                    moment_i, moment_k = moment_i + atoms[j] * x_i, moment_k + atoms[j] * x_k
                    if j + 1 == n_d or j + 1 == n:
                        part = 0 if j < n_d else 2
                        sums[part, first + i], sums[part, first + k] = one_i, one_k
                        sums[part + 1, first + i], sums[part + 1, first + k] = moment_i, moment_k
                        one_i, one_k, moment_i, moment_k = ZERO, ZERO, ZERO, ZERO
                    if dense:
                        codes[j, first + i], codes[j, first + k] = x_i, x_k
                else:
                    x[j, i], x[j, k] = x_i, x_k
                    for m in range(n_b):
                        atom = phi[t + 1, j, m]
                        s_i[m] -= atom * x_i
                        s_k[m] -= atom * x_k
            for m in range(n_b):
                r_i[m], r_k[m] = s_i[m], s_k[m]

    return kernel


def run_units(launch: Launch, signals, w, phi, thresholds, atoms, n_d, hard, onto_input, sums, codes) -> None:
    """`kernels.unrolled.forward` for all voxels; all arrays, in its shapes, on the host."""
    kernel, n = units_kernel(signals.shape[1]), len(atoms)
    with on_device(launch):
        weights = [cuda.to_device(np.ascontiguousarray(a.swapaxes(1, 2), dtype=np.float32)) for a in (w, phi)]
        weights += [cuda.to_device(np.ascontiguousarray(a, dtype=np.float32)) for a in (thresholds, atoms)]

    dense = len(codes) > 0
    with on_device(launch):
        nothing = [] if dense else [cuda.device_array((1, 1), np.float32)]

    def work(stream, start, first, size, inputs, outputs, scratch):
        blocks = grid((size + 1) // 2, THREADS)
        kernel[blocks, THREADS, stream](
            first, size, *inputs, *weights, n_d, hard, onto_input, dense, *scratch, *outputs, *nothing
        )

    scratch = [((n,), np.float32), ((n if onto_input else 1,), np.float32)]
    outputs = [sums.T, codes.T] if dense else [sums.T]
    run_chunks(launch, len(signals), [np.ascontiguousarray(signals)], outputs, scratch, work, chunk=CHUNK)
