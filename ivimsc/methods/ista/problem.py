"""What the solvers of ista are given and what they hand back, by name."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Code", "Endings", "Found", "Penalty"]


class Penalty(NamedTuple):
    """The penalty of equation (5): β for signals scaled to a largest value of 1.

    Where `relative` is set, β is this part of the voxel's own ||Φᵀy||_∞.
    """

    beta: float
    relative: bool


class Found(NamedTuple):
    """How the search ended for one voxel.

    gap: relative duality gap; squares: Σ r² of the scaled signal; turns: turns or iterations taken; done: it ended
    before their limit.
    """

    gap: float
    squares: float
    turns: int
    done: bool


class Endings(NamedTuple):
    """`Found` of many voxels, and what their signals were divided by; kernels write into these arrays, all (voxel,).

    scale: the largest |signal|, and 0 for a bad signal, whose gap and squares are NaN.
    """

    scale: NDArray[np.float32]
    gap: NDArray[np.float64]
    squares: NDArray[np.float64]
    turns: NDArray[np.int32]
    done: NDArray[np.bool_]


class Code(NamedTuple):
    """Coefficients of some voxels and how they were found.

    data, indices (entry,), indptr (voxel + 1,): CSR rows, voxel × atom, in units of the scaled signal; the other fields
    are those of `Endings`.
    """

    data: NDArray[np.float64]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    scale: NDArray[np.float32]
    gap: NDArray[np.float64]
    squares: NDArray[np.float64]
    turns: NDArray[np.int32]
    done: NDArray[np.bool_]

    @property
    def atoms(self) -> NDArray[np.int32]:
        """Number of atoms in use (voxel,)."""
        return np.diff(self.indptr).astype(np.int32)
