"""The loop of an unrolled sparse-coding network, forwards and backwards, 64 voxels side by side.

Unit 0 is x = H(W_0 y, λ_0); unit t is x <- H(x + W_t (y - Φ_t x), λ_t), the factored form of the paper's (6): its layer
B is I - W_t Φ_t. After the last unit the code x is summed to what (8) to (10) need. Per voxel, unit and direction that
is 2 K N multiplications and additions, where the N × N layer takes N².

Voxels lie in lanes: every weight is loaded once for 64 of them, and the residual of all b-values stays in the first
cache. Atoms are taken by twos and fours, so that an inner loop has work enough; their number is even. `backward` goes
forwards again first, then down the units.
"""

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, KERNEL

__all__ = ["WIDTH", "backward", "firm", "forward", "soft"]

WIDTH = 128
# reassoc: sums over lanes become vector sums. They are short, and always the same ones.
SUMS = {**JIT, "fastmath": {"contract", "nsz", "arcp", "reassoc"}}
ZERO = np.float32(0.0)


@njit(**JIT)
def _fill(start, stop, signals, y):
    """Signals (voxel, b) of start..stop into y (b, lane); the lanes left over get the last voxel again."""
    for m in range(y.shape[0]):
        for l in range(WIDTH):
            y[m, l] = signals[min(start + l, stop - 1), m]


@njit(**JIT)
def _copy(source, target):
    """Target = source, both (b, lane): an assignment of arrays compiles for 3 s, for the words of its error alone."""
    for m in range(target.shape[0]):
        for l in range(WIDTH):
            target[m, l] = source[m, l]


@njit(**SUMS)
def soft(u, cut):
    """The soft threshold."""
    return max(u - cut, ZERO)


@njit(**SUMS)
def firm(u, cut):
    """The one-sided hard threshold."""
    return u if u >= cut and u > ZERO else ZERO


@njit(**SUMS)
def _unit(w, threshold, hard, residual, base, u, x):
    """U = base + W residual and x = H(u): w (b, atom), residual (b, lane), base, u, x (atom, lane)."""
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
        cut, cuti = threshold[j], threshold[i]
        if hard:
            for l in range(WIDTH):
                x[j, l], x[i, l] = firm(u[j, l], cut), firm(u[i, l], cuti)
        else:
            for l in range(WIDTH):
                x[j, l], x[i, l] = soft(u[j, l], cut), soft(u[i, l], cuti)


@njit(**SUMS)
def _subtract(phi, x, residual):
    """Residual -= Φ x: phi (b, atom), x (atom, lane), residual (b, lane)."""
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


@njit(**SUMS)
def _sums(x, grid, n_d, total):
    """Σ x, Σ g x over the tissue part, then over the perfusion part, into total (4, lane)."""
    total[:] = ZERO
    for j in range(len(x)):
        part = 0 if j < n_d else 2
        one, moment, code, g = total[part], total[part + 1], x[j], grid[j]
        for l in range(WIDTH):
            one[l] += code[l]
            moment[l] += g * code[l]


@njit(**KERNEL)
def forward(start, stop, signals, w, phi, thresholds, grid, n_d, hard, onto_input, sums, codes):
    """Run the units on the blocks start..stop of `WIDTH` voxels.

    signals (voxel, b); w, phi (unit, b, atom), phi[0] is not used; thresholds (unit, atom); grid (atom,): the
    diffusivities, n_d of them D; hard: kind of threshold; onto_input: the residual connection adds the unit's input
    instead of W y (PAPER.md, section 5); sums (voxel, 4): written, Σx and Σgx of tissue and of perfusion part; codes
    (voxel, atom) or (0, atom): written where there is room. All float32.
    """
    units, n_b, n = w.shape
    y, nothing, r = (
        np.empty((n_b, WIDTH), np.float32),
        np.zeros((n_b, WIDTH), np.float32),
        np.empty((n_b, WIDTH), np.float32),
    )
    x, u, total = np.zeros((n, WIDTH), np.float32), np.zeros((n, WIDTH), np.float32), np.empty((4, WIDTH), np.float32)
    zero = np.zeros((n, WIDTH), np.float32)
    for block in range(start, stop):
        first, last = block * WIDTH, min((block + 1) * WIDTH, len(signals))
        _fill(first, last, signals, y)
        _unit(w[0], thresholds[0], hard, y, zero, u, x)
        for t in range(1, units):
            _copy(nothing if onto_input else y, r)
            _subtract(phi[t], x, r)
            if onto_input:
                for j in range(n):
                    for l in range(WIDTH):
                        x[j, l] += u[j, l]
            _unit(w[t], thresholds[t], hard, r, x, u, x)
        _sums(x, grid, n_d, total)
        for v in range(first, last):
            for i in range(4):
                sums[v, i] = total[i, v - first]
            if len(codes) > 0:
                for j in range(n):
                    codes[v, j] = x[j, v - first]


