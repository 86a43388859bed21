"""Iterated thresholding: x <- H(x + W_t (y - Φ_t x), λ_t), with a fixed dictionary; `unrolled` has one per unit.

With W = Φᵀ/L and λ = β/(2L), the soft threshold is ISTA for (5), and with momentum FISTA (Beck and Teboulle, SIAM J. Imaging
Sci. 2:183, 2009), restarted whenever the momentum points uphill (O'Donoghue and Candès, Found. Comput. Math. 15:715, 2015).
The hard threshold is the paper's (6) and (7), scaled by 1/L: it does not solve (5).

An iteration is Φ x and W r, 2 K N multiplications and as many additions; the N × N matrix I - WΦ of the paper's units
would take N² of each. W is held as its transpose (b, atom), so that both products run along the atoms.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.methods.ista.active_set import BARE_SUM_JIT
from ivimsc.methods.ista.duality import excess, over_cost, scan
from ivimsc.methods.ista.problem import Found
from ivimsc.numerics.scaling import scales
from ivimsc.numerics.thresholds import hard, soft

__all__ = ["FISTA", "HARD", "SOFT", "Plan", "Room", "encode_iterated", "make_room", "proximal"]

CHECK = 10  # iterations from one duality gap to the next
SOFT, FISTA, HARD = 0, 1, 2  # kinds of iteration


class Plan(NamedTuple):
    """What is iterated, the same for all voxels.

    phi (b, atom): Φ; w (b, atom): Wᵀ; threshold (atom,): λ for β = 2 where it is soft, and λ itself where it is hard;
    lift (b,): l of `duality`; kind: SOFT, FISTA or HARD; iterations: most of them; tolerance: largest relative gap (SOFT,
    FISTA), or largest relative change that the iterations left could still add up to (HARD).
    """

    phi: NDArray[np.float64]
    w: NDArray[np.float64]
    threshold: NDArray[np.float64]
    lift: NDArray[np.float64]
    kind: int
    iterations: int
    tolerance: float


class Room(NamedTuple):
    """Scratch for one voxel.

    point, u, last (atom,): where the step starts, H's argument (Φᵀr for a gap), the iterate before; r (1, b): residual;
    one (1,); u_bits, one_bits: the floats u and one as integers.
    """

    point: NDArray[np.float64]
    u: NDArray[np.float64]
    last: NDArray[np.float64]
    r: NDArray[np.float64]
    one: NDArray[np.float64]
    u_bits: NDArray[np.int64]
    one_bits: NDArray[np.int64]


@njit(**JIT)
def make_room(n_b, n):
    """Room for a signal of n_b values and a dictionary of n atoms."""
    u, one = np.zeros(n), np.zeros(1)
    return Room(np.zeros(n), u, np.zeros(n), np.zeros((1, n_b)), one, u.view(np.int64), one.view(np.int64))


@njit(**BARE_SUM_JIT)
def _residual(phi, x, y, r):
    """Put y - Φ x into r (b,)."""
    for m in range(len(y)):
        row = phi[m]
        total = x[0] * row[0]
        for j in range(1, len(x)):
            total += x[j] * row[j]
        r[m] = y[m] - total


@njit(**JIT)
def _threshold(u, threshold, level, kind, x):
    """Put H(u) into x (atom,): the threshold is threshold (atom,) · level."""
    if kind == HARD:
        for j in range(len(u)):
            x[j] = hard(u[j], threshold[j] * level)
    else:
        for j in range(len(u)):
            x[j] = soft(u[j], threshold[j] * level)


@njit(**JIT)
def _gap(plan, x, y, half_beta, room):
    """Relative duality gap of x, as in `duality`, over all atoms; (gap, ||r||²). Room's u and r are overwritten."""
    phi, lift, r, c, n = plan.phi, plan.lift, room.r, room.u, len(x)
    _residual(phi, x, y, r[0])
    scan(phi, 0, n, r, 0, c)
    delta = excess(room.u_bits, n, half_beta, room.one, room.one_bits)
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
    return over_cost(min(moved, scaled) if half_beta > 0 else moved, total, rr, half_beta, yy), rr


@njit(**JIT)
def proximal(y, plan, half_beta, x, room):
    """Iterate on one signal until its gap (SOFT, FISTA) or its change (HARD) is within the plan's tolerance.

    Parameters
    ----------
    y : (b,) float64, signal
    plan : Plan
    half_beta : β/2
    x : (atom,) float64, written
    room : Room, overwritten

    Returns
    -------
    Found
    """
    w, threshold, kind, iterations, tolerance = plan.w, plan.threshold, plan.kind, plan.iterations, plan.tolerance
    phi, point, u, last, r, n = plan.phi, room.point, room.u, room.last, room.r, len(x)
    level = 1.0 if kind == HARD else half_beta
    x[:], point[:] = 0.0, 0.0
    momentum, count = 1.0, 0
    gap, rr = _gap(plan, x, y, half_beta, room)
    while count < iterations:
        count += 1
        _residual(phi, point, y, r[0])
        scan(w, 0, n, r, 0, u)
        for j in range(n):
            u[j] += point[j]
            last[j] = x[j]
        _threshold(u, threshold, level, kind, x)
        if kind == FISTA:
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
        if kind == HARD:
            change, size = 0.0, 0.0
            for j in range(n):
                change += abs(x[j] - last[j])
                size += x[j]
            if change <= tolerance * size / iterations:  # so that all the iterations left could not move x further
                gap, rr = _gap(plan, x, y, half_beta, room)
                return Found(gap, rr, count, True)
        elif count % CHECK == 0:
            gap, rr = _gap(plan, x, y, half_beta, room)
            if gap <= tolerance:
                return Found(gap, rr, count, True)
    gap, rr = _gap(plan, x, y, half_beta, room)
    return Found(gap, rr, count, kind != HARD and gap <= tolerance)


@njit(**KERNEL)
def encode_iterated(start, stop, signals, plan, penalty, x, endings):
    """Code the signals start..stop as `sparse_coding.encode_exact` does, into dense x (voxel, atom) float64.

    Parameters
    ----------
    signals : (voxel, b) float32, in any unit
    plan : Plan
    penalty : Penalty
    x : (voxel, atom) float64, written, in units of the scaled signal
    endings : Endings, written
    """
    phi = plan.phi
    scale, gap, squares, turns, done = endings.scale, endings.gap, endings.squares, endings.turns, endings.done
    n_b, n = phi.shape
    ys, room = np.zeros((1, n_b)), make_room(n_b, n)
    y = ys[0]
    scales(signals[start:stop], scale[start:stop])
    for v in range(start, stop):
        if scale[v] == 0:
            x[v], gap[v], squares[v], turns[v], done[v] = 0.0, np.nan, np.nan, 0, False
            continue
        for m in range(n_b):
            y[m] = signals[v, m] * (1.0 / np.float64(scale[v]))
        half_beta = 0.5 * penalty.beta
        if penalty.relative:
            scan(phi, 0, n, ys, 0, room.u)
            half_beta *= excess(room.u_bits, n, 0.0, room.one, room.one_bits)
        found = proximal(y, plan, half_beta, x[v], room)
        gap[v], squares[v], turns[v], done[v] = found.gap, found.squares, found.turns, found.done
