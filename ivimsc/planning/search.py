"""The search for a protocol: images change their b-values as long as that makes the criterion smaller.

For every b-value of the protocol, one image of it, and then all of them, are moved to each b-value in reach, and the best
move is made. The reach is the whole grid, thinned to some eighty b-values, and then the neighbourhood at the grid's own step.
There is no proof that the end is the best of all protocols: so the search begins from several.

Near the best protocol the criterion is flat, and the search ends with more b-values than are needed. So b-values of few
images are joined to their neighbours at last, as long as that costs next to nothing (`simplify`).
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["exchange", "simplify", "spread_start"]

COARSE = 81  # b-values of the thinned grid
GAIN = 1e-5  # relative: a smaller gain is not worth a move
SWEEPS = 60
SIMPLER = 3e-3  # relative: so much a protocol of fewer b-values may cost in all

Values = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def spread_start(bvalues: NDArray[np.float64], allowed: NDArray[np.bool_], fixed: NDArray[np.float64], volumes: int,
                 distinct: int) -> NDArray[np.float64]:  # fmt: skip
    """A protocol to begin with: the free images on b-values that lie closer together where b is small.

    Parameters
    ----------
    bvalues, allowed : (candidate,) [s/mm²], and which of them may be chosen
    fixed : (candidate,) images that stay
    volumes : images in all
    distinct : fewest distinct b-values

    Returns
    -------
    (candidate,) images
    """
    places, counts = np.flatnonzero(allowed), fixed.copy()
    wanted = max(distinct, min(8, volumes))
    aims = bvalues[places].max() * np.linspace(0, 1, wanted) ** 2
    chosen: list[int] = []
    for aim in aims:
        order = places[np.argsort(np.abs(bvalues[places] - aim), kind="stable")]
        chosen.append(next((int(p) for p in order if p not in chosen), int(order[0])))
    fresh = [p for p in chosen if counts[p] == 0] + [p for p in chosen if counts[p] > 0]
    for k in range(volumes - int(fixed.sum())):
        counts[fresh[k % len(fresh)]] += 1
    return counts


def exchange(values: Values, start: NDArray[np.float64], fixed: NDArray[np.float64], allowed: NDArray[np.bool_],
             distinct: int, tell: Callable[[float], None] = lambda value: None) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """Search from a protocol on.

    Parameters
    ----------
    values : the criterion (protocol,) of counts (protocol, candidate)
    start : (candidate,) images to begin with
    fixed : (candidate,) images that stay
    allowed : (candidate,) b-values that may be chosen
    distinct : fewest distinct b-values
    tell : takes the criterion after each sweep

    Returns
    -------
    the protocol (candidate,), and its criterion
    """
    counts, value = start.copy(), float(values(start[None])[0])
    places = np.flatnonzero(allowed)
    stride = max(1, -(-len(places) // COARSE))
    for reach in dict.fromkeys((stride, 1)):
        for _ in range(SWEEPS):
            before = value
            for place in np.flatnonzero(counts > fixed):
                counts, value = _move(values, counts, value, fixed, int(place), _targets(places, place, counts, stride, reach),
                                      distinct)  # fmt: skip
            tell(value)
            if before - value <= GAIN * abs(before):
                break
    return counts, value


def simplify(values: Values, counts: NDArray[np.float64], fixed: NDArray[np.float64], allowed: NDArray[np.bool_],
             distinct: int) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """Join neighbouring b-values of a protocol as long as the criterion stays within `SIMPLER` of what it was.

    Parameters
    ----------
    counts : (candidate,) the protocol
    values, fixed, allowed, distinct : as for `exchange`

    Returns
    -------
    the protocol (candidate,), and its criterion
    """
    value = float(values(counts[None])[0])
    most = value * (1 + SIMPLER)
    while (counts > 0).sum() > distinct:
        trials = [
            trial for pair in pairwise(np.flatnonzero(counts)) for trial in _joined(counts, fixed, allowed, *pair)
        ]
        found = values(np.array(trials)) if trials else np.array([np.inf])
        best = int(np.argmin(found))
        if found[best] > most:
            break
        counts, value = trials[best], float(found[best])
    return counts, value


def _joined(
    counts: NDArray, fixed: NDArray, allowed: NDArray[np.bool_], low: int, high: int
) -> Iterator[NDArray[np.float64]]:
    """The protocols in which two b-values are one: one of the two, or one between; fixed images stay where they are."""
    kept = [place for place in (low, high) if fixed[place]]
    if len(kept) == 2:
        return
    between = low + np.flatnonzero(allowed[low : high + 1])
    for target in kept or [*dict.fromkeys((low, *between[:: max(1, len(between) // 16)], high))]:
        trial = counts.copy()
        trial[low] = trial[high] = 0
        trial[target] += counts[low] + counts[high]
        yield trial


def _targets(places: NDArray[np.intp], place: int, counts: NDArray, stride: int, reach: int) -> NDArray[np.intp]:
    """b-values in reach: the thinned grid, or at last the neighbourhood of this one; and those that are used already."""
    if reach == stride:
        near = places[::stride]
    else:
        here = int(np.searchsorted(places, place))
        near = places[max(here - stride, 0) : here + stride + 1]
    return np.union1d(np.union1d(near, places[-1:]), np.intersect1d(np.flatnonzero(counts), places))


def _move(values: Values, counts: NDArray, value: float, fixed: NDArray, place: int, targets: NDArray[np.intp],
          distinct: int) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """The best of all moves of one image, and of all images, from `place` to a target; or none."""
    free = counts[place] - fixed[place]
    if free <= 0:
        return counts, value
    trials = []
    for amount in dict.fromkeys((1.0, float(free))):
        base = counts.copy()
        base[place] -= amount
        moved = np.repeat(base[None], len(targets), axis=0)
        moved[np.arange(len(targets)), targets] += amount
        trials.append(moved[targets != place])
    moves = np.concatenate(trials)
    moves = moves[(moves > 0).sum(1) >= min(distinct, (counts > 0).sum())]
    if not len(moves):
        return counts, value
    found = values(moves)
    best = int(np.argmin(found))
    if found[best] < value * (1 - GAIN):
        return moves[best].copy(), float(found[best])
    return counts, value
