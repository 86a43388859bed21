"""The prior and the noise level, estimated from the signals of many voxels: expectation and maximisation (EM).

The prior is a Gaussian, or a mixture, over (logit f, ln D, ln D*). Posterior expectations are sums over shared draws:
with likelihoods l (voxel, draw) and r = prior / density of the draws, voxel v gives draw m the weight
l r / Σ_m l r. The mean weight of each draw over the voxels is the population that the data suggest; its mean and
covariance are the next prior. The likelihoods never change while the noise level stays, so that an iteration is one
pass over a matrix of residuals. The draws are renewed from the prior found whenever it has become much narrower than
they are, and once more at the end.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import LANE_JIT
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods.bayes.likelihood import unit_signals
from ivimsc.methods.bayes.priors import Prior, draw, gaussian_prior, parameters, to_coordinates
from ivimsc.numerics.lanes import exp32

__all__ = ["Sample", "estimate_noise", "estimate_prior"]

SUM = {**LANE_JIT, "fastmath": {"contract", "nsz", "arcp", "reassoc"}}
BLOCK = 64  # voxels whose weights are summed together: fixed, so that threads cannot change the order of a sum
DRAWS = 3072
PARTS = 4, 1  # every fourth voxel until the prior has settled once, then all
ITERATIONS, TOLERANCE = 400, 3e-4  # most EM steps, until none moves the prior by 3e-4 SD
COVERED = 0.2  # effective share of the draws under a prior, below which they are renewed (0.66 when they are new)
WIDEN = 1.4  # draws are spread wider than the prior they come from, so that the prior can grow
FEWEST = 20.0  # mean effective draws per voxel below which the draws are too coarse to tell the noise level
SQUARES, EFFECTIVE = 0, 1  # columns of the sums of `_expectation`: E Σ r², and effective draws
FLOOR = 1e-4  # least variance of the prior in each coordinate: a spread of 1 %


class Sample(NamedTuple):
    """Voxels that tell the prior and the noise level.

    Attributes
    ----------
    signals : (voxel, b) on a common scale
    b : (b,) b-values [ms/µm²]
    root : (b,) factors that make the noise of all signals alike (see `likelihood.root_of`)
    s0 : S0 on that scale, 0 where it is unknown
    sigma : noise SD on that scale, 0 where it is integrated out for each voxel (prior 1 / σ)
    estimate_sigma : sigma is a first guess, to be made better
    """

    signals: NDArray[np.float32]
    b: NDArray[np.float32]
    root: NDArray[np.float32]
    s0: float
    sigma: float
    estimate_sigma: bool

    @property
    def freedom(self) -> int:
        """Number of b-values, less one where S0 is integrated out."""
        return len(self.b) - (0 if self.s0 > 0 else 1)


@njit(**LANE_JIT, cache=True)
def _residuals(start, stop, signals, s0, unit, squares, rest):
    """Put into rest (voxel, draw) the least Σ (y - S0 s)² over S0 (or at s0 where it is > 0)."""
    for v in range(start, stop):
        row = rest[v]
        y = signals[v]
        reference = s0 if s0 > np.float32(0) else y[0]
        product = np.zeros(len(row), np.float32)
        row[:] = np.float32(0)
        for i in range(len(y)):
            s = unit[i]
            for m in range(len(row)):
                r = y[i] - reference * s[m]
                row[m] += r * r
                product[m] += r * s[m]
        if not s0 > np.float32(0):
            for m in range(len(row)):
                row[m] = max(row[m] - product[m] * product[m] / squares[m], np.float32(0))


@njit(**SUM, cache=True)
def _expectation(start, stop, rest, factor, log_r, weights, sums):
    """Add up a block: weights (block, draw) of each draw; sums (block, 2), see SQUARES."""
    w = np.empty(len(log_r), np.float32)
    for first in range(start, stop, BLOCK):
        block = first // BLOCK
        total_weights, total_sums = weights[block], sums[block]
        for v in range(first, min(first + BLOCK, stop)):
            row = rest[v]
            highest = np.float32(-np.inf)
            for m in range(len(w)):
                w[m] = log_r[m] - factor * row[m]
                highest = max(highest, w[m])
            total = squares = expected = np.float32(0)
            for m in range(len(w)):
                w[m] = exp32(w[m] - highest)
                total += w[m]
                squares += w[m] * w[m]
                expected += w[m] * row[m]
            inverse = np.float32(1) / total
            total_sums[SQUARES] += expected * inverse
            total_sums[EFFECTIVE] += total * total / squares
            for m in range(len(w)):
                total_weights[m] += w[m] * inverse


class Expectation(NamedTuple):
    """What the E step finds: mean weight of each draw (draw,); per voxel the mean of E Σ r² and of the effective draws."""

    weights: NDArray[np.float64]
    squares: float
    effective: float


class _Likelihoods:
    """Likelihoods of the sample at one set of draws."""

    def __init__(self, sample: Sample, theta: NDArray[np.float64], launch: Launch) -> None:
        self.sample, self.launch = sample, launch
        n = len(sample.signals)
        unit = np.empty((len(sample.b), theta.shape[1]), np.float32)
        unit_signals(sample.b, np.ascontiguousarray(theta, np.float32), unit)
        unit *= sample.root[:, None]
        squares = (unit * unit).sum(0)
        self.rest = np.empty((n, theta.shape[1]), np.float32)
        s0 = np.float32(sample.s0)
        run_blocks(launch, _residuals, n, sample.signals * sample.root, s0, unit, squares, self.rest, block=BLOCK)
        self.log_base = np.zeros(theta.shape[1]) if sample.s0 > 0 else -0.5 * np.log(squares)
        if sample.sigma == 0 and not sample.estimate_sigma:
            np.log(np.maximum(self.rest, np.float32(1e-30)), out=self.rest)

    def expectation(self, log_r: NDArray[np.float64], sigma: float) -> Expectation:
        """The E step, with log_r (draw,) the log ratio of the prior to the density of the draws."""
        n = len(self.rest)
        blocks = -(-n // BLOCK)
        weights, sums = np.zeros((blocks, len(log_r))), np.zeros((blocks, 2))
        factor = np.float32(0.5 / sigma**2 if sigma > 0 else 0.5 * self.sample.freedom)
        log_r = (log_r + self.log_base).astype(np.float32)
        run_blocks(self.launch, _expectation, n, self.rest, factor, log_r, weights, sums, block=BLOCK)
        mean, sums = weights.sum(0) / n, sums.sum(0) / n
        return Expectation(mean / mean.sum(), sums[SQUARES], sums[EFFECTIVE])

    def next_sigma(self, found: Expectation, sigma: float) -> float:
        """The noise level that the residuals suggest; unchanged where the draws are too coarse to tell."""
        if not self.sample.estimate_sigma or found.effective < FEWEST:
            return sigma
        return max(np.sqrt(found.squares / self.sample.freedom), 1e-5)


def _log_density(prior: Prior, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log density (component, n) of each weighted Gaussian of the mixture at x (3, n)."""
    z = np.einsum("cij,cjn->cin", prior.whiten.astype(np.float64), x[None] - prior.means[:, :, None])
    return prior.constants[:, None] - 0.5 * (z * z).sum(1)


