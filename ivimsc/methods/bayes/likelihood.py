"""Log-likelihood of one voxel's signal at many points (f, D, D*) at once; S0 given, or integrated out.

Gaussian noise, S0 unknown with a flat prior: the residual of y - S0 s is quadratic in S0, so the integral is closed:
ln L = -(Σ r² - (Σ r s)² / Σ s²) / 2 σ² - ½ ln Σ s², where r = y - reference · s. Any reference gives the same value;
one near S0 keeps float32 from cancelling. With σ unknown too (prior 1 / σ) its integral leaves
-(n / 2) ln(rest), n the degrees of freedom.

Rician noise, S0 unknown: S0 is drawn about its Gaussian conditional, and the draw's density divided out.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import LANE_JIT
from ivimsc.methods.bayes.special import log32, log_i0e32
from ivimsc.numerics.lanes import exp32

__all__ = ["Model", "log_likelihood", "tile", "unit_signals"]

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
WIDER = np.float32(1.2)  # the draw of S0 against its Gaussian conditional: heavier tails than the posterior
LEAST = np.float32(1e-30)
TILE = 512  # points at a time: what is summed for them stays in the nearest cache
EXCLUDED = np.float32(-1e30)  # a log-likelihood that weighs nothing; finite, so that differences stay numbers


class Model(NamedTuple):
    """What is known of the noise: b (b,) in ms/µm²; s0, sigma in units of the signal, 0 where unknown; rician."""

    b: NDArray[np.float32]
    s0: np.float32
    sigma: np.float32
    rician: bool


@njit(**LANE_JIT, cache=True)
def unit_signals(b, theta, signals):
    """Unit signals (b, n) of equation (1) with S0 = 1 at theta (3, n): f, D, D* [µm²/ms]."""
    f, d, p = theta[0], theta[1], theta[2]
    for i in range(len(b)):
        bi, row = b[i], signals[i]
        for m in range(len(f)):
            row[m] = (ONE - f[m]) * exp32(-bi * d[m]) + f[m] * exp32(-bi * p[m])


@njit(**LANE_JIT)
def _sums(y, signals, at, reference, rr, rs, ss):
    """Σ r², Σ r s, Σ s² over b, for the points from `at` on; five b-values at a time, to read and write the sums less."""
    n, i = len(rr), 0
    rr[:] = ZERO
    rs[:] = ZERO
    ss[:] = ZERO
    while i + 5 <= len(y):
        y0, y1, y2, y3, y4 = y[i], y[i + 1], y[i + 2], y[i + 3], y[i + 4]
        row0, row1, row2 = signals[i][at : at + n], signals[i + 1][at : at + n], signals[i + 2][at : at + n]
        row3, row4 = signals[i + 3][at : at + n], signals[i + 4][at : at + n]
        for m in range(n):
            s0, s1, s2, s3, s4 = row0[m], row1[m], row2[m], row3[m], row4[m]
            r0, r1, r2 = y0 - reference * s0, y1 - reference * s1, y2 - reference * s2
            r3, r4 = y3 - reference * s3, y4 - reference * s4
            rr[m] += r0 * r0 + r1 * r1 + r2 * r2 + r3 * r3 + r4 * r4
            rs[m] += r0 * s0 + r1 * s1 + r2 * s2 + r3 * s3 + r4 * s4
            ss[m] += s0 * s0 + s1 * s1 + s2 * s2 + s3 * s3 + s4 * s4
        i += 5
    while i < len(y):
        yi, row = y[i], signals[i][at : at + n]
        for m in range(n):
            s = row[m]
            r = yi - reference * s
            rr[m] += r * r
            rs[m] += r * s
            ss[m] += s * s
        i += 1


@njit(**LANE_JIT)
def _rician(y, signals, at, sigma, s0, out):
    """Add to out: Σ ln[I0(y S / σ²) exp(-(y² + S²) / 2σ²)], S = S0 s: the Rician likelihood without its factors of y."""
    inverse = ONE / (sigma * sigma)
    for i in range(len(y)):
        yi, row = max(y[i], ZERO), signals[i][at : at + len(out)]
        for m in range(len(out)):
            s = s0[m] * row[m]
            r = yi - s
            out[m] += log_i0e32(yi * s * inverse) - HALF * r * r * inverse


@njit(**LANE_JIT)
def log_likelihood(y, signals, model, scale, reference, spread, scratch, s0, out):
    """Log-likelihood (n,) of the scaled signal y (b,) at the points with unit signals (b, n), up to a constant.

    scale: what y was divided by; reference: a value near S0 / scale. spread (2, n): draws of a unit symmetric
    distribution and minus their log density (Rician noise with S0 unknown). scratch (2, n); s0 (n,) receives S0 / scale.
    """
    x, minus_log_density = spread[0], spread[1]
    for at in range(0, len(out), TILE):
        end = min(at + TILE, len(out))
        tile(y, signals, at, model, scale, reference, x[at:end], minus_log_density[at:end], scratch[0][at:end],
              scratch[1][at:end], s0[at:end], out[at:end])  # fmt: skip


@njit(**LANE_JIT)
def tile(y, signals, at, model, scale, reference, x, minus_log_density, rs, ss, s0, out):
    """`log_likelihood` of the points from `at` on."""
    known = model.s0 > ZERO
    if known:
        reference = model.s0 / scale
    sigma = model.sigma / scale
    _sums(y, signals, at, reference, out, rs, ss)
    half_n = HALF * np.float32(len(y) - (0 if known else 1))
    if known:
        for m in range(len(out)):
            s0[m] = reference
    else:
        for m in range(len(out)):
            shift = rs[m] / max(ss[m], LEAST)
            out[m] = max(out[m] - shift * rs[m], ZERO)
            s0[m] = reference + shift
    if model.rician:
        _rician_of_s0(y, signals, at, sigma, known, x, minus_log_density, ss, s0, out)
        return
    if sigma > ZERO:
        factor = HALF / (sigma * sigma)
        for m in range(len(out)):
            out[m] *= -factor
    else:
        for m in range(len(out)):
            out[m] = -half_n * log32(max(out[m], LEAST))
    if not known:
        for m in range(len(out)):
            out[m] = out[m] - HALF * log32(ss[m]) if s0[m] > ZERO else EXCLUDED


@njit(**LANE_JIT)
def _rician_of_s0(y, signals, at, sigma, known, x, minus_log_density, ss, s0, out):
    """The Rician part of `log_likelihood`: draws S0 where it is unknown."""
    out[:] = ZERO
    if not known:
        for m in range(len(out)):
            deviation = WIDER * sigma / math.sqrt(max(ss[m], LEAST))
            s0[m] = s0[m] + deviation * x[m]
            out[m] = minus_log_density[m] + log32(deviation) if s0[m] > ZERO else EXCLUDED
            s0[m] = max(s0[m], ZERO)
    _rician(y, signals, at, sigma, s0, out)
