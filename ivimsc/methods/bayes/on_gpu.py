"""Posterior moments on a GPU: `posterior`, one block of threads per voxel, its points shared out among them.

The three steps, the point sets and the formulas are the CPU's, a thread's point being an array of length one; what is
written anew is the sharing out and the sums over threads. A block takes up voxel after voxel. The weights of its points,
and the points of its local rounds, are in device memory, (block, row, point): neighbouring threads, neighbouring floats.
They stay in the L2 cache of a large card: 396 blocks with 4,096 shared draws and 2,048 points of their own take 32 MB.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float32

from ivimsc.device.device_functions import as_device
from ivimsc.device.launch import Launch
from ivimsc.device.streaming import grid, on_device, run_chunks, threads_for
from ivimsc.methods.bayes import likelihood, priors, rows, summary, weighted_points
from ivimsc.methods.bayes.block_sums import SUMS, Block, largest, moments, weigh
from ivimsc.methods.bayes.likelihood import NoiseModel, Spread, Terms
from ivimsc.methods.bayes.posterior import CLIMBS, HALVINGS, SHRINK
from ivimsc.methods.bayes.problem import Problem
from ivimsc.numerics import scaling
from ivimsc.numerics.ending import BAD_SIGNAL

__all__ = ["Posterior", "finish_kernel", "posterior_kernel"]

ZERO, ONE, HALF, LOWEST = np.float32(0), np.float32(1), np.float32(0.5), np.float32(-np.inf)
WAVES = 3  # blocks per multiprocessor: as many as 154 registers leave room for, so that all begin at once
CHUNK = 2**18  # voxels
ROWS = rows.ROWS  # a name of this module: numba wants the shape of a shared array as one
SMALL = 48  # and numbers of the voxel
_scale_of, _scaled, _tile, _weighted_signals, _finish, _put_moments, _put_maximum = (
    as_device(f)
    for f in (
        scaling.scale_of, likelihood.scaled, likelihood.tile, likelihood.weighted_signals, summary.finish,
        summary.put_moments, summary.put_maximum,
    )
)  # fmt: skip
_map_points, _log_prior, _subtract_log_jacobian = (
    as_device(f) for f in (priors.map_points, priors.log_prior, priors.subtract_log_jacobian)
)
_cholesky, _place, _shift = (
    as_device(f) for f in (weighted_points.cholesky, weighted_points.place, weighted_points.shift)
)


class Held(NamedTuple):
    """What a block keeps of its points in device memory: log_w (n,), s0 (n,), t (3, n), theta (3, n)."""

    log_w: Any
    s0: Any
    t: Any
    theta: Any


@cuda.jit(device=True)
def _gather(log_w, s0, theta, peak, block, found):
    """`posterior._gather` over all threads: into found (row,); returns the effective sample size."""
    mean_s0, ess = moments(log_w, s0, theta, peak, ONE, block)
    if cuda.threadIdx.x == 0:
        _put_moments(mean_s0, ess, block.mean, block.covariance, found)
    cuda.syncthreads()
    return ess


@cuda.jit(device=True)
def _propose(log_w, s0, t, peak, ess, tempered, block):
    """`posterior._propose` over all threads; ess: the effective sample size with the weights as they are."""
    exponent, halvings = ONE, 0
    while ess < tempered and halvings < HALVINGS:
        exponent *= HALF
        halvings += 1
        ess = weigh(log_w, peak[0], exponent, block.sums)
    moments(log_w, s0, t, peak, exponent, block)
    if cuda.threadIdx.x == 0:
        _cholesky(block.covariance, block.root)
    cuda.syncthreads()


@cuda.jit(device=True)
def _evaluate(noise, prior, reference, spread, t, theta, block):
    """`posterior._evaluate` of one point t (3, 1): ln likelihood, ln prior, S0; theta (3, 1) and the column are written."""
    rs, ss = cuda.local.array(1, float32), cuda.local.array(1, float32)
    s, log_w, density = cuda.local.array(1, float32), cuda.local.array(1, float32), cuda.local.array(1, float32)
    _map_points(prior, t, theta)
    _weighted_signals(noise, theta, block.column)
    _tile(block.y, block.column, 0, noise, reference, spread, Terms(rs, ss, s, log_w))
    _log_prior(prior, t, rs, density)
    return log_w[0], density[0], s[0]


@cuda.jit(device=True)
def _global(noise, draws, y, log_w, s0):
    """Likelihood of the shared draws into log_w, s0 (n,); this thread's best by likelihood and by density, with places."""
    rs, ss = cuda.local.array(1, float32), cuda.local.array(1, float32)
    s, out = cuda.local.array(1, float32), cuda.local.array(1, float32)
    high, at, peak, best = LOWEST, 0, LOWEST, 0
    for m in range(cuda.threadIdx.x, draws.t.shape[1], cuda.blockDim.x):
        spread = Spread(draws.spread.x[m : m + 1], draws.spread.minus_log_density[m : m + 1])
        _tile(y, draws.signals[:, m : m + 1], 0, noise, ONE, spread, Terms(rs, ss, s, out))
        log_w[m], s0[m] = out[0], s[0]
        if out[0] > high:
            high, at = out[0], m
        if out[0] + draws.log_density[m] > peak:
            peak, best = out[0] + draws.log_density[m], m
    return high, at, peak, best


