"""The units on a GPU, as `scdnn.units` has them on the CPU, with two voxels per thread.

A unit is one pass over the atoms: the coefficient of an atom is updated from the residual, and what it explains is taken
from the residual of the next unit at once. So a coefficient is read and written once per unit. Coefficients are
(atom, voxel), so that neighbouring threads read neighbouring numbers. The weights of an atom are the same for all threads
of a block, and are loaded once for two voxels. Residuals lie in registers, for which the number of inputs has to be known
when the kernel is compiled.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.numerics import thresholds as H

__all__ = ["Places", "Scratch", "units_kernel"]

ZERO = np.float32(0.0)
_soft, _hard = as_device(H.soft), as_device(H.hard)


class Places(NamedTuple):
    """The order in which voxels go through the units: those of one set of weights side by side.

    order (place,) int32: the voxel of a place; begins (set + 1,) int32: the first place of each set, and the end.
    """

    order: Any
    begins: Any


class Scratch(NamedTuple):
    """What threads keep between units, (atom, place) float32: coefficients x, and u; u (1, place) without `onto_input`."""

    x: Any
    u: Any


@functools.cache
def units_kernel(rank: int) -> Any:
    """The kernel for `rank` inputs: ``kernel(first, z, places, weights, scratch, sums, codes, dense)``.

    It is launched on a grid of (blocks, set).

    Parameters
    ----------
    first : the voxel of `codes` that is voxel 0 of `places.order`
    z : (input, place) float32
    places : `Places`
    weights : `units.Weights` with an axis of sets, and with w and phi (set, unit, atom, input)
    scratch : `Scratch`
    sums : (4, place) float32, written: Σx and Σgx of the tissue part, then of the perfusion part
    codes : (atom, voxel) float32, written with `dense`
    dense : the codes are wanted
    """

    @cuda.jit
    def kernel(first, z, places, weights, scratch, sums, codes, dense):
        order, begins, x, u = places.order, places.begins, scratch.x, scratch.u
        w, phi, thresholds, atoms, n_d = weights.w, weights.phi, weights.thresholds, weights.grid, weights.n_d
        hard, onto_input = weights.hard, weights.onto_input
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
                x_i = _hard(u_i, cut) if hard else _soft(u_i, cut)
                x_k = _hard(u_k, cut) if hard else _soft(u_k, cut)
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
