"""Means, variances and correlations of more values than memory holds, block by block.

Sums of blocks are put together as Chan, Golub and LeVeque do it (The American Statistician 37:242, 1983): no digits are lost
where the mean is large beside the spread.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "Pair"]


@dataclass
class Moments:
    """n values: their mean, the sum of the squares of their distances from it, the least and the largest."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: NDArray[np.float64]) -> None:
        """Add finite values (value,)."""
        n = len(values)
        if not n:
            return
        mean = float(values.mean())
        squares, apart = float(np.sum((values - mean) ** 2)), mean - self.mean
        self.squares += squares + apart**2 * self.n * n / (self.n + n)
        self.mean += apart * n / (self.n + n)
        self.n += n
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def variance(self, less: int = 0) -> float:
        """The variance, over n - `less`; 0 where all values are one, NaN where there are too few."""
        if self.n <= less:
            return float("nan")
        return 0.0 if self.low == self.high else self.squares / (self.n - less)

    @property
    def mean_square(self) -> float:
        """The mean of the squares of the values."""
        return self.mean**2 + self.variance()


@dataclass
class Pair:
    """Two values of each voxel, first and second, in display units; `voxels` counts those where one is missing too."""

    voxels: int = 0
    first: Moments = field(default_factory=Moments)
    second: Moments = field(default_factory=Moments)
    difference: Moments = field(default_factory=Moments)

    def add(self, first: NDArray, second: NDArray, scale: float = 1.0) -> None:
        """Add voxels: both values (voxel,), which are multiplied by `scale`; a voxel where one is not finite is missing."""
        there = np.isfinite(first) & np.isfinite(second)
        a, b = (values[there].astype(np.float64) * scale for values in (first, second))
        self.voxels += len(there)
        self.first.add(a)
        self.second.add(b)
        self.difference.add(b - a)

    @property
    def missing(self) -> int:
        """Voxels without one of the values."""
        return self.voxels - self.difference.n

    @property
    def correlation(self) -> float:
        """Pearson's r; NaN where one of the two does not vary."""
        a, b = self.first.variance(), self.second.variance()
        if not (a > 0 and b > 0):
            return float("nan")
        return (a + b - self.difference.variance()) / (2 * np.sqrt(a * b))
