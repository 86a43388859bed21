"""Posterior moments on a GPU: `posterior`, one block of threads per voxel, its points shared out among them.

The three steps, the point sets and the formulas are the CPU's, a thread's point being an array of length one; what is
written anew is the sharing out and the sums over threads. A block takes up voxel after voxel. The weights of its points,
and the points of its local rounds, are in device memory, (block, row, point): neighbouring threads, neighbouring floats.
They stay in the L2 cache of a large card: 396 blocks with 4,096 shared draws and 2,048 points of their own take 32 MB.
"""

import math

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import grid, on_device, run_chunks, threads_for
from ivimsc.methods.bayes import likelihood, posterior, priors, weighted_points
from ivimsc.methods.bayes.block_sums import SUMS, largest, moments, weigh
from ivimsc.methods.bayes.draws import Draws, Proposal
from ivimsc.methods.bayes.likelihood import Model
from ivimsc.methods.bayes.posterior import CLIMBS, FIELDS, HALVINGS, SHRINK, Settings
from ivimsc.methods.bayes.priors import Prior
from ivimsc.numerics import scaling

__all__ = ["Posterior", "finish_kernel", "posterior_kernel"]

ZERO, ONE, HALF, LOWEST = np.float32(0), np.float32(1), np.float32(0.5), np.float32(-np.inf)
WAVES = 3  # blocks per multiprocessor: as many as 154 registers leave room for, so that all begin at once
CHUNK = 2**18  # voxels
SMALL = 48  # and numbers of the voxel
BAD = 5  # estimates.Outcome
_scale_of, _tile, _unit_signals, _finish = (
    as_device(f) for f in (scaling.scale_of, likelihood.tile, likelihood.unit_signals, posterior.finish)
)
_map_points, _log_prior, _subtract_log_jacobian = (
    as_device(f) for f in (priors.map_points, priors.log_prior, priors.subtract_log_jacobian)
)
_cholesky, _place, _shift = (
    as_device(f) for f in (weighted_points.cholesky, weighted_points.place, weighted_points.shift)
)


@cuda.jit(device=True)
def _gather(log_w, s0, theta, n, highest, at, sums, mean, covariance, found):
    """`posterior._gather` over all threads: found[:9]; returns the effective sample size."""
    total, squares, extra = moments(log_w, s0, theta, n, highest, at, ONE, sums, mean, covariance)
    ess = total * total / squares
    if cuda.threadIdx.x == 0:
        found[0], found[8] = extra / total, ess
        for k in range(3):
            found[1 + k] = mean[k]
            found[5 + k] = math.sqrt(max(covariance[k, k], ZERO))
    cuda.syncthreads()
    return ess


@cuda.jit(device=True)
def _propose(log_w, s0, t, n, highest, at, ess, tempered, sums, mean, covariance, root):
    """`posterior._propose` over all threads; ess: the effective sample size with the weights as they are."""
    exponent, halvings = ONE, 0
    while ess < tempered and halvings < HALVINGS:
        exponent *= HALF
        halvings += 1
        _, ess = weigh(log_w, n, highest, exponent, sums)
    moments(log_w, s0, t, n, highest, at, exponent, sums, mean, covariance)
    if cuda.threadIdx.x == 0:
        _cholesky(covariance, root)
    cuda.syncthreads()


@cuda.jit(device=True)
def _evaluate(y, model, factor, prior, reference, x, minus_log_density, t, theta, column):
    """`posterior._evaluate` of one point t (3, 1): ln likelihood, ln prior, S0; theta (3, 1), column (b, 1) are written."""
    rs, ss = cuda.local.array(1, float32), cuda.local.array(1, float32)
    s, log_w, density = cuda.local.array(1, float32), cuda.local.array(1, float32), cuda.local.array(1, float32)
    _map_points(prior, t, theta)
    _unit_signals(model.b, theta, column)
    _tile(y, column, 0, model, factor, reference, x, minus_log_density, rs, ss, s, log_w)
    _log_prior(prior, t, rs, density)
    return log_w[0], density[0], s[0]


@cuda.jit(device=True)
def _global(y, model, factor, shared, log_w, s0):
    """Likelihood of the shared draws into log_w, s0 (n,); this thread's best by likelihood and by density, with places."""
    rs, ss = cuda.local.array(1, float32), cuda.local.array(1, float32)
    s, out = cuda.local.array(1, float32), cuda.local.array(1, float32)
    high, at, peak, best = LOWEST, 0, LOWEST, 0
    for m in range(cuda.threadIdx.x, shared.t.shape[1], cuda.blockDim.x):
        x, minus_log_density = shared.spread[0, m : m + 1], shared.spread[1, m : m + 1]
        _tile(y, shared.signals[:, m : m + 1], 0, model, factor, ONE, x, minus_log_density, rs, ss, s, out)
        log_w[m], s0[m] = out[0], s[0]
        if out[0] > high:
            high, at = out[0], m
        if out[0] + shared.log_density[m] > peak:
            peak, best = out[0] + shared.log_density[m], m
    return high, at, peak, best


