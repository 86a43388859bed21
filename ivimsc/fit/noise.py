"""The noise level of a data set: the same for every method that asks for it."""

import numpy as np

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.methods import METHODS
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.voxels import VoxelSource, sample_signals

__all__ = ["noise_level"]

UNKNOWNS = 4  # S0, f, D and D*


def noise_level(voxels: VoxelSource, launch: Launch) -> float:
    """Noise SD of a data set, from the residuals of nlls on a sample of its voxels.

    Parameters
    ----------
    voxels : the data
    launch : where to fit the sample

    Returns
    -------
    noise SD in units of the signal

    Raises
    ------
    InputError
        for fewer than 5 b-values, which leave no residual, and where no voxel can be fitted
    """
    n_b = len(voxels.bvalues)
    if n_b <= UNKNOWNS:
        raise InputError(f"noise level: found {n_b} b-values, which leave no residuals to tell it from, expected the option snr or sigma")  # fmt: skip
    nlls = METHODS["nlls"].load()
    rmse = nlls.prepare(voxels, nlls.Options(), launch).fit(sample_signals(voxels)).rmse.astype(np.float64)
    squares = rmse[np.isfinite(rmse)] ** 2 * n_b
    sigma = sigma_of_squares(squares, n_b - UNKNOWNS) if len(squares) else 0.0
    if not sigma > 0:
        raise InputError("noise level: found no voxel with residuals to tell it from, expected the option snr or sigma")
    return sigma
