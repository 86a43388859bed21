"""The last step: the posterior of each voxel under the prior that its neighbours make, by the points of `posterior`.

A prior of some thirty components, most of them nearly the same, is first gathered into at most `MOST`, by what they say and never by
what the voxel's own signal says. The local points begin at the belief of the last sweep, so that no shared draws are needed.
"""

import math

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, KERNEL
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.likelihood import NoiseModel, scaled
from ivimsc.methods.bayes.posterior import OUTSIDE, climb, first_look, local_rounds, new_scratch
from ivimsc.methods.bayes.priors import Prior
from ivimsc.methods.bayes.problem import Problem
from ivimsc.methods.bayes.spatial.gaussians import along, inverse, plus
from ivimsc.methods.bayes.spatial.sites import collapse, six
from ivimsc.methods.bayes.spatial.sweeps import neighbour, open_weights
from ivimsc.methods.bayes.summary import finish
from ivimsc.methods.bayes.weighted_points import cholesky, top
from ivimsc.numerics.ending import BAD_SIGNAL

__all__ = ["MOST", "spatial_kernel"]

MOST = 6  # components that the neighbours' are gathered into
ALIKE = 1.0  # squared distance of two components, in their own spreads, up to which they are one
LOG_2PI = 1.8378770664093453


@njit(**JIT)
def _gather(n, logs, trial, free, merged, weights):
    """Gather n components, log weights (k,), moments (k, 9), into merged (MOST, 9) and weights (MOST,); returns how many."""
    some, picked = np.empty(n), np.empty((n, 9))
    for k in range(n):
        free[k] = True
    for c in range(MOST):
        first = -1
        for k in range(n):
            if free[k] and (first < 0 or logs[k] > logs[first]):
                first = k
        if first < 0:
            return c
        count, share = 0, 0.0
        for k in range(n):
            if not free[k]:
                continue
            d0, d1, d2 = trial[k, 0] - trial[first, 0], trial[k, 1] - trial[first, 1], trial[k, 2] - trial[first, 2]
            v, _ = inverse(plus(six(trial[k, 3:]), six(trial[first, 3:])))
            x, y, z = along(v, d0, d1, d2)
            if c == MOST - 1 or x * d0 + y * d1 + z * d2 <= ALIKE:
                free[k] = False
                some[count], picked[count] = logs[k], trial[k]
                share += math.exp(logs[k])
                count += 1
        _, x, y, z, covariance = collapse(some, picked, count)
        merged[c, 0], merged[c, 1], merged[c, 2] = x, y, z
        merged[c, 3], merged[c, 4], merged[c, 5], merged[c, 6], merged[c, 7], merged[c, 8] = covariance
        weights[c] = share
    return MOST


@njit(**JIT)
def _put_component(prior, c, weight, moments, matrix, root):
    """Write a Gaussian of some weight and moments (9,) into the prior; scratch: matrix, root (3, 3)."""
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = moments[3], moments[4], moments[5]
    matrix[1, 1], matrix[1, 2], matrix[2, 2] = moments[6], moments[7], moments[8]
    cholesky(matrix, root)
    w = prior.whiten[c]
    w[0, 0], w[1, 1], w[2, 2] = 1.0 / root[0, 0], 1.0 / root[1, 1], 1.0 / root[2, 2]
    w[1, 0] = -root[1, 0] * w[0, 0] * w[1, 1]
    w[2, 1] = -root[2, 1] * w[1, 1] * w[2, 2]
    w[2, 0] = -(root[2, 0] * w[0, 0] + root[2, 1] * w[1, 0]) * w[2, 2]
    prior.constants[c] = math.log(weight) + math.log(w[0, 0] * w[1, 1] * w[2, 2]) - 1.5 * LOG_2PI
    prior.means[c, 0], prior.means[c, 1], prior.means[c, 2] = moments[0], moments[1], moments[2]