@cuda.jit(device=True)
def _local(y, model, factor, prior, proposal, reference, start, mean, root, column, log_w, s0, points):
    """Weights of the points of a local round into log_w, s0 (n,), t and θ into points (6, n); the best as in `_global`."""
    t, theta = cuda.local.array((3, 1), float32), cuda.local.array((3, 1), float32)
    high, at, peak, best = LOWEST, 0, LOWEST, 0
    for m in range(cuda.threadIdx.x, proposal.n, cuda.blockDim.x):
        k = start + m
        _place(proposal, k, mean, root, ONE, t)
        x, minus = proposal.spread[0, k : k + 1], proposal.spread[1, k : k + 1]
        value, density, s = _evaluate(y, model, factor, prior, reference, x, minus, t, theta, column)
        value += density + proposal.minus_log_density[k]
        log_w[m], s0[m] = value, s
        for i in range(3):
            points[i, m], points[3 + i, m] = t[i, 0], theta[i, 0]
        if value > high:
            high, at = value, m
        if value - proposal.minus_log_density[k] > peak:
            peak, best = value - proposal.minus_log_density[k], m
    return high, at, peak, best


@cuda.jit(device=True)
def _climb(y, model, factor, prior, proposal, start, climb, root, best, column, sums, found):
    """`posterior._climb` over all threads: the maximum of the posterior density, from best (3,), into found[9:12]."""
    t, theta = cuda.local.array((3, 1), float32), cuda.local.array((3, 1), float32)
    zero, density, kept = cuda.local.array(1, float32), cuda.local.array(1, float32), cuda.local.array((3, 2), float32)
    zero[0], shrink = ZERO, ONE
    for _ in range(CLIMBS):
        high, at = LOWEST, 0
        for m in range(cuda.threadIdx.x, climb, cuda.blockDim.x):
            _place(proposal, start + m, best, root, shrink, t)
            if m == 0:  # the best so far is never lost
                t[0, 0], t[1, 0], t[2, 0] = best[0], best[1], best[2]
            value, density[0], _ = _evaluate(y, model, factor, prior, found[0], zero, zero, t, theta, column)
            _subtract_log_jacobian(prior, t, density)
            if value + density[0] > high:
                high, at = value + density[0], m
                for i in range(3):
                    kept[i, 0], kept[i, 1] = t[i, 0], theta[i, 0]
        _, place = largest(sums, high, at)
        if place == at and at % cuda.blockDim.x == cuda.threadIdx.x:
            for i in range(3):
                best[i], found[9 + i] = kept[i, 0], kept[i, 1]
        cuda.syncthreads()
        shrink *= SHRINK


