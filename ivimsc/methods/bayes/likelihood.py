"""Log-likelihood of one voxel's signal at many points (f, D, D*) at once; S0 given, or integrated out.

Gaussian noise, S0 unknown with a flat prior: the residual of y - S0 s is quadratic in S0, so the integral is closed:
ln L = -(Σ r² - (Σ r s)² / Σ s²) / 2 σ² - ½ ln Σ s², where r = y - reference · s. Any reference gives the same value;
one near S0 keeps float32 from cancelling. With σ unknown too (prior 1 / σ) its integral leaves
-(n / 2) ln(rest), n the degrees of freedom.

Rician noise, S0 unknown: S0 is drawn about its Gaussian conditional, and the likelihood is divided by the density of
that draw.

Signals are scaled here: divided by the largest value of their voxel.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import exp32
from ivimsc.numerics.special import log32, log_i0e32

__all__ = [
    "NoiseModel",
    "Spread",
    "Terms",
    "log_likelihood",
    "scaled",
    "root_of",
    "tile",
    "two_decays",
    "unit_signals",
    "weighted_signals",
]

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
WIDER = np.float32(1.2)  # the draw of S0 against its Gaussian conditional: heavier tails than the posterior
LEAST = np.float32(1e-30)
TILE = 512  # points at a time: what is summed for them stays in the nearest cache
EXCLUDED = np.float32(-1e30)  # a log-likelihood that weighs nothing; finite, so that differences stay numbers


class NoiseModel(NamedTuple):
    """What is known of the signal and its noise.

    Attributes
    ----------
    b : (b,) b-values [ms/µm²]
    root : (b,) what signals are multiplied with, so that the noise of each is `sigma` (see `root_of`); ones for Rician noise
    s0 : S0 in units of the signal, 0 where it is unknown and integrated out
    sigma : noise SD in units of the signal, 0 where it is integrated out for each voxel
    rician : the noise is Rician, not Gaussian
    """

    b: NDArray[np.float32]
    root: NDArray[np.float32]
    s0: np.float32
    sigma: np.float32
    rician: bool


class Spread(NamedTuple):
    """Draws of a unit symmetric distribution, one for each point; from them S0 is drawn where noise is Rician.

    Attributes
    ----------
    x : (n,) the draws
    minus_log_density : (n,) minus their log density
    """

    x: NDArray[np.float32]
    minus_log_density: NDArray[np.float32]


class Terms(NamedTuple):
    """What `log_likelihood` writes for n points.

    Attributes
    ----------
    rs, ss : (n,) Σ r s and Σ s² over the b-values; scratch
    s0 : (n,) S0 of the scaled signal
    log_w : (n,) log-likelihood up to a constant; the callers make the log weight of the points of it
    """

    rs: NDArray[np.float32]
    ss: NDArray[np.float32]
    s0: NDArray[np.float32]
    log_w: NDArray[np.float32]


@njit(**LANE_JIT)
def scaled(noise, scale):
    """The noise model of a signal that was divided by `scale`."""
    return NoiseModel(noise.b, noise.root, noise.s0 / scale, noise.sigma / scale, noise.rician)


@njit(**LANE_JIT)
def two_decays(b, tissue, blood, d, p):
    """Equation (1) for the amplitudes of tissue and blood, S0 (1 - f) and S0 f; b in ms/µm², d and p (D*) in µm²/ms."""
    return tissue * exp32(-b * d) + blood * exp32(-b * p)


@njit(**LANE_JIT, cache=True)
def unit_signals(b, theta, signals):
    """Signals of equation (1) for S0 = 1.

    Parameters
    ----------
    b : (b,) b-values [ms/µm²]
    theta : (3, n) f, D, D* [µm²/ms]
    signals : (b, n) float32, filled
    """
    f, d, p = theta[0], theta[1], theta[2]
    for i in range(len(b)):
        bi, row = b[i], signals[i]
        for m in range(len(f)):
            row[m] = two_decays(bi, ONE - f[m], f[m], d[m], p[m])


@njit(**LANE_JIT, cache=True)
def weighted_signals(noise, theta, signals):
    """`unit_signals` of a noise model: those of its b-values, each times its root."""
    unit_signals(noise.b, theta, signals)
    for i in range(len(noise.root)):
        root, row = noise.root[i], signals[i]
        if root != ONE:
            for m in range(len(row)):
                row[m] *= root


def root_of(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Factors (b,) that make the noise of all signals alike, each being the mean of so many images.

    Their inverse squares average to one: the noise then is the root mean square of that of the signals.
    """
    weights = np.asarray(weights, np.float64)
    return np.sqrt(weights * np.mean(1 / weights)).astype(np.float32)


