"""Sweeps over the whole volume: from what voxels know alone to what they know with their neighbours.

The prior of a voxel is a mixture. With probability `alone` it is the population. Else the voxel is like one of its
neighbours, which one is not known: near ones are likelier (`weights`, one per distance). To be like a neighbour is to lie
where the neighbour's own belief is, give or take `apart`, the covariance between neighbours of a kind. Across an edge the
neighbours of the other kind explain a voxel's signal badly, and so count for nothing there: edges stand of themselves.

A belief is lent to others with `COUNTED` times the precision of the voxel's own site added: its other neighbours, who mostly say the
same, are not in the sum of any one component. Where signals tell nothing, nothing is added, and beliefs never shrink of themselves.

A sweep meets this prior with each voxel's site (`sites`) and writes new beliefs beside the old ones, so that no order of the
voxels matters. From beliefs of the first sweep, in which no voxel has seen itself through others, expectation and
maximisation (EM) learns `alone`, `weights` and `apart`. Later sweeps carry what is known further.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.methods.bayes.spatial.gaussians import evidence, inverse, plus, product, sandwich, scaled_by
from ivimsc.methods.bayes.spatial.neighbourhood import Neighbourhood, number_at
from ivimsc.methods.bayes.spatial.sites import Beliefs, Sites, collapse, empty_beliefs, six

__all__ = ["COUNTED", "Coupling", "learn_coupling", "neighbour", "open_weights", "sweep"]

BLOCK = 64  # voxels whose sums are made together: fixed, so that threads cannot change the order of a sum
SAMPLED = 512  # most blocks that tell the coupling
STEPS = 8  # of EM
FIRST_APART = 0.09 * np.array([0.15**2, 0.0, 0.0, 0.04**2, 0.0, 0.1**2])  # of EM: a third of the spread within a tissue
FIRST_ALONE, NEVER, ALWAYS = 0.05, 1e-3, 0.999
COUNTED = 1.5  # sites of others that stand behind a belief when it is lent: chosen so that intervals hold the truth (docs/spatial.md)
ALONE, VOXELS, GAIN, SHARED = (
    0,
    1,
    2,
    3,
)  # columns of the sums: Σ P(population), voxels with neighbours, gain, P(neighbour)
PAIRS = slice(4, 10)  # Σ of the covariance between like neighbours


class Coupling(NamedTuple):
    """What the data tell of neighbours.

    Attributes
    ----------
    alone : probability that a voxel is like none of its neighbours
    weights : (ring,) of neighbours at each distance, the largest 1
    apart : (6,) covariance between neighbours of a kind, as in `gaussians`
    """

    alone: float
    weights: NDArray[np.float64]
    apart: NDArray[np.float64]


@njit(**JIT)
def neighbour(beliefs, u, coupling):
    """Covariance of the component that the voxel u lends to a neighbour's prior."""
    return plus(six(beliefs.lent[u]), six(coupling.apart))


@njit(**KERNEL)
def _lend(start, stop, own, beliefs, counted):
    """Fill `lent` of the voxels start..stop; own: their sites."""
    for v in range(start, stop):
        known, _ = inverse(six(beliefs.covariance[v]))
        lent, _ = inverse(plus(known, scaled_by(six(own.precision[v]), counted)))
        for k in range(6):
            beliefs.lent[v, k] = lent[k]


@njit(**JIT)
def open_weights(hood, v, coupling, numbers, ring):
    """Numbers of the neighbours of v into numbers (k,), their rings into ring (k,); how many, and the sum of their weights."""
    n, total = 0, 0.0
    for k in range(len(hood.offsets)):
        u = number_at(hood, v, k)
        if u >= 0:
            numbers[n], ring[n] = u, hood.ring[k]
            total += coupling.weights[hood.ring[k]]
            n += 1
    return n, total


@njit(**JIT)
def _meet(v, hood, sites, old, coupling, scratch):
    """All components of v's prior meet its site: logs of the weights, and moments, into the scratch; how many neighbours."""
    numbers, ring, logs, trial = scratch
    p = six(sites.own.precision[v])
    s0, s1, s2 = float(sites.own.mean[v, 0]), float(sites.own.mean[v, 1]), float(sites.own.mean[v, 2])
    n, total = open_weights(hood, v, coupling, numbers, ring)
    if not total > 0.0:
        n = 0
    for k in range(n):
        u = numbers[k]
        m0, m1, m2 = float(old.mean[u, 0]), float(old.mean[u, 1]), float(old.mean[u, 2])
        log_density, step, rest = evidence(neighbour(old, u, coupling), p, s0 - m0, s1 - m1, s2 - m2)
        logs[k] = log_density + math.log((1.0 - coupling.alone) * coupling.weights[ring[k]] / total + 1e-300)
        trial[k, 0], trial[k, 1], trial[k, 2] = m0 + step[0], m1 + step[1], m2 + step[2]
        trial[k, 3], trial[k, 4], trial[k, 5], trial[k, 6], trial[k, 7], trial[k, 8] = rest
    logs[n] = sites.told[v] + (math.log(coupling.alone) if n > 0 else 0.0)
    for k in range(3):
        trial[n, k] = sites.with_population.mean[v, k]
    for k in range(6):
        trial[n, 3 + k] = sites.with_population.covariance[v, k]
    return n, total


@njit(**JIT)
def _scratch(hood):
    k = len(hood.offsets) + 1
    return np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(k), np.zeros((k, 9))


