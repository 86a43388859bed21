"""Small sums over symmetric 3 × 3 matrices, as tuples (xx, xy, xz, yy, yz, zz) in float64: what the sweeps calculate with."""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT

__all__ = ["along", "definite", "evidence", "inverse", "plus", "product", "scaled_by", "sandwich"]


@njit(**JIT)
def plus(a, b):
    """A + b."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5]


@njit(**JIT)
def scaled_by(a, x):
    """A times the number x."""
    return a[0] * x, a[1] * x, a[2] * x, a[3] * x, a[4] * x, a[5] * x


@njit(**JIT)
def inverse(a):
    """The inverse of a, and its determinant."""
    c0, c1, c2 = a[3] * a[5] - a[4] * a[4], a[2] * a[4] - a[1] * a[5], a[1] * a[4] - a[2] * a[3]
    determinant = a[0] * c0 + a[1] * c1 + a[2] * c2
    r = 1.0 / determinant
    c3, c4, c5 = a[0] * a[5] - a[2] * a[2], a[1] * a[2] - a[0] * a[4], a[0] * a[3] - a[1] * a[1]
    return (c0 * r, c1 * r, c2 * r, c3 * r, c4 * r, c5 * r), determinant


@njit(**JIT)
def along(a, x, y, z):
    """A times the vector (x, y, z)."""
    return a[0] * x + a[1] * y + a[2] * z, a[1] * x + a[3] * y + a[4] * z, a[2] * x + a[4] * y + a[5] * z


@njit(**JIT)
def product(a, b):
    """A times b: nine numbers, row by row."""
    x, y, z = along(a, b[0], b[1], b[2]), along(a, b[1], b[3], b[4]), along(a, b[2], b[4], b[5])
    return x[0], y[0], z[0], x[1], y[1], z[1], x[2], y[2], z[2]


@njit(**JIT)
def sandwich(m, a):
    """M a mᵀ for nine numbers m, row by row."""
    x, y, z = along(a, m[0], m[1], m[2]), along(a, m[3], m[4], m[5]), along(a, m[6], m[7], m[8])
    return (
        m[0] * x[0] + m[1] * x[1] + m[2] * x[2], m[0] * y[0] + m[1] * y[1] + m[2] * y[2],
        m[0] * z[0] + m[1] * z[1] + m[2] * z[2], m[3] * y[0] + m[4] * y[1] + m[5] * y[2],
        m[3] * z[0] + m[4] * z[1] + m[5] * z[2], m[6] * z[0] + m[7] * z[1] + m[8] * z[2],
    )  # fmt: skip


@njit(**JIT)
def evidence(a, p, d0, d1, d2):
    """A Gaussian prior of covariance a meets a measurement of precision p, which may be singular: d = measurement - prior's mean.

    Returns the log of ∫ prior · exp(-½ distance² of the measurement), the shift of the mean from the prior's, and the covariance
    after it.
    """
    before, determinant = inverse(a)
    after, least = inverse(plus(before, p))
    w0, w1, w2 = along(p, d0, d1, d2)
    x, y, z = along(after, w0, w1, w2)
    square = w0 * (d0 - x) + w1 * (d1 - y) + w2 * (d2 - z)
    return -0.5 * (math.log(determinant * least) + square), (x, y, z), after


@njit(**JIT)
def definite(a, least):
    """The matrix nearest to a whose eigenvalues are `least` at least: rotations of Jacobi."""
    m, u = np.empty((3, 3)), np.eye(3)
    m[0, 0], m[0, 1], m[0, 2], m[1, 1], m[1, 2], m[2, 2] = a
    m[1, 0], m[2, 0], m[2, 1] = m[0, 1], m[0, 2], m[1, 2]
    for _ in range(8):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            if m[i, j] == 0.0:
                continue
            half = 0.5 * (m[j, j] - m[i, i]) / m[i, j]
            t = (1.0 if half >= 0 else -1.0) / (abs(half) + math.sqrt(1.0 + half * half))
            c = 1.0 / math.sqrt(1.0 + t * t)
            s = t * c
            for k in range(3):
                x, y = m[k, i], m[k, j]
                m[k, i], m[k, j] = c * x - s * y, s * x + c * y
                x, y = u[k, i], u[k, j]
                u[k, i], u[k, j] = c * x - s * y, s * x + c * y
            for k in range(3):
                x, y = m[i, k], m[j, k]
                m[i, k], m[j, k] = c * x - s * y, s * x + c * y
    e0, e1, e2 = max(m[0, 0], least), max(m[1, 1], least), max(m[2, 2], least)
    r0, r1, r2 = u[0], u[1], u[2]
    return (
        e0 * r0[0] * r0[0] + e1 * r0[1] * r0[1] + e2 * r0[2] * r0[2], e0 * r0[0] * r1[0] + e1 * r0[1] * r1[1] + e2 * r0[2] * r1[2],
        e0 * r0[0] * r2[0] + e1 * r0[1] * r2[1] + e2 * r0[2] * r2[2], e0 * r1[0] * r1[0] + e1 * r1[1] * r1[1] + e2 * r1[2] * r1[2],
        e0 * r1[0] * r2[0] + e1 * r1[1] * r2[1] + e2 * r1[2] * r2[2], e0 * r2[0] * r2[0] + e1 * r2[1] * r2[1] + e2 * r2[2] * r2[2],
    )  # fmt: skip
