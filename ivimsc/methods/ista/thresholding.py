"""Iterated thresholding: x <- H(x + W_t (y - Φ_t x), λ_t), with a fixed dictionary; `unrolled` has one per unit.

With W = Φᵀ/L and λ = β/(2L), the soft threshold is ISTA for (5), and with momentum FISTA (Beck and Teboulle, SIAM J. Imaging
Sci. 2:183, 2009), restarted whenever the momentum points uphill (O'Donoghue and Candès, Found. Comput. Math. 15:715, 2015).
The hard threshold is the paper's (6) and (7), scaled by 1/L: it does not solve (5).

An iteration is Φ x and W r, 2 K N multiplications and as many additions; the N × N matrix I - WΦ of the paper's units
would take N² of each. W is held as its transpose (b, atom), so that both products run along the atoms.
"""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, KERNEL
from ivimsc.methods.ista.active_set import SUM_JIT
from ivimsc.methods.ista.duality import FLOOR, excess, scan
from ivimsc.numerics.scaling import scales

__all__ = ["encode_iterated", "proximal"]

CHECK = 10  # iterations from one duality gap to the next


@njit(**SUM_JIT)
def _residual(phi, x, y, r):
    """Put y - Φ x into r (b,)."""
    for m in range(len(y)):
        row = phi[m]
        total = x[0] * row[0]
        for j in range(1, len(x)):
            total += x[j] * row[j]
        r[m] = y[m] - total


@njit(**JIT)
def _threshold(u, threshold, level, hard, x):
    """Put H(u) into x: soft or one-sided hard threshold of u at threshold (atom,) · level."""
    if hard:
        for j in range(len(u)):
            x[j] = u[j] if u[j] >= threshold[j] * level and u[j] > 0 else u[j] * 0
    else:
        for j in range(len(u)):
            reduced = u[j] - threshold[j] * level
            x[j] = reduced if reduced > 0 else u[j] * 0


@njit(**JIT)
def _gap(phi, x, y, half_beta, lift, r, c, one):
    """Relative duality gap of x, as in `duality`, over all atoms; (gap, ||r||²)."""
    n = len(x)
    _residual(phi, x, y, r[0])
    scan(phi, 0, n, r, 0, c)
    delta = excess(c.view(np.int64), n, half_beta, one, one.view(np.int64))
    shrink = half_beta / (half_beta + delta) if half_beta > 0 else 0.0
    yy, rr, total, slack, scaled, lift2, lifted = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(n):
        total += x[j]
        slack += 2.0 * x[j] * (half_beta - c[j])
        scaled += 2.0 * x[j] * (half_beta - shrink * c[j])
    for m in range(len(y)):
        yy += y[m] * y[m]
        rr += r[0, m] * r[0, m]
        lift2 += lift[m] * lift[m]
        lifted += lift[m] * (y[m] - r[0, m])  # liftᵀ Φ x
    moved = delta * delta * lift2 + slack + 2.0 * delta * lifted
    scaled += (1.0 - shrink) ** 2 * rr
    gap = min(moved, scaled) if half_beta > 0 else moved
    return max(gap, 0.0) / max(rr + 2.0 * half_beta * total, FLOOR * yy), rr


@njit(**JIT)
def proximal(y, phi, w, threshold, level, kind, iterations, tolerance, half_beta, lift, x, rows, r, one):
    """Iterate on one signal until its gap (soft: kind 0, FISTA: 1) or its change (hard: 2) is within the tolerance.

    rows (3, atom), r (1, b), one (1,): scratch; x (atom,): written. Returns (gap, ||r||², iterations, done).
    """
    n = len(x)
    point, u, last = rows[0], rows[1], rows[2]
    x[:], point[:] = 0.0, 0.0
    momentum, count = 1.0, 0
    gap, rr = _gap(phi, x, y, half_beta, lift, r, u, one)
    while count < iterations:
        count += 1
        _residual(phi, point, y, r[0])
        scan(w, 0, n, r, 0, u)
        for j in range(n):
            u[j] += point[j]
            last[j] = x[j]
        _threshold(u, threshold, level, kind == 2, x)
        if kind == 1:
            uphill = 0.0
            for j in range(n):
                uphill += (point[j] - x[j]) * (x[j] - last[j])
            following = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * momentum * momentum)) if uphill <= 0 else 1.0
            factor = (momentum - 1.0) / following if uphill <= 0 else 0.0
            momentum = following
            for j in range(n):
                point[j] = x[j] + factor * (x[j] - last[j])
        else:
            for j in range(len(x)):
                point[j] = x[j]
        if kind == 2:
            change, size = 0.0, 0.0
            for j in range(n):
                change += abs(x[j] - last[j])
                size += x[j]
            if change <= tolerance * size / iterations:  # so that all the iterations left could not move x further
                gap, rr = _gap(phi, x, y, half_beta, lift, r, u, one)
                return gap, rr, count, True
        elif count % CHECK == 0:
            gap, rr = _gap(phi, x, y, half_beta, lift, r, u, one)
            if gap <= tolerance:
                return gap, rr, count, True
    gap, rr = _gap(phi, x, y, half_beta, lift, r, u, one)
    return gap, rr, count, kind != 2 and gap <= tolerance


@njit(**KERNEL)
def encode_iterated(start, stop, signals, problem, beta, relative, scale, x, gap, squares, turns, done):
    """Code the signals start..stop as `sparse_coding.encode_exact` does, into dense x (voxel, atom) float64.

    problem: (phi (b, atom), w (b, atom), threshold (atom,), lift (b,), kind, iterations, tolerance); threshold is that
    for β = 2, hard thresholds are taken as they are. done (voxel,) bool, written: ended before the iteration limit.
    """
    phi, w, threshold, lift, kind, iterations, tolerance = problem
    n = phi.shape[1]
    ys, r, rows, one = np.zeros((1, len(phi))), np.zeros((1, len(phi))), np.zeros((3, n)), np.empty(1)
    y = ys[0]
    scales(signals[start:stop], scale[start:stop])
    for v in range(start, stop):
        if scale[v] == 0:
            x[v], gap[v], squares[v], turns[v], done[v] = 0.0, np.nan, np.nan, 0, False
            continue
        for m in range(len(y)):
            y[m] = signals[v, m] * (1.0 / np.float64(scale[v]))
        half_beta = 0.5 * beta
        if relative:
            scan(phi, 0, n, ys, 0, rows[1])
            half_beta *= excess(rows[1].view(np.int64), n, 0.0, one, one.view(np.int64))
        level = 1.0 if kind == 2 else half_beta
        found = proximal(y, phi, w, threshold, level, kind, iterations, tolerance, half_beta, lift, x[v], rows, r, one)
        gap[v], squares[v], turns[v], done[v] = found