@njit(**JIT)
def _prior_of(v, base, hood, beliefs, coupling, large, scratch):
    """The prior of voxel v, in the memory of `large`: what its neighbours lend, and then the population."""
    numbers, ring, logs, trial, free, merged, weights, matrix, root = scratch
    n, total = open_weights(hood, v, coupling, numbers, ring)
    alone, count = 1.0, 0
    if n > 0 and total > 0.0 and coupling.alone < 1.0:
        alone = coupling.alone
        for k in range(n):
            u = numbers[k]
            logs[k] = math.log((1.0 - alone) * coupling.weights[ring[k]] / total + 1e-300)
            trial[k, 0], trial[k, 1], trial[k, 2] = beliefs.mean[u, 0], beliefs.mean[u, 1], beliefs.mean[u, 2]
            trial[k, 3], trial[k, 4], trial[k, 5], trial[k, 6], trial[k, 7], trial[k, 8] = neighbour(
                beliefs, u, coupling
            )
        count = _gather(n, logs, trial, free, merged, weights)
        for c in range(count):
            _put_component(large, c, weights[c], merged[c], matrix, root)
    shift, end = math.log(alone), count + len(base.constants)
    for c in range(len(base.constants)):
        large.constants[count + c] = base.constants[c] + shift
        large.means[count + c] = base.means[c]
        large.whiten[count + c] = base.whiten[c]
    return Prior(
        base.kinds, base.low, base.span, large.constants[:end], large.means[:end], large.whiten[:end], base.limits
    )


@njit(**KERNEL)
def spatial_kernel(start, stop, first, signals, scale, problem, hood, beliefs, coupling, results):
    """Posteriors of the voxels start..stop of signals (voxel, b), whose numbers in the data set begin at `first`.

    Parameters
    ----------
    start, stop, first, signals, scale, problem, results : as for `posterior.posterior_kernel`; the prior of `problem` is
        the population
    hood : `Neighbourhood`
    beliefs : `Beliefs` of the last sweep
    coupling : `Coupling`
    """
    e, base, limits = np.float32, problem.prior, problem.sampling
    n_k, n_c = len(hood.offsets) + 1, len(base.constants) + MOST
    large = Prior(
        base.kinds, base.low, base.span, np.zeros(n_c, e), np.zeros((n_c, 3), e), np.zeros((n_c, 3, 3), e), base.limits
    )
    own = (np.zeros(n_k, np.int64), np.zeros(n_k, np.int64), np.zeros(n_k), np.zeros((n_k, 9)), np.zeros(n_k, np.bool_),
           np.zeros((MOST, 9)), np.zeros(MOST), np.zeros((3, 3)), np.zeros((3, 3)))  # fmt: skip
    scratch = new_scratch(problem, signals.shape[1])
    state = scratch.state
    found, y = np.zeros(rows.ROWS, e), np.zeros(signals.shape[1], e)
    target, below = np.zeros(0, e), np.zeros(3, e)
    for v in range(start, stop):
        if scale[v] == 0:
            results.values[:, v] = np.nan
            results.outcome[v] = BAD_SIGNAL
            continue
        number = first + v
        for i in range(len(y)):
            y[i] = signals[v, i] * problem.noise.root[i] / scale[v]
        noise = scaled(problem.noise, scale[v])
        prior = _prior_of(number, base, hood, beliefs, coupling, large, own)
        mine = Problem(problem.noise, prior, problem.draws, problem.proposal, limits)
        c = beliefs.covariance[number]
        state.mean[:] = beliefs.mean[number]
        state.covariance[0, 0], state.covariance[0, 1], state.covariance[0, 2] = c[0], c[1], c[2]
        state.covariance[1, 1], state.covariance[1, 2], state.covariance[2, 2] = c[3], c[4], c[5]
        cholesky(state.covariance, state.root)
        found[rows.S0] = 1.0
        begin = local_rounds(y, number, noise, mine, scratch, found, target, below)
        if not (found[rows.ESS] >= limits.least and top(scratch.local.terms.log_w)[0] > OUTSIDE):  # the belief misled
            sampled = NoiseModel(noise.b, noise.root, noise.s0, noise.sigma, False)
            first_look(y, sampled, mine, scratch, found, target, below)
            begin = local_rounds(y, number, noise, mine, scratch, found, target, below)
        climb(y, noise, mine, begin, scratch, found)
        finish(signals, v, scale[v], problem.noise.b, limits, found, results.values, results.outcome)
