"""Priors over (f, D, D*), and the unbounded coordinates t in which the sampling works.

Each parameter x has one of three maps from t, with u = 1 / (1 + exp(-t)):

LINEAR     x = low + (high - low) u
GEOMETRIC  x = low (high / low)^u
LOG        x = exp(t)

and a prior is one of two densities of t: a product of logistic densities, which makes LINEAR uniform and GEOMETRIC
reciprocal (1 / x) between the bounds; or a mixture of Gaussians with full covariance: with LOG for D and D* and
LINEAR on 0..1 (the logit) for f this is the log-normal prior, and the shrinkage prior of Orton et al. (MRM 2014).
An empirical prior has no density, only draws. D and D* in µm²/ms here, as in the kernels.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtri

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import exp32
from ivimsc.numerics.special import log32

__all__ = ["GEOMETRIC", "LINEAR", "LOG", "Prior", "box_prior", "draw", "gaussian_prior", "log_prior", "low_discrepancy",
           "parameters", "to_coordinates"]  # fmt: skip

LINEAR, GEOMETRIC, LOG = 0, 1, 2
ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
SMALL = np.float32(1e-30)
EXCLUDED = np.float32(-1e30)  # log density outside the limits; finite, so that differences stay numbers


class Prior(NamedTuple):
    """A prior as the kernels take it; `weights` is empty for the logistic product.

    kinds, low, span (3,): the maps of f, D, D*; span is high - low (LINEAR) or ln(high / low) (GEOMETRIC).
    constants (component,): log of weight and normalisation; means (component, 3); whiten (component, 3, 3): lower
    triangular W with (t - mean)ᵀ C⁻¹ (t - mean) = |W (t - mean)|². limits (3, 2): range of t, the prior is 0 outside.
    """

    kinds: NDArray[np.int64]
    low: NDArray[np.float32]
    span: NDArray[np.float32]
    constants: NDArray[np.float32]
    means: NDArray[np.float32]
    whiten: NDArray[np.float32]
    limits: NDArray[np.float32]


def box_prior(bounds: NDArray[np.float64], reciprocal: tuple[bool, bool, bool] = (False, False, False)) -> Prior:
    """Uniform between bounds (3, 2) of f, D, D*, or proportional to 1 / x where `reciprocal` (low > 0 needed)."""
    kinds = np.where(reciprocal, GEOMETRIC, LINEAR)
    low, high = np.asarray(bounds, np.float64).T
    safe = np.where(reciprocal, low, 1.0)
    span = np.where(reciprocal, np.log(high / safe), high - low)
    none = np.zeros((0, 3))
    return _pack(kinds, low, span, np.zeros(0), none, np.zeros((0, 3, 3)), np.tile([-1e30, 1e30], (3, 1)))


def gaussian_prior(weights: NDArray, means: NDArray, covariances: NDArray, bounds: NDArray) -> Prior:
    """Mixture of Gaussians over (logit f, ln D, ln D*): weights (c,), means (c, 3), covariances (c, 3, 3).

    bounds (3, 2) of f, D, D* [µm²/ms]: nothing lies outside. Without them tissue and blood could change places.
    """
    whiten = np.linalg.inv(np.linalg.cholesky(covariances))
    constants = np.log(weights) + np.log(np.einsum("cii->ci", whiten)).sum(1) - 1.5 * np.log(2 * np.pi)
    limits = to_coordinates(np.asarray(bounds, np.float64))
    limits[0] = np.where(bounds[0] <= 0, -1e30, np.where(bounds[0] >= 1, 1e30, limits[0]))
    limits[1:, 0][bounds[1:, 0] <= 0] = -1e30
    return _pack(np.array([LINEAR, LOG, LOG]), np.zeros(3), np.ones(3), constants, means, whiten, limits)


def _pack(kinds, low, span, constants, means, whiten, limits) -> Prior:
    arrays = (np.ascontiguousarray(a, np.float32) for a in (low, span, constants, means, whiten, limits))
    return Prior(np.asarray(kinds, np.int64), *arrays)


def low_discrepancy(n: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Points (dimension, n) in (0, 1): multiples of powers of the generalised golden ratio, shifted by the seed.

    Fills the cube more evenly than random numbers do (M. Roberts, 2018: the R-sequence), without a table.
    """
    ratio = 2.0
    for _ in range(60):  # fixed point of ratio^(d + 1) = ratio + 1
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    steps = ratio ** -np.arange(1, dimensions + 1)
    shift = np.random.Generator(np.random.Philox(seed)).random(dimensions)
    points = (shift[:, None] + steps[:, None] * np.arange(1, n + 1)) % 1.0
    return np.clip(points, 1e-7, 1 - 1e-7)


def draw(prior: Prior, n: int, seed: int) -> NDArray[np.float64]:
    """Coordinates t (3, n) distributed as the prior; about n where its limits cut some off."""
    t = _unlimited(prior, low_discrepancy(n, 3, seed))
    inside = _within(prior, t)
    if inside.all():
        return t
    share = max(inside.mean(), 1 / 64)
    t = _unlimited(prior, low_discrepancy(int(n / share), 3, seed))
    return np.ascontiguousarray(t[:, _within(prior, t)])


def _within(prior: Prior, t: NDArray[np.float64]) -> NDArray[np.bool_]:
    return ((t >= prior.limits[:, :1]) & (t <= prior.limits[:, 1:])).all(0)