@njit(**KERNEL)
def _sweep(start, stop, hood, sites, old, coupling, new):
    """New beliefs of the voxels start..stop from the `old` ones of their neighbours."""
    scratch = _scratch(hood)
    logs, trial = scratch[2], scratch[3]
    for v in range(start, stop):
        if not sites.told[v] > -1e30:  # NaN: a bad signal
            continue
        n, _ = _meet(v, hood, sites, old, coupling, scratch)
        _, x, y, z, covariance = collapse(logs, trial, n + 1)
        new.mean[v, 0], new.mean[v, 1], new.mean[v, 2] = x, y, z
        for k in range(6):
            new.covariance[v, k] = covariance[k]


@njit(**JIT)
def _difference(v, u, k, old, coupling, trial):
    """Covariance between v and its neighbour u about zero, expected from what is known if they are alike."""
    apart = six(coupling.apart)
    a, _ = inverse(neighbour(old, u, coupling))
    g = product(apart, a)
    x, y, z = trial[k, 0] - old.mean[u, 0], trial[k, 1] - old.mean[u, 1], trial[k, 2] - old.mean[u, 2]
    second = (
        trial[k, 3] + x * x, trial[k, 4] + x * y, trial[k, 5] + x * z, trial[k, 6] + y * y, trial[k, 7] + y * z, trial[k, 8] + z * z,
    )  # fmt: skip
    rest = (1.0 - g[0], -g[1], -g[2], -g[3], 1.0 - g[4], -g[5], -g[6], -g[7], 1.0 - g[8])
    own = plus(sandwich(rest, apart), sandwich(g, six(old.lent[u])))  # apart - apart a apart, kept positive
    return plus(own, sandwich(g, second))


@njit(**KERNEL)
def _expect(start, stop, starts, hood, sites, old, coupling, sums, rings):
    """Sums of EM over the voxels of the blocks start..stop: sums (block, 10), see ALONE; rings (block, ring, 2)."""
    scratch = _scratch(hood)
    numbers, ring, logs, trial = scratch
    for block in range(start, stop):
        for v in range(starts[block], min(starts[block] + BLOCK, len(hood.places))):
            if not sites.told[v] > -1e30:
                continue
            n, total = _meet(v, hood, sites, old, coupling, scratch)
            if n == 0:
                continue
            told, _, _, _, _ = collapse(logs, trial, n + 1)
            sums[block, ALONE] += logs[n]
            sums[block, VOXELS] += 1.0
            sums[block, GAIN] += told - sites.told[v]
            for k in range(n):
                rings[block, ring[k], 0] += logs[k]
                rings[block, ring[k], 1] += (1.0 - logs[n]) / total
                if logs[k] > 1e-6:
                    difference = _difference(v, numbers[k], k, old, coupling, trial)
                    sums[block, SHARED] += logs[k]
                    for j in range(6):
                        sums[block, PAIRS.start + j] += logs[k] * difference[j]


class Learnt(NamedTuple):
    """The coupling, the gain of the mean log evidence of a voxel by it, and the number of voxels that told it."""

    coupling: Coupling
    gain: float
    voxels: int


def learn_coupling(hood: Neighbourhood, sites: Sites, launch: Launch) -> Learnt:
    """EM for the coupling, on blocks of voxels spread over the data set.

    `alone` is 1, so that the prior is the population, where neighbours explain the voxels no better than that.
    """
    n, n_ring = len(hood.places), len(hood.distances)
    blocks = -(-n // BLOCK)
    starts = np.unique(np.linspace(0, blocks - 1, min(blocks, SAMPLED)).astype(np.int64)) * BLOCK
    coupling = Coupling(FIRST_ALONE, np.ones(n_ring), FIRST_APART.copy())
    gain, voxels = 0.0, 0.0
    run_blocks(launch, _lend, n, sites.own, sites.with_population, COUNTED)
    for _ in range(STEPS):
        sums, rings = np.zeros((len(starts), PAIRS.stop)), np.zeros((len(starts), n_ring, 2))
        run_blocks(
            launch, _expect, len(starts), starts, hood, sites, sites.with_population, coupling, sums, rings, block=1
        )
        total, ring = sums.sum(0), rings.sum(0)
        voxels = total[VOXELS]
        if not voxels:
            break
        gain = total[GAIN] / voxels
        weights = ring[:, 0] / np.maximum(ring[:, 1], 1e-12)
        apart = total[PAIRS] / total[SHARED] if total[SHARED] > 1 else coupling.apart
        alone = float(np.clip(total[ALONE] / voxels, NEVER, ALWAYS))
        coupling = Coupling(alone, weights / max(weights.max(), 1e-12), apart)
    if not gain > 0:
        coupling = coupling._replace(alone=1.0)
    return Learnt(coupling, float(gain), int(voxels))


def sweep(hood: Neighbourhood, sites: Sites, coupling: Coupling, sweeps: int, launch: Launch) -> Beliefs:
    """The beliefs of all voxels after some sweeps."""
    old = sites.with_population
    new = empty_beliefs(len(hood.places))
    for k in range(sweeps):
        run_blocks(launch, _sweep, len(hood.places), hood, sites, old, coupling, new, block=1024)
        run_blocks(launch, _lend, len(hood.places), sites.own, new, COUNTED)
        old, new = new, (empty_beliefs(len(hood.places)) if k == 0 else old)
    return old
