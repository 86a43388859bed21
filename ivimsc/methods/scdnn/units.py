"""The units of a sparse-coding network on the CPU: what they compute, with 128 voxels side by side.

A network is a fixed number of units. Unit 0 is x = H(W_0 y, λ_0). Unit t is x <- H(x + W_t (y - Φ_t x), λ_t): equation
(6) of the paper in factored form, whose layer B is I - W_t Φ_t. After the last unit, the code x is summed to the four
numbers that equations (8) to (10) need. With K inputs and N atoms, a voxel costs 2 K N multiplications per unit; a layer
of N × N numbers would cost N².

The voxels of a block lie in lanes: the last axis of every array is one of `WIDTH` voxels. A weight is thus loaded once
for all of them, and the residuals of all inputs stay in the first cache. Atoms are taken by twos and inputs by fours, so
that an inner loop has enough to do. The number of atoms is even. The way back, for training, is in `slopes`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL, SUM_JIT
from ivimsc.numerics.thresholds import hard as hard_threshold
from ivimsc.numerics.thresholds import soft as soft_threshold

__all__ = ["WIDTH", "Weights", "blocks_of", "forward", "forward_sets", "sum_parts"]

WIDTH = 128  # voxels of a block
ZERO = np.float32(0.0)


class Weights(NamedTuple):
    """The weights of a network's units, all float32.

    Attributes
    ----------
    w : (unit, input, atom) W_t
    phi : (unit, input, atom) Φ_t; phi[0] is not used
    thresholds : (unit, atom) λ_t
    grid : (atom,) diffusivities [µm²/ms]: those of the tissue part, then those of the perfusion part
    n_d : number of atoms in the tissue part
    hard : H is the hard threshold; otherwise the soft one
    onto_input : the residual connection adds the input of the unit before instead of W_t y (docs/learning.md)

    Where every set of voxels has weights of its own, w, phi and thresholds have one axis more, which comes first.
    """

    w: NDArray[np.float32]
    phi: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    grid: NDArray[np.float32]
    n_d: int
    hard: bool
    onto_input: bool


class _Memory(NamedTuple):
    """Working memory for one block: y and residual (input, lane), x, u and zero (atom, lane), total (4, lane)."""

    y: NDArray[np.float32]
    residual: NDArray[np.float32]
    x: NDArray[np.float32]
    u: NDArray[np.float32]
    zero: NDArray[np.float32]
    total: NDArray[np.float32]


def blocks_of(n: int) -> int:
    """The number of blocks that `n` voxels take."""
    return -(-n // WIDTH)


@njit(**KERNEL)
def forward(start, stop, signals, weights, sums, codes):
    """Run the units on the blocks start..stop of `WIDTH` voxels.

    Parameters
    ----------
    start, stop : first block, and the one after the last
    signals : (voxel, input) float32
    weights : `Weights`
    sums : (voxel, 4) float32, written: Σx and Σgx of the tissue part, then of the perfusion part
    codes : (voxel, atom) float32, written; or (0, atom), where codes are not wanted
    """
    memory = _reserve(weights.w.shape[1], weights.w.shape[2])
    for block in range(start, stop):
        first, last = block * WIDTH, min((block + 1) * WIDTH, len(signals))
        _run(signals[first:last], weights, memory)
        _write(memory.total, sums[first:last])
        if len(codes) > 0:
            _write(memory.x, codes[first:last])


@njit(**KERNEL)
def forward_sets(start, stop, signals, weights, sums):
    """As `forward`, for the sets start..stop of `WIDTH` voxels each, with weights of their own and soft thresholds.

    Parameters
    ----------
    start, stop : first set, and the one after the last
    signals : (set, voxel, input) float32
    weights : `Weights` with an axis of sets
    sums : (set, voxel, 4) float32, written
    """
    memory = _reserve(weights.w.shape[2], weights.w.shape[3])
    for s in range(start, stop):
        own = Weights(weights.w[s], weights.phi[s], weights.thresholds[s], weights.grid, weights.n_d, False, False)
        _run(signals[s], own, memory)
        _write(memory.total, sums[s])


@njit(**JIT)
def _reserve(n_b, n):
    """Working memory for `n_b` inputs and `n` atoms."""
    y, residual = np.empty((n_b, WIDTH), np.float32), np.empty((n_b, WIDTH), np.float32)
    x, u = np.zeros((n, WIDTH), np.float32), np.zeros((n, WIDTH), np.float32)
    return _Memory(y, residual, x, u, np.zeros((n, WIDTH), np.float32), np.empty((4, WIDTH), np.float32))


@njit(**JIT)
def _run(signals, weights, memory):
    """The code and its sums, memory.x and memory.total, of a block's signals (voxel, input)."""
    w, phi, thresholds, hard = weights.w, weights.phi, weights.thresholds, weights.hard
    y, residual, x, u = memory.y, memory.residual, memory.x, memory.u
    fill(signals, y)
    unit(w[0], thresholds[0], hard, y, memory.zero, u, x)
    for t in range(1, len(w)):
        if weights.onto_input:
            residual[:] = ZERO
        else:
            copy(y, residual)
        subtract_product(phi[t], x, residual)
        if weights.onto_input:
            _add(u, x)
        unit(w[t], thresholds[t], hard, residual, x, u, x)
    sum_parts(x, weights.grid, weights.n_d, memory.total)