def _unlimited(prior: Prior, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates t (3, n) as the prior without its limits, from points (3, n) that fill the unit cube."""
    if not len(prior.constants):
        return np.log(points / (1 - points))
    whiten = prior.whiten.astype(np.float64)
    weights = np.exp(prior.constants - np.log(np.einsum("cii->ci", whiten)).sum(1) + 1.5 * np.log(2 * np.pi))
    ends = np.round(np.cumsum(weights / weights.sum()) * points.shape[1]).astype(int)
    t, start = np.empty_like(points), 0
    for mean, w, end in zip(prior.means, whiten, ends, strict=True):
        t[:, start:end] = mean[:, None] + np.linalg.solve(w, ndtri(points[:, start:end]))
        start = end
    return t


def parameters(prior: Prior, t: NDArray[np.float64]) -> NDArray[np.float64]:
    """f, D, D* (3, n) from coordinates t (3, n)."""
    theta = np.empty_like(t)
    for k in range(3):
        u = 1 / (1 + np.exp(-t[k]))
        low, span = float(prior.low[k]), float(prior.span[k])
        theta[k] = (low + span * u, low * np.exp(span * u), np.exp(t[k]))[prior.kinds[k]]
    return theta


def to_coordinates(theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """(logit f, ln D, ln D*) (3, n) of parameters (3, n), f kept off 0 and 1, D and D* off 0 by 1e-6."""
    f = np.clip(theta[0], 1e-6, 1 - 1e-6)
    return np.stack([np.log(f / (1 - f)), *np.log(np.maximum(theta[1:], 1e-6))])


@njit(**LANE_JIT)
def map_points(prior, t, theta):
    """Put into theta (3, n) what comes from t (3, n) float32."""
    for k in range(3):
        kind, low, span = prior.kinds[k], prior.low[k], prior.span[k]
        row, out = t[k], theta[k]
        if kind == LINEAR:
            for m in range(len(row)):
                out[m] = low + span / (ONE + exp32(-row[m]))
        elif kind == GEOMETRIC:
            for m in range(len(row)):
                out[m] = low * exp32(span / (ONE + exp32(-row[m])))
        else:
            for m in range(len(row)):
                out[m] = exp32(row[m])


@njit(**LANE_JIT)
def _logistic(x, out):
    for m in range(len(x)):
        size = abs(x[m])
        out[m] -= size + TWO * log32(ONE + exp32(-size))


@njit(**LANE_JIT)
def _largest_gaussian(prior, t, out):
    """The largest log density of the components at t (3, n), into out."""
    x, y, z = t[0], t[1], t[2]
    for c in range(len(prior.constants)):
        w, mean = prior.whiten[c], prior.means[c]
        w00, w10, w11, w20, w21, w22 = w[0, 0], w[1, 0], w[1, 1], w[2, 0], w[2, 1], w[2, 2]
        m0, m1, m2, constant = mean[0], mean[1], mean[2], prior.constants[c]
        for m in range(len(out)):
            x0, x1, x2 = x[m] - m0, y[m] - m1, z[m] - m2
            a, b, e = w00 * x0, w10 * x0 + w11 * x1, w20 * x0 + w21 * x1 + w22 * x2
            value = constant - HALF * (a * a + b * b + e * e)
            out[m] = value if c == 0 else max(out[m], value)


@njit(**LANE_JIT)
def _sum_of_gaussians(prior, t, reference, out):
    """The density at t (3, n) over exp(reference), into out."""
    x, y, z = t[0], t[1], t[2]
    out[:] = ZERO
    for c in range(len(prior.constants)):
        w, mean = prior.whiten[c], prior.means[c]
        w00, w10, w11, w20, w21, w22 = w[0, 0], w[1, 0], w[1, 1], w[2, 0], w[2, 1], w[2, 2]
        m0, m1, m2, constant = mean[0], mean[1], mean[2], prior.constants[c] - reference
        for m in range(len(out)):
            x0, x1, x2 = x[m] - m0, y[m] - m1, z[m] - m2
            a, b, e = w00 * x0, w10 * x0 + w11 * x1, w20 * x0 + w21 * x1 + w22 * x2
            out[m] += exp32(constant - HALF * (a * a + b * b + e * e))


@njit(**LANE_JIT, cache=True)
def log_prior(prior, t, scratch, out):
    """Put into out (n,) the log density of the prior at t (3, n), up to a constant; scratch (n,)."""
    out[:] = ZERO
    if len(prior.constants) == 0:
        for k in range(3):
            _logistic(t[k], out)
        return
    if len(prior.constants) > 1:
        reference = prior.constants[0]
        for c in range(1, len(prior.constants)):
            reference = max(reference, prior.constants[c])
        _sum_of_gaussians(prior, t, reference, out)
        least = out[0]
        for m in range(len(out)):
            least = min(least, out[m])
        if least < SMALL:  # far from all components the largest alone is told: the sum has no digits there
            _largest_gaussian(prior, t, scratch)
        for m in range(len(out)):
            out[m] = reference + log32(out[m]) if out[m] >= SMALL else scratch[m]
    else:
        _largest_gaussian(prior, t, out)
    for k in range(3):
        row, low, high = t[k], prior.limits[k, 0], prior.limits[k, 1]
        for m in range(len(out)):
            out[m] = out[m] if (row[m] >= low) & (row[m] <= high) else EXCLUDED


@njit(**LANE_JIT, cache=True)
def subtract_log_jacobian(prior, t, out):
    """Turn a log density of t into one of (f, D, D*): subtract ln |dx / dt|, up to a constant."""
    for k in range(3):
        kind, span, row = prior.kinds[k], prior.span[k], t[k]
        if kind == LOG:
            for m in range(len(out)):
                out[m] -= row[m]
        else:
            geometric = span if kind == GEOMETRIC else ZERO
            for m in range(len(out)):
                size = abs(row[m])
                out[m] += size + TWO * log32(ONE + exp32(-size)) - geometric / (ONE + exp32(-row[m]))


__all__ += ["map_points", "subtract_log_jacobian"]