@njit(**SUMS)
def _weights_slope(slope, residual, result):
    """Result (b, atom) += Σ over lanes of residual (b, lane) · slope (atom, lane)."""
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


@njit(**SUMS)
def _through_threshold(x, slope, result):
    """Slope (atom, lane) stays where x > 0; result (atom,) -= its sum over lanes: the slope in the threshold.

    A soft threshold's; the hard one moves no output when its threshold moves, and learns by the soft one's.
    """
    for j in range(len(x)):
        total = ZERO
        for l in range(WIDTH):
            slope[j, l] = slope[j, l] if x[j, l] > ZERO else ZERO
            total += slope[j, l]
        result[j] -= total


@njit(**KERNEL)
def backward(start, stop, signals, w, phi, thresholds, grid, n_d, hard, sums_slope, w_slope, phi_slope, cut_slope, grid_slope):  # fmt: skip
    """The slopes of a loss in the weights, for the blocks start..stop of `forward` (residual connection onto W y).

    sums_slope (voxel, 4): the loss's slope in `sums`; w_slope, phi_slope (block, unit, b, atom), cut_slope (block, unit,
    atom), grid_slope (block, atom): written, each block's share, to be summed over blocks. All float32.
    """
    units, n_b, n = w.shape
    codes, rests = np.empty((units, n, WIDTH), np.float32), np.empty((units, n_b, WIDTH), np.float32)
    u, slope, zero = (
        np.zeros((n, WIDTH), np.float32),
        np.zeros((n, WIDTH), np.float32),
        np.zeros((n, WIDTH), np.float32),
    )
    down, top = np.zeros((n_b, WIDTH), np.float32), np.zeros((4, WIDTH), np.float32)
    for block in range(start, stop):
        first, last = block * WIDTH, min((block + 1) * WIDTH, len(signals))
        _fill(first, last, signals, rests[0])
        _unit(w[0], thresholds[0], hard, rests[0], zero, u, codes[0])
        for t in range(1, units):
            _copy(rests[0], rests[t])
            _subtract(phi[t], codes[t - 1], rests[t])
            _unit(w[t], thresholds[t], hard, rests[t], codes[t - 1], u, codes[t])
        w_slope[block], phi_slope[block], cut_slope[block], grid_slope[block] = ZERO, ZERO, ZERO, ZERO
        top[:] = ZERO
        for v in range(first, last):
            for i in range(4):
                top[i, v - first] = sums_slope[v, i]
        for j in range(n):
            part, total = 0 if j < n_d else 2, ZERO
            for l in range(WIDTH):
                slope[j, l] = top[part, l] + grid[j] * top[part + 1, l]
                total += codes[units - 1, j, l] * top[part + 1, l]
            grid_slope[block, j] = total
        for t in range(units - 1, -1, -1):
            _through_threshold(codes[t], slope, cut_slope[block, t])
            _weights_slope(slope, rests[t], w_slope[block, t])
            if t > 0:
                down[:] = ZERO
                _subtract(w[t], slope, down)  # minus the slope in the residual, so plus that in Φ x
                _weights_slope(codes[t - 1], down, phi_slope[block, t])
                _add_product(phi[t], down, slope)


@njit(**SUMS)
def _add_product(phi, down, slope):
    """Slope (atom, lane) += Φᵀ down: phi (b, atom), down (b, lane)."""
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


@njit(**KERNEL)
def forward_sets(start, stop, signals, w, phi, thresholds, grid, n_d, sums):
    """`forward` for the sets start..stop of `WIDTH` voxels, each with weights of its own: all arrays with a first axis more."""
    none = np.empty((0, w.shape[3]), np.float32)
    for s in range(start, stop):
        forward(0, 1, signals[s], w[s], phi[s], thresholds[s], grid, n_d, False, False, sums[s], none)


@njit(**KERNEL)
def backward_sets(start, stop, signals, w, phi, thresholds, grid, n_d, sums_slope, w_slope, phi_slope, cut_slope):
    """`backward` for the sets start..stop, each with weights of its own; w_slope, phi_slope, cut_slope (set, …): written."""
    unused = np.empty((1, w.shape[3]), np.float32)
    for s in range(start, stop):
        each = s + 1
        backward(0, 1, signals[s], w[s], phi[s], thresholds[s], grid, n_d, False, sums_slope[s], w_slope[s:each], phi_slope[s:each], cut_slope[s:each], unused)  # fmt: skip
