"""The search of a least-squares fit with three non-linear unknowns, in lanes: all but the model.

Models that are sums of columns with amplitudes, such as IVIM with kurtosis (two columns; D, K and D*) and three pools (three
columns; one diffusivity each), are searched alike: the amplitudes are projected out (variable projection: Golub and
Pereyra, SIAM J. Numer. Anal. 10:413, 1973), and damped Newton steps in the three unknowns start from a table. A model is
one function, its round: it evaluates 16 trial points, keeps those that are better, and sets the next ones. Its kernel calls
it while `refill` says that voxels are left. A lane whose voxel is done takes up the next voxel of the block, so that hard
voxels do not hold up easy ones.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.lanes import LANES
from ivimsc.numerics.newton3 import Slopes3
from ivimsc.numerics.scaling import load_scaled

__all__ = ["SEARCHED", "Found3", "Queue", "Starts3", "found_room", "keep_better", "make_queue", "refill", "starts_room"]

L = LANES
ONE, ZERO, INFINITE = np.float32(1.0), np.float32(0.0), np.float32(np.inf)

# Names of what every model's record of lanes has. total: Σ y²; x: the trial point, a: its amplitudes, rr: its Σ r², new_: its
# slopes; best_: the same at the best point so far; held: 1 where the second unknown moves with the first.
SEARCHED = (
    *("total", "x1", "x2", "x3", "a1", "a2", "a3", "rr", "held", "factor", "steps", "done"),
    *(f"best_{name}" for name in ("x1", "x2", "x3", "a1", "a2", "a3", "rr", "held")),
    *Slopes3._fields,
)


class Starts3(NamedTuple):
    """Starting points of each voxel (voxel, start); the first is always there, the others where `there`."""

    x1: NDArray[np.float32]
    x2: NDArray[np.float32]
    x3: NDArray[np.float32]
    there: NDArray[np.bool_]


class Found3(NamedTuple):
    """What a search found for each voxel (voxel,), for signals that are scaled to a largest value of 1."""

    a1: NDArray[np.float32]
    a2: NDArray[np.float32]
    a3: NDArray[np.float32]
    x1: NDArray[np.float32]
    x2: NDArray[np.float32]
    x3: NDArray[np.float32]
    squares: NDArray[np.float32]
    done: NDArray[np.bool_]


@njit(**JIT)
def starts_room(n, most):
    """Room for at most so many starting points of `n` voxels."""
    e = np.float32
    return Starts3(
        np.empty((n, most), e), np.empty((n, most), e), np.empty((n, most), e), np.zeros((n, most), np.bool_)
    )


@njit(**JIT)
def found_room(n):
    """Room for what a search finds for `n` voxels."""
    e = np.float32
    return Found3(np.zeros(n, e), np.zeros(n, e), np.zeros(n, e), np.ones(n, e), np.ones(n, e), np.ones(n, e),
                  np.full(n, INFINITE), np.zeros(n, np.bool_))  # fmt: skip


@njit(**LANE_JIT)
def begin(lanes, lane, x1, x2, x3):
    """Start a search at a point in `lane`."""
    t = lanes[0]
    t.x1[lane], t.x2[lane], t.x3[lane] = x1, x2, x3
    t.best_rr[lane], t.factor[lane], t.steps[lane], t.done[lane] = INFINITE, ZERO, ZERO, ZERO


@njit(**JIT)
def _load(w, lanes, lane, signals, v, scale, root):
    load_scaled(w, lane, signals, v, scale, root)
    squares = ZERO
    for i in range(len(w)):
        squares += w[i, lane] * w[i, lane]
    lanes[0].total[lane] = squares


@njit(**JIT)
def _keep(lanes, lane, found, v):
    """Write what `lane` found for voxel `v`, unless an earlier start of the same voxel found no worse."""
    t = lanes[0]
    if t.best_rr[lane] < found.squares[v]:
        found.a1[v], found.a2[v], found.a3[v] = t.best_a1[lane], t.best_a2[lane], t.best_a3[lane]
        found.x1[v], found.x2[v], found.x3[v] = t.best_x1[lane], t.best_x2[lane], t.best_x3[lane]
        found.squares[v] = t.best_rr[lane]
        found.done[v] = t.done[lane] > 0


class Queue(NamedTuple):
    """Who is in which lane: the voxel (lane,), -1 for none; its start (lane,); and (2,) the next voxel and the number of busy lanes."""

    voxel: NDArray[np.int64]
    start: NDArray[np.int64]
    counts: NDArray[np.int64]


@njit(**JIT)
def make_queue(lanes):
    """A queue before its first voxel."""
    for lane in range(L):
        begin(lanes, lane, ONE, ONE, ONE + ONE)  # a lane without a voxel computes, too: harmless numbers
    return Queue(np.full(L, -1), np.zeros(L, np.int64), np.zeros(2, np.int64))


@njit(**JIT)
def refill(queue, lanes, w, block, root, max_iterations):
    """Take the voxels that are done out of their lanes, and put the next ones in; False where none is left.

    Parameters
    ----------
    queue : Queue
    lanes : (1,) record with the names in `SEARCHED`
    w : (b, k · LANES) float32
        Holds the signals in its first LANES columns; the others are the model's.
    block : (signals, scale, starts, found)
        Signals (voxel, b) float32, their scale (voxel,), 0 for a bad one, `Starts3`, and `Found3`, which receives the results.
    root : (b,) float32
        Square root of the number of images behind each signal.
    max_iterations : float32
        Most rounds for one start.
    """
    signals, scale, starts, found = block
    voxel, start, counts = queue.voxel, queue.start, queue.counts
    t = lanes[0]
    for lane in range(L):
        v = voxel[lane]
        if v >= 0:
            if not (t.done[lane] > 0 or t.steps[lane] >= max_iterations):
                continue
            _keep(lanes, lane, found, v)
            k = start[lane] + 1
            while k < starts.there.shape[1] and not starts.there[v, k]:
                k += 1
            if k < starts.there.shape[1]:
                start[lane] = k
                begin(lanes, lane, starts.x1[v, k], starts.x2[v, k], starts.x3[v, k])
                continue
            counts[1] -= 1
            voxel[lane] = -1
        following = counts[0]
        while following < len(signals) and scale[following] == 0:
            following += 1
        if following < len(signals):
            voxel[lane], start[lane] = following, 0
            _load(w, lanes, lane, signals, following, scale[following], root)
            begin(lanes, lane, starts.x1[following, 0], starts.x2[following, 0], starts.x3[following, 0])
            following += 1
            counts[1] += 1
        counts[0] = following
    return counts[1] > 0


@njit(**LANE_JIT)
def keep_better(t, l, slope, better):
    """Make the trial point of lane `l` the best one, with its slopes, where it is `better`."""
    t.best_rr[l] = t.rr[l] if better else t.best_rr[l]
    t.best_x1[l] = t.x1[l] if better else t.best_x1[l]
    t.best_x2[l] = t.x2[l] if better else t.best_x2[l]
    t.best_x3[l] = t.x3[l] if better else t.best_x3[l]
    t.best_a1[l] = t.a1[l] if better else t.best_a1[l]
    t.best_a2[l] = t.a2[l] if better else t.best_a2[l]
    t.best_a3[l] = t.a3[l] if better else t.best_a3[l]
    t.best_held[l] = t.held[l] if better else t.best_held[l]
    t.g1[l] = slope.g1 if better else t.g1[l]
    t.g2[l] = slope.g2 if better else t.g2[l]
    t.g3[l] = slope.g3 if better else t.g3[l]
    t.h11[l] = slope.h11 if better else t.h11[l]
    t.h12[l] = slope.h12 if better else t.h12[l]
    t.h13[l] = slope.h13 if better else t.h13[l]
    t.h22[l] = slope.h22 if better else t.h22[l]
    t.h23[l] = slope.h23 if better else t.h23[l]
    t.h33[l] = slope.h33 if better else t.h33[l]
    t.s1[l] = slope.s1 if better else t.s1[l]
    t.s2[l] = slope.s2 if better else t.s2[l]
    t.s3[l] = slope.s3 if better else t.s3[l]
