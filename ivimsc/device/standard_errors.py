"""Standard errors and outcomes of many voxels, for methods whose kernels do not compute them: on the CPU's threads."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.device.launch import Launch, run_blocks
from ivimsc.numerics.ending import Box, endings_kernel
from ivimsc.numerics.standard_errors import Errors, unit_errors_kernel
from ivimsc.physics.parameters import Bounds

__all__ = ["endings", "unit_standard_errors"]


def unit_standard_errors(
    f: ArrayLike, D: ArrayLike, Dstar: ArrayLike, bvalues: ArrayLike, known_s0: bool, launch: Launch
) -> Errors:
    """Cramér-Rao standard errors at S0 = 1 and unit noise.

    They are proportional to the noise: those of a voxel are these times its noise over its S0.

    Parameters
    ----------
    f, D, Dstar : (voxel,)
        Estimates; D and Dstar in mm²/s.
    bvalues : (b,)
        b-values in s/mm².
    known_s0 : bool
        S0 was given, not fitted.
    launch : Launch
        Its number of threads is used.

    Returns
    -------
    Errors
        Of f, D and Dstar, (voxel,) float64 each; D and Dstar in mm²/s. Infinite where the protocol cannot tell a
        parameter, NaN where an estimate is NaN.
    """
    f, D, Dstar, b = (np.ascontiguousarray(a, dtype=np.float64) for a in (f, D, Dstar, bvalues))
    errors = Errors(*(np.empty(len(f)) for _ in Errors._fields))
    run_blocks(launch, unit_errors_kernel, len(f), f, D, Dstar, b, known_s0, errors)
    return errors


def endings(
    f: ArrayLike, D: ArrayLike, Dstar: ArrayLike, errors: Errors, bounds: Bounds, launch: Launch
) -> NDArray[np.uint8]:
    """The outcome of each voxel by the rule of `numerics.ending`: not identifiable, at a bound, or converged.

    Parameters
    ----------
    f, D, Dstar : (voxel,)
        Estimates; D and Dstar in mm²/s.
    errors : Errors
        Their standard errors (voxel,), in the same units: those of `unit_standard_errors` times noise over S0.
    bounds : Bounds
        Bounds of the estimates.
    launch : Launch
        Its number of threads is used.

    Returns
    -------
    (voxel,) uint8
        Numbers of `Outcome`. Voxels with a NaN count as converged: the caller knows which signals were bad.
    """
    values = (np.ascontiguousarray(a, dtype=np.float64) for a in (f, D, Dstar, errors.f, errors.p))
    outcome = np.empty(len(f), np.uint8)
    box = Box(*map(float, (*bounds.f, *bounds.D, *bounds.Dstar)))
    run_blocks(launch, endings_kernel, len(f), *values, box, outcome)
    return outcome