def _log_sum(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    highest = logs.max(0)
    return highest + np.log(np.exp(logs - highest).sum(0))


def _maximise(weights: NDArray, x: NDArray, shares: NDArray, bounds: NDArray) -> Prior:
    """The mixture that fits weighted points x (3, n); shares (component, n): how much of each point is whose."""
    parts = shares * weights
    total = np.maximum(parts.sum(1), 1e-12)
    means = parts @ x.T / total[:, None]
    offsets = x[None] - means[:, :, None]
    covariances = np.einsum("cn,cin,cjn->cij", parts, offsets, offsets, optimize=True) / total[:, None, None]
    return gaussian_prior(total / total.sum(), means, covariances + FLOOR * np.eye(3), bounds)


def _spread(prior: Prior) -> Prior:
    """The mixture with every component wider by WIDEN."""
    whiten = prior.whiten.astype(np.float64) / WIDEN
    constants = prior.constants - 3 * np.log(WIDEN)
    return prior._replace(whiten=whiten.astype(np.float32), constants=constants.astype(np.float32))


def _first_shares(weights: NDArray, x: NDArray, components: int) -> NDArray[np.float64]:
    """Start of a mixture: the points cut into parts of equal weight along D, the best determined coordinate."""
    order = np.argsort(x[1])
    place = np.empty(len(order))
    place[order] = np.cumsum(weights[order])
    part = np.minimum((place * components).astype(int), components - 1)
    return (part == np.arange(components)[:, None]).astype(float)


def estimate_prior(sample: Sample, broad: Prior, bounds: NDArray, components: int, seed: int,
                   launch: Launch) -> tuple[Prior, float, int]:  # fmt: skip
    """The Gaussian prior (or mixture) of a sample, its noise level, and the EM steps taken.

    Parameters
    ----------
    sample : voxels that tell them
    broad : the box prior that the first draws come from, uniform in f and reciprocal in D and D*
    bounds : (3, 2) bounds of f, D, D* [µm²/ms], which hold for the prior too
    components : number of Gaussians
    seed : shifts the draws
    launch : its threads

    Returns
    -------
    the prior, the noise SD on the scale of the sample, and the number of steps
    """
    theta = parameters(broad, draw(broad, DRAWS, seed))
    x = to_coordinates(theta)
    log_q = np.log(theta[0] * (1 - theta[0]))  # density of x: f (1 - f), and level in ln D and ln D*
    prior, sigma, steps, settled = None, sample.sigma, 0, 0
    while settled < len(PARTS) and steps < ITERATIONS:
        some = sample._replace(signals=np.ascontiguousarray(sample.signals[:: PARTS[settled]]))
        likelihoods = _Likelihoods(some, theta, launch)
        alive = True
        while alive and steps < ITERATIONS:
            before, last = sigma, prior
            prior, sigma, alive = _step(likelihoods, prior, x, log_q, sigma, components, bounds)
            steps += 1
            if last is not None and not _moved(last, prior) and abs(sigma - before) <= TOLERANCE * sigma:
                settled += 1  # twice: with the draws that led here, and with new ones
                break
        wide = _spread(prior)
        x = draw(wide, DRAWS, seed)
        theta = parameters(wide, x)
        log_q = _log_sum(_log_density(wide, x))
    return prior, sigma, steps


def _step(likelihoods: _Likelihoods, prior: Prior | None, x: NDArray, log_q: NDArray, sigma: float, components: int,
          bounds: NDArray) -> tuple[Prior, float, bool]:  # fmt: skip
    """One step of EM: the prior and noise level found, and whether the draws still cover that prior densely.

    A prior much narrower than its draws rests on a few of them, and EM would then shrink it onto single draws.
    """
    if prior is None:
        expected = likelihoods.expectation(np.zeros(x.shape[1]), sigma)
        shares = _first_shares(expected.weights, x, components)
    else:
        logs = _log_density(prior, x)
        mixture = _log_sum(logs)
        expected = likelihoods.expectation(mixture - log_q, sigma)
        shares = np.exp(logs - mixture)
    found = _maximise(expected.weights, x, shares, bounds)
    log_r = _log_sum(_log_density(found, x)) - log_q
    r = np.exp(log_r - log_r.max())
    alive = r.sum() ** 2 > COVERED * len(r) * (r * r).sum()
    return found, likelihoods.next_sigma(expected, sigma), bool(alive)


def _moved(before: Prior, after: Prior) -> bool:
    """Whether an EM step still moved a mean or a spread by TOLERANCE standard deviations."""
    shift = np.einsum("cij,cj->ci", before.whiten, after.means - before.means)
    stretch = np.einsum("cij,cjk->cik", before.whiten, np.linalg.inv(after.whiten)) - np.eye(3)
    return max(np.abs(shift).max(), np.abs(stretch).max()) > TOLERANCE


def estimate_noise(sample: Sample, theta: NDArray[np.float64], launch: Launch) -> float:
    """The noise level under a given prior.

    Parameters
    ----------
    sample : voxels that tell it
    theta : (3, n) draws of the prior: f, D, D* [µm²/ms]
    launch : its threads

    Returns
    -------
    the noise SD on the scale of the sample
    """
    likelihoods = _Likelihoods(sample, theta, launch)
    sigma = sample.sigma
    for _ in range(ITERATIONS):
        expected = likelihoods.expectation(np.zeros(theta.shape[1]), sigma)
        before, sigma = sigma, likelihoods.next_sigma(expected, sigma)
        if abs(sigma - before) <= TOLERANCE * sigma:
            break
    return sigma
