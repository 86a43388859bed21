"""Small sums over weighted points: the parts of `posterior` that know nothing of signals."""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import exp32
from ivimsc.numerics.random_numbers import uniforms

__all__ = [
    "add_moments",
    "cholesky",
    "moments",
    "place",
    "settle_moments",
    "shift",
    "top",
    "weigh",
    "weight",
    "weighted",
]

ZERO, ONE = np.float32(0), np.float32(1)
SUM = {**LANE_JIT, "fastmath": {"contract", "nsz", "arcp", "reassoc"}}  # weights are all >= 0: any order will do
STREAM = 7  # of the random numbers that shift the points


@njit(**SUM)
def top(x):
    """The largest value and its place, the first of several; 64 maxima side by side, of which the compiler makes vectors."""
    lanes = np.full(64, x[0], np.float32)
    whole = len(x) - len(x) % 64
    for start in range(0, whole, 64):
        part = x[start : start + 64]
        for lane in range(64):
            lanes[lane] = part[lane] if part[lane] > lanes[lane] else lanes[lane]
    highest = x[0]
    for lane in range(64):
        highest = max(highest, lanes[lane])
    for m in range(whole, len(x)):
        highest = max(highest, x[m])
    for m in range(len(x)):
        if x[m] == highest:
            return highest, m
    return highest, 0


@njit(**SUM)
def weight(log_w, highest, exponent):
    """Weight of a point, tempered by `exponent`."""
    return exp32(exponent * (log_w - highest))


@njit(**SUM)
def weigh(log_w, highest, exponent, w):
    """Weights w = exp(exponent (log_w - highest)); returns Σ w and the effective sample size (Σ w)² / Σ w²."""
    total, squares = ZERO, ZERO
    for m in range(len(w)):
        w[m] = weight(log_w[m], highest, exponent)
        total += w[m]
        squares += w[m] * w[m]
    return total, total * total / squares


@njit(**SUM)
def add_moments(sums, w, d0, d1, d2):
    """Add a point of weight w at (d0, d1, d2) to the nine sums of w d and of w d dᵀ (upper triangle, by columns)."""
    a0, a1, a2, a00, a01, a11, a02, a12, a22 = sums
    w0, w1, w2 = w * d0, w * d1, w * d2
    return (
        a0 + w0, a1 + w1, a2 + w2,
        a00 + w0 * d0, a01 + w0 * d1, a11 + w1 * d1, a02 + w0 * d2, a12 + w1 * d2, a22 + w2 * d2,
    )  # fmt: skip


@njit(**JIT)
def settle_moments(sums, total, c0, c1, c2, mean, covariance):
    """Weighted mean (3,) and covariance (3, 3), its upper triangle, from the sums about (c0, c1, c2)."""
    a0, a1, a2 = sums[0] / total, sums[1] / total, sums[2] / total
    mean[0], mean[1], mean[2] = c0 + a0, c1 + a1, c2 + a2
    covariance[0, 0], covariance[0, 1] = sums[3] / total - a0 * a0, sums[4] / total - a0 * a1
    covariance[1, 1], covariance[0, 2] = sums[5] / total - a1 * a1, sums[6] / total - a0 * a2
    covariance[1, 2], covariance[2, 2] = sums[7] / total - a1 * a2, sums[8] / total - a2 * a2


@njit(**SUM)
def moments(w, total, x, at, mean, covariance):
    """Weighted mean (3,) and covariance (3, 3) of x (3, n), summed about x[:, at] so that float32 does not cancel."""
    x0, x1, x2 = x[0], x[1], x[2]
    c0, c1, c2 = x0[at], x1[at], x2[at]
    sums = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
    for m in range(len(w)):
        sums = add_moments(sums, w[m], x0[m] - c0, x1[m] - c1, x2[m] - c2)
    settle_moments(sums, total, c0, c1, c2, mean, covariance)


@njit(**SUM)
def weighted(w, total, x):
    """Weighted mean of x (n,)."""
    result = ZERO
    for m in range(len(w)):
        result += w[m] * x[m]
    return result / total


@njit(**JIT)
def cholesky(c, root):
    """Lower triangle of the root of c (3, 3), whose upper triangle is read; a floor keeps it regular."""
    for i in range(3):
        for j in range(i + 1):
            value = c[j, i]
            for k in range(j):
                value -= root[i, k] * root[j, k]
            if i == j:
                root[i, i] = math.sqrt(max(value, np.float32(1e-4) * c[i, i] + np.float32(1e-12)))
            else:
                root[i, j] = value / root[j, j]


@njit(**LANE_JIT)
def place(proposal, start, mean, root, factor, t):
    """Put t (3, n) = mean + factor · root · x, x the points of the proposal from `start` on, root lower triangular."""
    n = t.shape[1]
    x, y, z = proposal.x[0][start : start + n], proposal.x[1][start : start + n], proposal.x[2][start : start + n]
    r00, r10, r11 = root[0, 0] * factor, root[1, 0] * factor, root[1, 1] * factor
    r20, r21, r22 = root[2, 0] * factor, root[2, 1] * factor, root[2, 2] * factor
    m0, m1, m2 = mean[0], mean[1], mean[2]
    for m in range(n):
        t[0, m] = m0 + r00 * x[m]
        t[1, m] = m1 + r10 * x[m] + r11 * y[m]
        t[2, m] = m2 + r20 * x[m] + r21 * y[m] + r22 * z[m]


@njit(**JIT)
def shift(proposal, seed, voxel, trip):
    """Where the points of one voxel and round begin in the long sequence of the proposal: keyed, so that no two share them."""
    u, _ = uniforms(seed, STREAM, voxel, trip)
    return int(u * (proposal.x.shape[1] - proposal.n + 1))