@njit(**JIT)
def fill(signals, y):
    """Put signals (voxel, input) into y (input, lane); lanes that are left over get the last voxel again."""
    last = len(signals) - 1
    for m in range(y.shape[0]):
        for l in range(WIDTH):
            y[m, l] = signals[min(l, last), m]


@njit(**JIT)
def copy(source, target):
    """Copy (row, lane) arrays in a loop: an assignment of arrays takes 3 s to compile, for its error message alone."""
    for m in range(target.shape[0]):
        for l in range(WIDTH):
            target[m, l] = source[m, l]


@njit(**JIT)
def _add(source, target):
    """Add `source` to `target`, both (row, lane)."""
    for j in range(target.shape[0]):
        for l in range(WIDTH):
            target[j, l] += source[j, l]


@njit(**JIT)
def _write(values, rows):
    """Put values (column, lane) into rows (voxel, column); lanes without a voxel are left out."""
    for v in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            rows[v, j] = values[j, v]


@njit(**SUM_JIT)
def unit(w, thresholds, hard, residual, base, u, x):
    """One unit: u = base + Wᵀ residual and x = H(u); w (input, atom), residual (input, lane), base, u, x (atom, lane)."""
    n_b, n = w.shape
    for j in range(0, n - 1, 2):
        i = j + 1
        for l in range(WIDTH):
            u[j, l] = base[j, l]
            u[i, l] = base[i, l]
        m = 0
        while m + 4 <= n_b:
            w0, w1, w2, w3 = w[m, j], w[m + 1, j], w[m + 2, j], w[m + 3, j]
            v0, v1, v2, v3 = w[m, i], w[m + 1, i], w[m + 2, i], w[m + 3, i]
            for l in range(WIDTH):
                r0, r1, r2, r3 = residual[m, l], residual[m + 1, l], residual[m + 2, l], residual[m + 3, l]
                u[j, l] += w0 * r0 + w1 * r1 + w2 * r2 + w3 * r3
                u[i, l] += v0 * r0 + v1 * r1 + v2 * r2 + v3 * r3
            m += 4
        while m < n_b:
            w0, v0 = w[m, j], w[m, i]
            for l in range(WIDTH):
                u[j, l] += w0 * residual[m, l]
                u[i, l] += v0 * residual[m, l]
            m += 1
        cut, next_cut = thresholds[j], thresholds[i]
        if hard:
            for l in range(WIDTH):
                x[j, l], x[i, l] = hard_threshold(u[j, l], cut), hard_threshold(u[i, l], next_cut)
        else:
            for l in range(WIDTH):
                x[j, l], x[i, l] = soft_threshold(u[j, l], cut), soft_threshold(u[i, l], next_cut)


@njit(**SUM_JIT)
def subtract_product(phi, x, residual):
    """Take Φ x from the residual: phi (input, atom), x (atom, lane), residual (input, lane)."""
    n_b, n = phi.shape
    for j in range(0, n - 1, 2):
        i = j + 1
        m = 0
        while m + 2 <= n_b:
            w0, w1, v0, v1 = phi[m, j], phi[m, i], phi[m + 1, j], phi[m + 1, i]
            for l in range(WIDTH):
                residual[m, l] -= w0 * x[j, l] + w1 * x[i, l]
                residual[m + 1, l] -= v0 * x[j, l] + v1 * x[i, l]
            m += 2
        if m < n_b:
            w0, w1 = phi[m, j], phi[m, i]
            for l in range(WIDTH):
                residual[m, l] -= w0 * x[j, l] + w1 * x[i, l]


@njit(**SUM_JIT)
def sum_parts(x, grid, n_d, total):
    """Σ x and Σ g x over the tissue part, then over the perfusion part, into total (4, lane)."""
    total[:] = ZERO
    for j in range(len(x)):
        part = 0 if j < n_d else 2
        one, moment, code, g = total[part], total[part + 1], x[j], grid[j]
        for l in range(WIDTH):
            one[l] += code[l]
            moment[l] += g * code[l]
