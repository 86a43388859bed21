"""Log-likelihood of one voxel's signal at many points (f, D, D*) at once; S0 given, or integrated out.

Gaussian noise, S0 unknown with a flat prior: the residual of y - S0 s is quadratic in S0, so the integral is closed:
ln L = -(Σ r² - (Σ r s)² / Σ s²) / 2 σ² - ½ ln Σ s², where r = y - reference · s. Any reference gives the same value;
one near S0 keeps float32 from cancelling. With σ unknown too (prior 1 / σ) its integral leaves
-(n / 2) ln(rest), n the degrees of freedom.

Rician noise, S0 unknown: S0 is drawn about its Gaussian conditional, and the draw's density divided out.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.kernels.compiling import LANE_JIT
from ivimsc.kernels.lanes import exp32
from ivimsc.kernels.special import log32, log_i0e32

__all__ = ["Model", "log_likelihood", "unit_signals"]

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
WIDER = np.float32(1.2)  # the draw of S0 against its Gaussian conditional: heavier tails than the posterior
LEAST = np.float32(1e-30)
EXCLUDED = np.float32(-1e30)  # a log-likelihood that weighs nothing; finite, so that differences stay numbers


class Model(NamedTuple):
    """What is known of the noise: b (b,) in ms/µm²; s0, sigma in units of the signal, 0 where unknown; rician."""

    b: NDArray[np.float32]
    s0: np.float32
    sigma: np.float32
    rician: bool


@njit(**LANE_JIT)
def unit_signals(b, theta, signals):
    """Unit signals (b, n) of equation (1) with S0 = 1 at theta (3, n): f, D, D* [µm²/ms]."""
    f, d, p = theta[0], theta[1], theta[2]
    for i in range(len(b)):
        bi, row = b[i], signals[i]
        for m in range(len(f)):
            row[m] = (ONE - f[m]) * exp32(-bi * d[m]) + f[m] * exp32(-bi * p[m])


@njit(**LANE_JIT)
def _sums(y, signals, reference, rr, rs, ss):
    """Σ r², Σ r s, Σ s² over b, for each point."""
    rr[:] = ZERO
    rs[:] = ZERO
    ss[:] = ZERO
    for i in range(len(y)):
        yi, row = y[i], signals[i]
        for m in range(len(rr)):
            s = row[m]
            r = yi - reference * s
            rr[m] += r * r
            rs[m] += r * s
            ss[m] += s * s


@njit(**LANE_JIT)
def _rician(y, signals, sigma, s0, out):
    """Add to out: Σ ln[I0(y S / σ²) exp(-(y² + S²) / 2σ²)], S = S0 s: the Rician likelihood without its factors of y."""
    inverse = ONE / (sigma * sigma)
    for i in range(len(y)):
        yi, row = max(y[i], ZERO), signals[i]
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
    rs, ss = scratch[0], scratch[1]
    known = model.s0 > ZERO
    if known:
        reference = model.s0 / scale
    sigma = model.sigma / scale
    _sums(y, signals, reference, out, rs, ss)
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
        _rician_of_s0(y, signals, sigma, known, spread, ss, s0, out)
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
def _rician_of_s0(y, signals, sigma, known, spread, ss, s0, out):
    """The Rician part of `log_likelihood`: draws S0 where it is unknown."""
    out[:] = ZERO
    if not known:
        for m in range(len(out)):
            deviation = WIDER * sigma / np.sqrt(max(ss[m], LEAST))
            s0[m] = s0[m] + deviation * spread[0, m]
            out[m] = spread[1, m] + log32(deviation) if s0[m] > ZERO else EXCLUDED
            s0[m] = max(s0[m], ZERO)
    _rician(y, signals, sigma, s0, out)
