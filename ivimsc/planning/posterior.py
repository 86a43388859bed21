"""The smallest possible mean squared error of a protocol, quickly: the expected variance of the posterior.

The mean squared error of the posterior mean, which no estimator can undercut, is the expected variance of the posterior. For
each of some hundred true voxels with one draw of noise, the posterior is a sum over weighted draws of the prior, which is
the mixture of the tissues. Voxels, draws and noise are the same for all protocols, and a protocol's number of images need not
be whole: so the error is a smooth function of the protocol, and differences of protocols show no Monte-Carlo noise.
S0 has a flat prior and is integrated out, as in `methods.bayes.likelihood`:

    ln L = -(Σ n r² - (Σ n r s)² / Σ n s²) / 2 σ² - ½ ln Σ n s²,    r = y - s, n images at each b-value

`compare.bound` computes the same error from a store of signals, with more draws, and `judge` uses it for the last word.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import KERNEL, SUM_JIT
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.numerics.lanes import exp32
from ivimsc.numerics.special import log32
from ivimsc.physics.signal import signals
from ivimsc.planning.prior import draws_of, moments_of
from ivimsc.planning.request import Request

__all__ = ["PosteriorError"]

VOXELS = 256  # true voxels of all tissues together, each with one draw of noise and with its opposite
DRAWS, MOST_DRAWS = 1024, 16384  # of each tissue's prior
ENOUGH = 40.0  # effective draws of a posterior: the variance of so many is 2.5 % too small
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
LOWEST = np.float32(-1e30)


class Draws(NamedTuple):
    """Draws of the prior: theta (3, n), in SDs from the mean, and their signals (candidate, n) for S0 = 1."""

    theta: NDArray[np.float32]
    signals: NDArray[np.float32]


class Truth(NamedTuple):
    """True voxels: signals (candidate, voxel) for S0 = 1, unit noise (candidate, voxel), and their tissue (voxel,)."""

    signals: NDArray[np.float32]
    noise: NDArray[np.float32]
    tissue: NDArray[np.int64]


@njit(**SUM_JIT)
def _log_weights(y, n, places, signals, squares, known, half_precision, out):
    """Log-likelihood of a voxel (place,) at all draws into out (n,); squares (n,) = Σ n s²; its largest value is returned."""
    total = len(out)
    rr, rs = np.zeros(total, np.float32), np.zeros(total, np.float32)
    for k in range(len(places)):
        yk, nk, row = y[k], n[k], signals[places[k]]
        for j in range(total):
            r = yk - row[j]
            rr[j] += nk * r * r
            rs[j] += nk * r * row[j]
    if known:
        for j in range(total):
            out[j] = -rr[j] * half_precision
    else:
        for j in range(total):
            out[j] = (rs[j] * rs[j] / squares[j] - rr[j]) * half_precision - HALF * log32(squares[j])
    high = LOWEST
    for j in range(total):
        high = max(high, out[j])
    return high


@njit(**SUM_JIT)
def _variances(theta, weight, high, found):
    """Posterior variances (3,) of theta into `found`, from log weights (n,); the effective number of draws is returned."""
    total = squares = ZERO
    for j in range(len(weight)):
        weight[j] = exp32(weight[j] - high)
        total += weight[j]
        squares += weight[j] * weight[j]
    for p in range(3):
        row, first, second = theta[p], ZERO, ZERO
        for j in range(len(weight)):
            first += weight[j] * row[j]
        mean = first / total
        for j in range(len(weight)):
            second += weight[j] * (row[j] - mean) * (row[j] - mean)
        found[p] = second / total
    return total * total / squares


@njit(**KERNEL)
def _errors(start, stop, counts, sigma, draws, truth, known, errors, effective):
    """Mean posterior variances (protocol, tissue, 3) and effective draws (protocol,) of the protocols start..stop.

    counts (protocol, candidate) images, sigma (protocol,) noise SD of one.
    """
    n = draws.theta.shape[1]
    squares, weight, found = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(3, np.float32)
    voxels = np.zeros(errors.shape[1])
    for v in range(len(truth.tissue)):
        voxels[truth.tissue[v]] += 1.0
    for design in range(start, stop):
        places = np.flatnonzero(counts[design])
        images, y = np.empty(len(places), np.float32), np.empty(len(places), np.float32)
        squares[:] = ZERO
        for k in range(len(places)):
            images[k] = np.float32(counts[design, places[k]])
            row = draws.signals[places[k]]
            for j in range(n):
                squares[j] += images[k] * row[j] * row[j]
        noise = np.float32(sigma[design])
        half_precision = HALF / (noise * noise)
        errors[design] = 0.0
        effective[design] = 0.0
        for v in range(len(truth.tissue)):
            for k in range(len(places)):
                y[k] = truth.signals[places[k], v] + noise / np.sqrt(images[k]) * truth.noise[places[k], v]
            high = _log_weights(y, images, places, draws.signals, squares, known, half_precision, weight)
            effective[design] += _variances(draws.theta, weight, high, found) / len(truth.tissue)
            t = truth.tissue[v]
            for p in range(3):
                errors[design, t, p] += found[p] / voxels[t]


class PosteriorError:
    """The criterion "posterior": expected posterior variances over those of the prior, of protocols on a grid of b-values.

    Attributes
    ----------
    bvalues : (candidate,) of the grid [s/mm²]
    sd : (tissue, 3) SDs of the prior of f, D and D* within each tissue [1, mm²/s]
    effective : effective draws of the posteriors of a protocol with all images spread over the grid
    """

    def __init__(self, request: Request, bvalues: NDArray[np.float64], launch: Launch) -> None:
        self.request, self.bvalues, self.launch = request, bvalues, launch
        self.sd = np.array([moments_of(tissue, request.spread)[1] for tissue in request.tissues])
        self._truth = self._make_truth()
        n, spread_out = DRAWS, np.full((1, len(bvalues)), request.volumes / len(bvalues))
        while True:
            self._draws, self._unit = self._make_draws(n)
            self.effective = float(self._run(spread_out)[1][0])
            if self.effective >= ENOUGH or n >= MOST_DRAWS:
                break
            n *= 2

    def left(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share (protocol, tissue, 3) of the variance within a tissue that protocols leave; for mixtures it may exceed 1.

        Parameters
        ----------
        counts : (protocol, candidate) images, whole or not
        """
        return self._run(counts)[0]

    def values(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The criterion (protocol,): the weighted mean of `left` over parameters and tissues."""
        weights = np.array(self.request.weights)
        return self.left(counts).mean(1) @ (weights / weights.sum())

    def _run(self, counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        counts = np.ascontiguousarray(counts, np.float64)
        errors = np.empty((len(counts), len(self.sd), 3))
        effective = np.empty(len(counts))
        sigma = noise_of(self.request, self.bvalues, counts)
        arguments = (counts, sigma, self._draws, self._truth, self.request.s0_known, errors, effective)
        run_blocks(self.launch, _errors, len(counts), *arguments, block=4)
        return errors * (self._unit / self.sd) ** 2, effective

    def _make_draws(self, n: int) -> tuple[Draws, NDArray[np.float64]]:
        """So many draws of each tissue, and the SDs (3,) that their theta is in."""
        request = self.request
        parts = [
            draws_of(tissue, n, request.seed + 1 + 2 * k, request.spread) for k, tissue in enumerate(request.tissues)
        ]
        theta = np.concatenate(parts, axis=1)
        unit = theta.std(1)
        scaled = (theta - theta.mean(1, keepdims=True)) / unit[:, None]
        return Draws(np.ascontiguousarray(scaled, np.float32), self._signals(theta)), unit

    def _make_truth(self) -> Truth:
        """Each voxel twice, with one draw of noise and with its opposite: what is odd in the noise has no part in the error."""
        request, n = self.request, max(VOXELS // len(self.request.tissues), 64)
        parts = [
            draws_of(tissue, n, request.seed + 2 + 2 * k, request.spread) for k, tissue in enumerate(request.tissues)
        ]
        values = self._signals(np.concatenate(parts, axis=1))
        noise = np.random.Generator(np.random.Philox(request.seed)).standard_normal(values.shape).astype(np.float32)
        tissue = np.tile(np.repeat(np.arange(len(parts)), n), 2)
        return Truth(np.concatenate([values, values], axis=1), np.concatenate([noise, -noise], axis=1), tissue)

    def _signals(self, theta: NDArray[np.float64]) -> NDArray[np.float32]:
        """Signals (candidate, n) of theta (3, n)."""
        made = signals(1.0, *theta, self.bvalues[:, None])
        return np.ascontiguousarray(made, np.float32)


def noise_of(request: Request, bvalues: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise SD (protocol,) of one image over S0: with echo times, less where the largest b-value used is smaller."""
    sigma = np.full(len(counts), 1 / request.snr)
    if request.echo_time is None:
        return sigma
    largest = bvalues[len(bvalues) - 1 - np.argmax(counts[:, ::-1] > 0, axis=1)]
    gains = {b: request.echo_time.gain(b) for b in np.unique(largest)}
    return sigma / np.array([gains[b] for b in largest])


__all__ += ["noise_of"]
