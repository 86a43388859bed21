"""The noise level of a data set from the residuals of its voxels, in a way that bad voxels do not move.

Residuals of a voxel that a model explains, Σ r² / σ², follow a chi-square distribution. The median over voxels of Σ r² over
the median of that distribution is σ²: voxels that no model explains move a mean, and hardly a median.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["chi_square_median", "sigma_of_squares"]


def chi_square_median(freedom: ArrayLike) -> NDArray[np.float64]:
    """The median of a chi-square distribution: 1.4 % too large at 2 degrees of freedom, 0.7 % at 3, and less beyond.

    Wilson and Hilferty, Proc. Natl. Acad. Sci. 17:684 (1931).
    """
    freedom = np.asarray(freedom, np.float64)
    return freedom * (1 - 2 / (9 * freedom)) ** 3


def sigma_of_squares(squares: NDArray, freedom: ArrayLike) -> float:
    """Noise SD from the sums of squared residuals.

    Parameters
    ----------
    squares : (voxel,) Σ r² of each voxel, at least one, all finite
    freedom : degrees of freedom, at least 1: the number of b-values less that of fitted parameters, () or (voxel,)

    Returns
    -------
    the noise SD, in the unit of the residuals
    """
    middle = chi_square_median(freedom)
    if middle.ndim:
        return float(np.sqrt(np.median(squares / middle)))
    return float(np.sqrt(np.median(squares) / middle))