@cuda.jit(cache=True)
def posterior_kernel(
    first, size, number, signals, b, s0, sigma, rician,
    draw_t, draw_theta, draw_signals, draw_density, draw_spread, n, x, minus_log_density, spread,
    kinds, low, span, constants, means, whiten, limits, target, rounds, tempered, climb, seed, weights, points, result,
):  # fmt: skip
    """Moments and maximum of the voxels first .. first + size into result (FIELDS, voxel), of scaled signals.

    number: of voxel 0 in the whole data set; b .. rician: Model; draw_t .. draw_spread: Draws; n .. spread: Proposal;
    kinds .. limits: Prior; target .. seed: Settings; weights (block, 2, n), points (block, 6, n): scratch.
    """
    block, lane, width, n_b = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x, b.shape[0]
    room = cuda.shared.array(0, float32)  # signals of each thread's point (b, thread), sums over threads, y (b,)
    column, sums, y = room[lane : n_b * width : width][:, None], room[n_b * width :], room[(n_b + SUMS) * width :]
    mean = cuda.shared.array(3, float32)  # one line each: the simulator tells shared arrays apart by their lines
    covariance = cuda.shared.array((3, 3), float32)
    root = cuda.shared.array((3, 3), float32)
    best = cuda.shared.array(3, float32)
    found = cuda.shared.array(FIELDS, float32)
    trial = cuda.shared.array(FIELDS, float32)
    draws = Draws(draw_t, draw_theta, draw_signals, draw_density, draw_spread)
    proposal, prior = (
        Proposal(n, x, minus_log_density, spread),
        Prior(kinds, low, span, constants, means, whiten, limits),
    )
    model, sampled = Model(b, s0, sigma, rician), Model(b, s0, sigma, rician and rounds == 0)
    log_w, s = weights[block, 0], weights[block, 1]
    t, theta = points[block, :3], points[block, 3:]
    for i in range(block, size, cuda.gridDim.x):
        v = first + i
        factor = _scale_of(signals, v)
        if factor > ZERO:
            for m in range(lane, n_b, width):
                y[m] = signals[v, m] / factor
            cuda.syncthreads()
            high, at, peak, top = _global(y[:n_b], sampled, factor, draws, log_w, s)
            high, at = largest(sums, high, at)
            _, top = largest(sums, peak, top)
            ess = _gather(log_w, s, draw_theta, draw_t.shape[1], high, at, sums, mean, covariance, found)
            for k in range(lane, 3, width):
                best[k], found[9 + k] = draw_t[k, top], draw_theta[k, top]
            if rounds > 0:
                _propose(log_w, s, draw_t, draw_t.shape[1], high, at, ess, tempered, sums, mean, covariance, root)
            ess, start, trip = ZERO, 0, 0
            while trip < rounds and not ess >= target:
                start = _shift(proposal, seed, number + v, trip)
                high, at, peak, top = _local(
                    y[:n_b], model, factor, prior, proposal, found[0], start, mean, root, column, log_w, s, points[block]
                )  # fmt: skip
                high, at = largest(sums, high, at)
                _, top = largest(sums, peak, top)
                new = _gather(log_w, s, theta, n, high, at, sums, mean, covariance, trial)
                if new > ess:
                    ess = new
                    for k in range(lane, 9, width):
                        found[k] = trial[k]
                    for k in range(lane, 3, width):
                        best[k] = t[k, top]
                cuda.syncthreads()
                _propose(log_w, s, t, n, high, at, new, tempered, sums, mean, covariance, root)
                trip += 1
            if rounds > 0:
                _climb(y[:n_b], model, factor, prior, proposal, start, climb, root, best, column, sums, found)
        cuda.syncthreads()
        for k in range(lane, FIELDS, width):
            result[k, v] = found[k] if factor > ZERO else np.float32(np.nan)
        cuda.syncthreads()


@cuda.jit(cache=True)
def finish_kernel(first, size, signals, b, least, result, outcome):
    """Units and outcomes of what `posterior_kernel` found: one thread per voxel."""
    i = cuda.grid(1)
    if i >= size:
        return
    v = first + i
    factor = _scale_of(signals, v)
    if factor > ZERO:
        _finish(signals, factor, b, least, v, result[:, v], result, outcome)
    else:
        outcome[v] = BAD


class Posterior:
    """bayes on a GPU for one protocol, prior and noise level."""

    def __init__(
        self, launch: Launch, model: Model, prior: Prior, draws: Draws, proposal: Proposal, settings: Settings
    ) -> None:
        self.launch, self.model, self.settings = launch, model, settings
        n_b = len(model.b)
        self.threads = threads_for(n_b + SUMS, f"bayes with {n_b} b-values", n_b + SMALL)
        self.shared = 4 * ((n_b + SUMS) * self.threads + n_b)
        n, drawn = proposal.n, draws.t.shape[1]
        with on_device(launch):
            self.b = cuda.to_device(model.b)
            self.draws = [cuda.to_device(array) for array in draws]
            self.proposal = [n, *(cuda.to_device(array) for array in proposal[1:])]
            self.prior = [cuda.to_device(np.ascontiguousarray(array)) for array in prior]
            blocks = grid(2**31, 1, WAVES)
        self.scratch = [((blocks, 2, max(n, drawn)), np.float32), ((blocks, 6, n), np.float32)]

    def run(self, signals, number: int, result, outcome) -> None:
        """Posteriors of signals (voxel, b) float32, the first of them voxel `number` of the data set.

        result (FIELDS, voxel) float32 and outcome (voxel,) uint8 are on the same side as the signals.
        """
        m, s = self.model, self.settings

        def work(stream, start, first, size, inputs, outputs, scratch):
            posterior_kernel[grid(size, 1, WAVES), self.threads, stream, self.shared](
                first, size, number + start - first, *inputs, self.b, m.s0, m.sigma, m.rician, *self.draws,
                *self.proposal, *self.prior, np.float32(s.target), s.rounds, np.float32(s.tempered), s.climb, s.seed,
                *scratch, outputs[0],
            )  # fmt: skip
            finish_kernel[grid(size, self.threads), self.threads, stream](
                first, size, *inputs, self.b, np.float32(s.least), *outputs
            )

        run_chunks(
            self.launch, len(signals), [signals], [result, outcome], [], work, chunk=CHUNK, fixed=self.scratch
        )  # fmt: skip
