"""The way back through the units of `units`: the slopes of a loss in the weights, for training on the CPU.

A block goes forwards once more, keeping the code and the residual of every unit, and then down the units. Soft
thresholds pass a slope on where x > 0. A hard threshold moves no output when it moves itself, so that it learns by the
slope of the soft one. The residual connection is the one onto W_t y.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL, SUM_JIT
from ivimsc.methods.scdnn.units import WIDTH, ZERO, Weights, copy, fill, subtract_product, sum_parts, unit

__all__ = ["Slopes", "backward", "backward_sets", "learn_kernel"]

SMALL = np.float32(1e-12)  # keeps the quotients of (8) to (10) finite where a part is empty


class Slopes(NamedTuple):
    """The slopes of a loss in `units.Weights`: one share for each block of voxels, or for each set; all float32.

    Attributes
    ----------
    w, phi : (block, unit, input, atom)
    thresholds : (block, unit, atom)
    grid : (block, atom)
    """

    w: NDArray[np.float32]
    phi: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    grid: NDArray[np.float32]


class _Memory(NamedTuple):
    """Working memory for one block.

    codes (unit, atom, lane) and residuals (unit, input, lane): of every unit, the signals being residuals[0]; u, slope
    and zero (atom, lane); down (input, lane): the slope in Φ x; top (4, lane): the slope in the sums.
    """

    codes: NDArray[np.float32]
    residuals: NDArray[np.float32]
    u: NDArray[np.float32]
    slope: NDArray[np.float32]
    zero: NDArray[np.float32]
    down: NDArray[np.float32]
    top: NDArray[np.float32]


@njit(**KERNEL)
def backward(start, stop, signals, weights, sums_slope, slopes):
    """The slopes of a loss in the weights, for the blocks start..stop of `units.forward`.

    Parameters
    ----------
    start, stop : first block, and the one after the last
    signals : (voxel, input) float32
    weights : `units.Weights`, with `onto_input` false
    sums_slope : (voxel, 4) float32, the slope of the loss in `sums`
    slopes : `Slopes`, written: the share of each block, to be summed over the blocks
    """
    memory = _reserve(*weights.w.shape)
    for block in range(start, stop):
        first, last = block * WIDTH, min((block + 1) * WIDTH, len(signals))
        _go_forwards(signals[first:last], weights, memory)
        _go_back(sums_slope[first:last], weights, _share(slopes, block), memory)


@njit(**KERNEL)
def backward_sets(start, stop, signals, weights, sums_slope, slopes):
    """As `backward`, for the sets start..stop of `WIDTH` voxels each, with weights of their own and soft thresholds.

    Parameters
    ----------
    start, stop : first set, and the one after the last
    signals : (set, voxel, input) float32
    weights : `units.Weights` with an axis of sets
    sums_slope : (set, voxel, 4) float32
    slopes : `Slopes`, written: those of each set
    """
    memory = _reserve(*weights.w.shape[1:])
    for s in range(start, stop):
        own = Weights(weights.w[s], weights.phi[s], weights.thresholds[s], weights.grid, weights.n_d, False, False)
        _go_forwards(signals[s], own, memory)
        _go_back(sums_slope[s], own, _share(slopes, s), memory)


@njit(**KERNEL)
def learn_kernel(start, stop, inputs, truth, factor, weights, outputs, slopes):
    """What the network gives, and the slopes of Σ factor (output - truth)² / 2 in the weights, for the blocks start..stop.

    Parameters
    ----------
    start, stop : first block, and the one after the last
    inputs : (voxel, input) float32
    truth : (voxel, 4) float32, S0 over its linear estimate, f, D, D* [µm²/ms]
    factor : (4,) float32
    weights : `units.Weights`, with `onto_input` false
    outputs : (voxel, 4) float32, written
    slopes : `Slopes`, written: the share of each block, to be summed over the blocks
    """
    memory, total = _reserve(*weights.w.shape), np.empty((4, WIDTH), np.float32)
    sums_slope = np.empty((WIDTH, 4), np.float32)
    for block in range(start, stop):
        first, last = block * WIDTH, min((block + 1) * WIDTH, len(inputs))
        _go_forwards(inputs[first:last], weights, memory)
        sum_parts(memory.codes[len(weights.w) - 1], weights.grid, weights.n_d, total)
        for v in range(last - first):
            _through_outputs(total, v, truth[first + v], factor, outputs[first + v], sums_slope[v])
        _go_back(sums_slope[: last - first], weights, _share(slopes, block), memory)


@njit(**JIT)
def _through_outputs(total, v, truth, factor, outputs, slope):
    """S0, f, D, D* (4,) of lane `v` of the sums total (4, lane) into outputs, and the slope of the loss in the sums (4,)."""
    tissue, d, blood, dstar = total[0, v], total[1, v], total[2, v], total[3, v]
    s0, some_tissue, some_blood = max(tissue + blood, SMALL), max(tissue, SMALL), max(blood, SMALL)
    outputs[0], outputs[1], outputs[2], outputs[3] = s0, blood / s0, d / some_tissue, dstar / some_blood
    g0, g1 = factor[0] * (outputs[0] - truth[0]), factor[1] * (outputs[1] - truth[1])
    g2, g3 = factor[2] * (outputs[2] - truth[2]), factor[3] * (outputs[3] - truth[3])
    slope[0] = g0 - g1 * blood / (s0 * s0) - g2 * outputs[2] / some_tissue
    slope[1] = g2 / some_tissue
    slope[2] = g0 + g1 * tissue / (s0 * s0) - g3 * outputs[3] / some_blood
    slope[3] = g3 / some_blood


@njit(**JIT)
def _reserve(units, n_b, n):
    """Working memory for so many units, inputs and atoms."""
    codes, residuals = np.empty((units, n, WIDTH), np.float32), np.empty((units, n_b, WIDTH), np.float32)
    u, slope, zero = (
        np.zeros((n, WIDTH), np.float32),
        np.zeros((n, WIDTH), np.float32),
        np.zeros((n, WIDTH), np.float32),
    )
    down, top = np.zeros((n_b, WIDTH), np.float32), np.zeros((4, WIDTH), np.float32)
    return _Memory(codes, residuals, u, slope, zero, down, top)


@njit(**JIT)
def _share(slopes, k):
    """The share of block or set `k`, all zero."""
    own = Slopes(slopes.w[k], slopes.phi[k], slopes.thresholds[k], slopes.grid[k])
    own.w[:], own.phi[:], own.thresholds[:], own.grid[:] = ZERO, ZERO, ZERO, ZERO
    return own


@njit(**JIT)
def _go_forwards(signals, weights, memory):
    """The units, as in `units`; codes and residuals are kept."""
    w, phi, thresholds, hard = weights.w, weights.phi, weights.thresholds, weights.hard
    codes, residuals = memory.codes, memory.residuals
    fill(signals, residuals[0])
    unit(w[0], thresholds[0], hard, residuals[0], memory.zero, memory.u, codes[0])
    for t in range(1, len(w)):
        copy(residuals[0], residuals[t])
        subtract_product(phi[t], codes[t - 1], residuals[t])
        unit(w[t], thresholds[t], hard, residuals[t], codes[t - 1], memory.u, codes[t])


@njit(**JIT)
def _go_back(sums_slope, weights, share, memory):
    """The slopes of one block, from the last unit down to the first, added to `share`."""
    w, phi, slope, down = weights.w, weights.phi, memory.slope, memory.down
    _through_sums(sums_slope, weights, share.grid, memory)
    for t in range(len(w) - 1, -1, -1):
        _through_threshold(memory.codes[t], slope, share.thresholds[t])
        _add_outer_product(slope, memory.residuals[t], share.w[t])
        if t > 0:
            down[:] = ZERO
            subtract_product(w[t], slope, down)  # minus the slope in the residual, so plus that in Φ x
            _add_outer_product(memory.codes[t - 1], down, share.phi[t])
            _add_product(phi[t], down, slope)


@njit(**JIT)
def _through_sums(sums_slope, weights, grid_slope, memory):
    """From the slope in the sums (voxel, 4) to that in the code, memory.slope, and that in the grid (atom,)."""
    grid, top, slope, code = weights.grid, memory.top, memory.slope, memory.codes[len(weights.w) - 1]
    top[:] = ZERO
    for v in range(sums_slope.shape[0]):
        for i in range(4):
            top[i, v] = sums_slope[v, i]
    for j in range(len(slope)):
        part, total = 0 if j < weights.n_d else 2, ZERO
        for l in range(WIDTH):
            slope[j, l] = top[part, l] + grid[j] * top[part + 1, l]
            total += code[j, l] * top[part + 1, l]
        grid_slope[j] = total


@njit(**SUM_JIT)
def _through_threshold(x, slope, thresholds_slope):
    """Keep the slope (atom, lane) where x > 0, and take its sum over the lanes from `thresholds_slope` (atom,)."""
    for j in range(len(x)):
        total = ZERO
        for l in range(WIDTH):
            slope[j, l] = slope[j, l] if x[j, l] > ZERO else ZERO
            total += slope[j, l]
        thresholds_slope[j] -= total


@njit(**SUM_JIT)
def _add_outer_product(slope, residual, result):
    """Add the sum over lanes of residual (input, lane) times slope (atom, lane) to result (input, atom)."""
    n_b, n = result.shape
    for j in range(0, n - 1, 2):
        i = j + 1
        m = 0
        while m + 2 <= n_b:
            a0, a1, c0, c1 = ZERO, ZERO, ZERO, ZERO
            for l in range(WIDTH):
                a0 += slope[j, l] * residual[m, l]
                a1 += slope[i, l] * residual[m, l]
                c0 += slope[j, l] * residual[m + 1, l]
                c1 += slope[i, l] * residual[m + 1, l]
            result[m, j] += a0
            result[m, i] += a1
            result[m + 1, j] += c0
            result[m + 1, i] += c1
            m += 2
        if m < n_b:
            a0, a1 = ZERO, ZERO
            for l in range(WIDTH):
                a0 += slope[j, l] * residual[m, l]
                a1 += slope[i, l] * residual[m, l]
            result[m, j] += a0
            result[m, i] += a1


@njit(**SUM_JIT)
def _add_product(phi, down, slope):
    """Add Φᵀ down to the slope: phi (input, atom), down (input, lane), slope (atom, lane)."""
    n_b, n = phi.shape
    for j in range(0, n - 1, 2):
        i = j + 1
        m = 0
        while m + 2 <= n_b:
            w0, w1, v0, v1 = phi[m, j], phi[m + 1, j], phi[m, i], phi[m + 1, i]
            for l in range(WIDTH):
                slope[j, l] += w0 * down[m, l] + w1 * down[m + 1, l]
                slope[i, l] += v0 * down[m, l] + v1 * down[m + 1, l]
            m += 2
        if m < n_b:
            w0, v0 = phi[m, j], phi[m, i]
            for l in range(WIDTH):
                slope[j, l] += w0 * down[m, l]
                slope[i, l] += v0 * down[m, l]