@cuda.jit(device=True)
def _local(noise, problem, start, block, held):
    """Weights and points of a local round into `held`; this thread's best as in `_global`."""
    prior, proposal = problem.prior, problem.proposal
    t, theta = cuda.local.array((3, 1), float32), cuda.local.array((3, 1), float32)
    high, at, peak, best = LOWEST, 0, LOWEST, 0
    for m in range(cuda.threadIdx.x, proposal.n, cuda.blockDim.x):
        k = start + m
        _place(proposal, k, block.mean, block.root, ONE, t)
        spread = Spread(proposal.spread.x[k : k + 1], proposal.spread.minus_log_density[k : k + 1])
        value, density, s = _evaluate(noise, prior, block.found[rows.S0], spread, t, theta, block)
        value += density + proposal.minus_log_density[k]
        held.log_w[m], held.s0[m] = value, s
        for i in range(3):
            held.t[i, m], held.theta[i, m] = t[i, 0], theta[i, 0]
        if value > high:
            high, at = value, m
        if value - proposal.minus_log_density[k] > peak:
            peak, best = value - proposal.minus_log_density[k], m
    return high, at, peak, best


@cuda.jit(device=True)
def _climb(noise, problem, start, block):
    """`posterior._climb` over all threads: the maximum of the posterior density, from block.best, into block.found."""
    t, theta = cuda.local.array((3, 1), float32), cuda.local.array((3, 1), float32)
    zero, density, kept = cuda.local.array(1, float32), cuda.local.array(1, float32), cuda.local.array((3, 2), float32)
    zero[0], shrink, best, found = ZERO, ONE, block.best, block.found
    for _ in range(CLIMBS):
        high, at = LOWEST, 0
        for m in range(cuda.threadIdx.x, problem.sampling.climb, cuda.blockDim.x):
            _place(problem.proposal, start + m, best, block.root, shrink, t)
            if m == 0:  # the best so far is never lost
                t[0, 0], t[1, 0], t[2, 0] = best[0], best[1], best[2]
            value, density[0], _ = _evaluate(noise, problem.prior, found[rows.S0], Spread(zero, zero), t, theta, block)
            _subtract_log_jacobian(problem.prior, t, density)
            if value + density[0] > high:
                high, at = value + density[0], m
                for i in range(3):
                    kept[i, 0], kept[i, 1] = t[i, 0], theta[i, 0]
        _, place = largest(block.sums, high, at)
        if place == at and at % cuda.blockDim.x == cuda.threadIdx.x:
            best[0], best[1], best[2] = kept[0, 0], kept[1, 0], kept[2, 0]
            _put_maximum(kept, 1, found)
        cuda.syncthreads()
        shrink *= SHRINK


