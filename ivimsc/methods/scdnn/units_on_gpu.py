"""The loop of an unrolled sparse-coding network on a GPU: `unrolled.forward`, two voxels per thread.

One pass over the atoms per unit: an atom's coefficient is updated from the residual, and what it explains is taken from
the residual of the next unit at once. So a coefficient is read and written once per unit, (atom, voxel), neighbouring
threads side by side; its weights, the same for all threads of a block, are loaded once for two voxels. Residuals lie in
registers, for which the number of inputs has to be known when the kernel is compiled.
"""

import functools
from typing import Any

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.methods.scdnn import units as unrolled

__all__ = ["units_kernel"]

ZERO = np.float32(0.0)
_soft, _firm = as_device(unrolled.soft), as_device(unrolled.firm)


@functools.cache
def units_kernel(rank: int) -> Any:
    """The kernel for `rank` inputs: ``kernel(first, z, order, begins, w, phi, thresholds, atoms, n_d, hard, onto_input, dense, x, u, sums, codes)``.

    A grid of (blocks, set): the voxels at the places begins[set] .. begins[set + 1] (set + 1,) of z (rank, place) have
    the weights of that set, w, phi (set, unit, atom, rank), thresholds (set, unit, atom). atoms (atom,): the
    diffusivities; x, u (atom, place): scratch, u (1, place) without `onto_input`. sums (4, place) is written and, with
    `dense`, codes (atom, voxel) for the voxels first + order (place,).
    """

    @cuda.jit
    def kernel(first, z, order, begins, w, phi, thresholds, atoms, n_d, hard, onto_input, dense, x, u, sums, codes):
        own = cuda.blockIdx.y
        low, size = begins[own], begins[own + 1] - begins[own]
        half = (size + 1) // 2
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i >= half:
            return
        k = low + (i + half if i + half < size else i)  # of an odd number, the last thread takes one voxel twice
        i += low
        r_i, r_k = cuda.local.array(rank, float32), cuda.local.array(rank, float32)
        s_i, s_k = cuda.local.array(rank, float32), cuda.local.array(rank, float32)
        for m in range(rank):
            r_i[m], r_k[m] = z[m, i], z[m, k]
        one_i, one_k, moment_i, moment_k = ZERO, ZERO, ZERO, ZERO
        units, n = thresholds.shape[1], thresholds.shape[2]
        for t in range(units):
            last = t + 1 == units
            for m in range(rank):
                s_i[m] = ZERO if onto_input else z[m, i]
                s_k[m] = ZERO if onto_input else z[m, k]
            for j in range(n):
                u_i, u_k = ZERO, ZERO
                for m in range(rank):
                    weight = w[own, t, j, m]
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
                cut = thresholds[own, t, j]
                x_i = _firm(u_i, cut) if hard else _soft(u_i, cut)
                x_k = _firm(u_k, cut) if hard else _soft(u_k, cut)
                if last:
                    one_i, one_k = one_i + x_i, one_k + x_k
                    moment_i, moment_k = moment_i + atoms[j] * x_i, moment_k + atoms[j] * x_k
                    if j + 1 == n_d or j + 1 == n:
                        part = 0 if j < n_d else 2
                        sums[part, i], sums[part, k] = one_i, one_k
                        sums[part + 1, i], sums[part + 1, k] = moment_i, moment_k
                        one_i, one_k, moment_i, moment_k = ZERO, ZERO, ZERO, ZERO
                    if dense:
                        codes[j, first + order[i]], codes[j, first + order[k]] = x_i, x_k
                else:
                    x[j, i], x[j, k] = x_i, x_k
                    for m in range(rank):
                        atom = phi[own, t + 1, j, m]
                        s_i[m] -= atom * x_i
                        s_k[m] -= atom * x_k
            for m in range(rank):
                r_i[m], r_k[m] = s_i[m], s_k[m]

    return kernel
