"""The Cramér-Rao bound: the smallest standard deviation of any unbiased estimate, per voxel."""

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ivimsc.compiling import KERNEL
from ivimsc.errors import InputError
from ivimsc.physics.signal import signal_and_slopes

__all__ = ["cramer_rao", "standard_deviations"]


@njit(**KERNEL)
def _fisher(S0, f, D, Dstar, bvalues, information):
    """Fisher information (voxel, 4, 4) of S0, f, D, Dstar at unit noise: the sum over b of slope × slope."""
    for v in range(len(S0)):
        for b in bvalues:
            slopes = signal_and_slopes(b, S0[v], f[v], D[v], Dstar[v])[1:]
            for i in range(4):
                for j in range(4):
                    information[v, i, j] += slopes[i] * slopes[j]


def cramer_rao(S0: ArrayLike, f: ArrayLike, D: ArrayLike, Dstar: ArrayLike, bvalues: ArrayLike, sigma: ArrayLike,
               s0_known: bool = False) -> NDArray[np.float64]:  # fmt: skip
    """Cramér-Rao bound of equation (1) under Gaussian noise.

    Parameters
    ----------
    S0, f, D, Dstar : (voxel,) true parameters; D and Dstar in mm²/s
    bvalues : (b,) in s/mm², repeats allowed
    sigma : () or (voxel,) noise standard deviation, in units of S0
    s0_known : leave S0 out of the unknowns; its column is then 0

    Returns
    -------
    (voxel, 4) standard deviations of S0, f, D, Dstar; inf where the protocol cannot tell the parameters (f = 0, say)

    Raises
    ------
    InputError
        where a noise standard deviation is not above 0
    """
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (S0, f, D, Dstar)))
    S0, f, D, Dstar = (np.ascontiguousarray(column) for column in columns)
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), S0.shape)
    if np.any(sigma <= 0):
        raise InputError(f"sigma: found {sigma.min():g}, expected the noise standard deviation > 0")
    information = np.zeros((len(S0), 4, 4))
    _fisher(S0, f, D, Dstar, np.asarray(bvalues, dtype=np.float64).ravel(), information)
    first = 1 if s0_known else 0
    result = np.zeros((len(S0), 4))
    result[:, first:] = sigma[:, None] * standard_deviations(information[:, first:, first:])
    return result


def standard_deviations(information: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square roots of the diagonal of the inverse (voxel, p, p); inf where it is singular.

    The slopes differ by orders of magnitude (S0 about 1, D* about 1e-2), so each row and column is first scaled to a
    unit diagonal: only then does a condition number speak of identifiability.
    """
    scale = np.sqrt(np.einsum("vii->vi", information))
    blank = ~np.all((scale > 0) & np.isfinite(scale), axis=1)
    scale[blank] = 1.0
    correlation = information / (scale[:, :, None] * scale[:, None, :])
    correlation[blank] = np.eye(information.shape[1])
    blank |= np.linalg.eigvalsh(correlation)[:, 0] < 1e-14  # 1e-14: below it float64 has no digit left of the inverse
    correlation[blank] = np.eye(information.shape[1])
    deviations = np.sqrt(np.einsum("vii->vi", np.linalg.inv(correlation))) / scale
    deviations[blank] = np.inf
    return deviations