@cuda.jit(cache=True)
def posterior_kernel(first, size, number, signals, problem, weights, points, values):
    """Moments and maximum of the voxels first .. first + size, of scaled signals.

    Parameters
    ----------
    first, size : the voxels
    number : of voxel 0 in the whole data set
    signals : (voxel, b) float32
    problem : `Problem`, its arrays on the GPU
    weights, points : (block, 2, n), (block, 6, n) scratch: log weights and S0; t and theta
    values : (row, voxel) filled
    """
    noise_model, draws, prior_t, sampling = problem.noise, problem.draws, problem.draws.t, problem.sampling
    n_b, drawn, n, rounds = noise_model.b.shape[0], prior_t.shape[1], problem.proposal.n, sampling.rounds
    lane, width = cuda.threadIdx.x, cuda.blockDim.x
    room = cuda.shared.array(0, float32)  # signals of each thread's point (b, thread), sums over threads, y (b,)
    column, sums, y = room[lane : n_b * width : width][:, None], room[n_b * width :], room[(n_b + SUMS) * width :][:n_b]
    mean = cuda.shared.array(3, float32)  # one line each: the simulator tells shared arrays apart by their lines
    covariance = cuda.shared.array((3, 3), float32)
    root = cuda.shared.array((3, 3), float32)
    best = cuda.shared.array(3, float32)
    found = cuda.shared.array(ROWS, float32)
    trial = cuda.shared.array(ROWS, float32)
    block = Block(y, column, sums, mean, covariance, root, best, found, trial)
    log_w, s0 = weights[cuda.blockIdx.x, 0], weights[cuda.blockIdx.x, 1]
    t, theta = points[cuda.blockIdx.x, :3], points[cuda.blockIdx.x, 3:]
    held = Held(log_w[:n], s0[:n], t, theta)
    for i in range(cuda.blockIdx.x, size, cuda.gridDim.x):
        v = first + i
        factor = _scale_of(signals, v)
        if factor > ZERO:
            for m in range(lane, n_b, width):
                y[m] = signals[v, m] * noise_model.root[m] / factor
            cuda.syncthreads()
            noise = _scaled(noise_model, factor)
            sampled = NoiseModel(noise.b, noise.root, noise.s0, noise.sigma, noise.rician and rounds == 0)
            high, at, density, top = _global(sampled, draws, y, log_w, s0)
            peak = largest(sums, high, at)
            _, top = largest(sums, density, top)
            ess = _gather(log_w[:drawn], s0, draws.theta, peak, block, found)
            if lane == 0:
                best[0], best[1], best[2] = prior_t[0, top], prior_t[1, top], prior_t[2, top]
                _put_maximum(draws.theta, top, found)
            if rounds > 0:
                _propose(log_w[:drawn], s0, prior_t, peak, ess, sampling.tempered, block)
            ess, start, trip = ZERO, 0, 0
            while trip < rounds and not ess >= sampling.target:
                start = _shift(problem.proposal, sampling.seed, number + v, trip)
                high, at, density, top = _local(noise, problem, start, block, held)
                peak = largest(sums, high, at)
                _, top = largest(sums, density, top)
                new = _gather(held.log_w, s0, theta, peak, block, trial)
                if new > ess:
                    ess = new
                    for k in range(lane, rows.MAXIMUM, width):
                        found[k] = trial[k]
                    for k in range(lane, 3, width):
                        best[k] = t[k, top]
                cuda.syncthreads()
                _propose(held.log_w, s0, t, peak, new, sampling.tempered, block)
                trip += 1
            if rounds > 0:
                _climb(noise, problem, start, block)
        cuda.syncthreads()
        for k in range(lane, ROWS, width):
            values[k, v] = found[k] if factor > ZERO else np.float32(np.nan)
        cuda.syncthreads()


@cuda.jit(cache=True)
def finish_kernel(first, size, signals, b, sampling, values, outcome):
    """Units and outcomes of what `posterior_kernel` found: one thread per voxel."""
    i = cuda.grid(1)
    if i >= size:
        return
    v = first + i
    factor = _scale_of(signals, v)
    if factor > ZERO:
        _finish(signals, v, factor, b, sampling, values[:, v], values, outcome)
    else:
        outcome[v] = BAD_SIGNAL


def _to_device(value: Any) -> Any:
    """A NamedTuple with its arrays, those of the NamedTuples inside too, on the current GPU."""
    if isinstance(value, tuple):
        return type(value)(*map(_to_device, value))
    return cuda.to_device(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value


class Posterior:
    """bayes on a GPU for one problem: protocol, prior and noise level."""

    def __init__(self, launch: Launch, problem: Problem) -> None:
        self.launch = launch
        n_b, n = len(problem.noise.b), problem.proposal.n
        self.threads = threads_for(n_b + SUMS, f"bayes with {n_b} b-values", n_b + SMALL)
        self.shared = 4 * ((n_b + SUMS) * self.threads + n_b)
        with on_device(launch):
            self.problem = _to_device(problem)
            blocks = grid(2**31, 1, WAVES)
        most = max(n, problem.draws.t.shape[1])
        self.scratch = [((blocks, 2, most), np.float32), ((blocks, 6, n), np.float32)]

    def run(self, signals: Any, number: int, values: Any, outcome: Any) -> None:
        """Posteriors of signals.

        Parameters
        ----------
        signals : (voxel, b) float32
        number : of the first of them in the data set
        values, outcome : (row, voxel) float32 and (voxel,) uint8, filled; on the same side as the signals
        """
        b, sampling = self.problem.noise.b, self.problem.sampling

        def work(stream, start, first, size, inputs, outputs, scratch):
            posterior_kernel[grid(size, 1, WAVES), self.threads, stream, self.shared](
                first, size, number + start - first, *inputs, self.problem, *scratch, outputs[0]
            )
            finish_kernel[grid(size, self.threads), self.threads, stream](first, size, *inputs, b, sampling, *outputs)

        run_chunks(
            self.launch, len(signals), [signals], [values, outcome], [], work, chunk=CHUNK, fixed=self.scratch
        )  # fmt: skip