@njit(**LANE_JIT)
def _sums(y, signals, at, reference, terms):
    """Σ r², Σ r s, Σ s² over b, for the points from `at` on; five b-values at a time, to read and write the sums less.

    Σ r² stands in terms.log_w until it is made a log-likelihood.
    """
    rr, rs, ss = terms.log_w, terms.rs, terms.ss
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
def log_likelihood(y, signals, noise, reference, spread, terms):
    """Log-likelihood of one scaled signal at n points, up to a constant, in terms.log_w; S0 of each in terms.s0.

    Parameters
    ----------
    y : (b,) scaled signal
    signals : (b, n) signals of the points for S0 = 1
    noise : `NoiseModel` of the scaled signal
    reference : a value near S0
    spread : `Spread` (n,), used for Rician noise with S0 unknown
    terms : `Terms` (n,), filled
    """
    for at in range(0, len(terms.log_w), TILE):
        end = min(at + TILE, len(terms.log_w))
        some = Terms(terms.rs[at:end], terms.ss[at:end], terms.s0[at:end], terms.log_w[at:end])
        tile(y, signals, at, noise, reference, Spread(spread.x[at:end], spread.minus_log_density[at:end]), some)


@njit(**LANE_JIT)
def tile(y, signals, at, noise, reference, spread, terms):
    """`log_likelihood` of the points from `at` on; spread and terms hold these points alone."""
    ss, s0, out, sigma = terms.ss, terms.s0, terms.log_w, noise.sigma
    known = noise.s0 > ZERO
    if known:
        reference = noise.s0
    _sums(y, signals, at, reference, terms)
    if known:
        for m in range(len(out)):
            s0[m] = reference
    else:
        rs = terms.rs
        for m in range(len(out)):
            shift = rs[m] / max(ss[m], LEAST)
            out[m] = max(out[m] - shift * rs[m], ZERO)
            s0[m] = reference + shift
    if noise.rician:
        _rician_of_s0(y, signals, at, noise, spread, terms)
        return
    if sigma > ZERO:
        factor = HALF / (sigma * sigma)
        for m in range(len(out)):
            out[m] *= -factor
    else:
        half_n = HALF * np.float32(len(y) - (0 if known else 1))
        for m in range(len(out)):
            out[m] = -half_n * log32(max(out[m], LEAST))
    if not known:
        for m in range(len(out)):
            out[m] = out[m] - HALF * log32(ss[m]) if s0[m] > ZERO else EXCLUDED


@njit(**LANE_JIT)
def _rician_of_s0(y, signals, at, noise, spread, terms):
    """The Rician part of `log_likelihood`: draws S0 where it is unknown."""
    ss, s0, out, sigma = terms.ss, terms.s0, terms.log_w, noise.sigma
    x, minus_log_density = spread.x, spread.minus_log_density
    out[:] = ZERO
    if not noise.s0 > ZERO:
        for m in range(len(out)):
            deviation = WIDER * sigma / math.sqrt(max(ss[m], LEAST))
            s0[m] = s0[m] + deviation * x[m]
            out[m] = minus_log_density[m] + log32(deviation) if s0[m] > ZERO else EXCLUDED
            s0[m] = max(s0[m], ZERO)
    _rician(y, signals, at, sigma, s0, out)
