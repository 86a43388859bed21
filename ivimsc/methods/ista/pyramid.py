"""A dictionary at three levels, coarse to fine: what the search of `sparse_coding` runs through."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.methods.ista.active_set import padded

__all__ = ["Pyramid", "make_pyramid"]

STRIDES = (20, 4, 1)
LOOSE = (3e-4, 1e-5)  # relative gaps at which the search leaves the coarse dictionaries


class Pyramid(NamedTuple):
    """The dictionary at all levels, coarse to fine, side by side.

    atoms (all, pad) float64: atoms as rows; columns (b, all): the same as columns; place (all,): each atom's number in
    the full dictionary; first (level + 1,): where each level starts; half (level,): how many of its atoms are of the
    tissue part; loose (level,): relative gap at which the level is left; lift (1, pad): l; lifted (all,): Φᵀ l.
    """

    atoms: NDArray[np.float64]
    columns: NDArray[np.float64]
    place: NDArray[np.int64]
    first: NDArray[np.int64]
    half: NDArray[np.int64]
    loose: NDArray[np.float64]
    lift: NDArray[np.float64]
    lifted: NDArray[np.float64]
    pairs: NDArray[np.float64]


def make_pyramid(matrix: NDArray[np.float64], half: int, tolerance: float) -> Pyramid:
    """The pyramid of a dictionary: matrix (b, atom) > 0, the first `half` atoms of the tissue part."""
    n = matrix.shape[1]
    places, first, halves = [], [0], []
    for stride in STRIDES:
        tissue = np.unique(np.r_[np.arange(0, half, stride), half - 1])
        blood = np.unique(np.r_[np.arange(half, n, stride), n - 1])
        places += [tissue, blood]
        first.append(first[-1] + len(tissue) + len(blood))
        halves.append(len(tissue))
    place = np.concatenate(places)
    columns = np.ascontiguousarray(matrix[:, place])
    atoms = np.zeros((len(place), padded(len(matrix))))
    atoms[:, : len(matrix)] = columns.T
    lift = np.zeros((1, atoms.shape[1]))
    row = int(np.argmax(matrix.min(axis=1)))
    lift[0, row] = 1.0 / matrix[row].min()
    loose = np.array([max(level, tolerance) for level in LOOSE] + [tolerance])
    return Pyramid(
        atoms,
        columns,
        place,
        np.array(first),
        np.array(halves),
        loose,
        lift,
        atoms @ lift[0],
        _pairs(columns[:, : first[1]], halves[0]),
    )


def _pairs(columns: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """The inverse Gram matrices (3, tissue, blood) of all pairs of a tissue and a blood atom; 0 where it is singular."""
    gram = columns.T @ columns
    own = np.diag(gram)
    a, b, c = own[:half, None], own[None, half:], gram[:half, half:]
    determinant = a * b - c * c
    usable = determinant > 1e-10 * a * b
    inverse = np.where(usable, 1.0 / np.where(usable, determinant, 1.0), 0.0)
    return np.stack([b * inverse, -c * inverse, a * inverse])
