"""The forward model: signals of equation (1) without noise, from parameters of any shape."""

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ivimsc.compiling import KERNEL
from ivimsc.device.launch import choose_device, run_blocks
from ivimsc.errors import InputError
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.physics.signal import signal

__all__ = ["check_bvalues", "simulate_signals"]


@njit(**KERNEL)
def _forward(start, stop, S0, f, D, Dstar, bvalues, signals):
    """Signals (voxel, b) of equation (1), for the voxels start..stop."""
    for v in range(start, stop):
        for k in range(len(bvalues)):
            signals[v, k] = signal(bvalues[k], S0[v], f[v], D[v], Dstar[v])


def simulate_signals(
    S0: ArrayLike, f: ArrayLike, D: ArrayLike, Dstar: ArrayLike, bvalues: ArrayLike
) -> NDArray[np.float32] | NDArray[np.float64]:
    """Noise-free signals of equation (1).

    Parameters
    ----------
    S0, f, D, Dstar : any shapes that broadcast to (…); D and Dstar in mm²/s, f without unit, S0 in any unit
    bvalues : (b,) in s/mm²

    Returns
    -------
    (…, b) in the unit of S0: float32 where all four parameters are float32, else float64

    Raises
    ------
    InputError
        where the shapes do not broadcast, a b-value is negative or not finite, or a parameter is out of its range
        (f in 0..1, D, Dstar and S0 >= 0); NaN gives NaN
    """
    arrays = [np.asarray(a) for a in (S0, f, D, Dstar)]
    b = check_bvalues(bvalues)
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        found = ", ".join(str(a.shape) for a in arrays)
        raise InputError(f"S0, f, D, Dstar: found shapes {found}, expected shapes that broadcast") from None
    for parameter, array in zip(PARAMETERS, arrays, strict=True):
        _check_range(parameter.code, array, 1.0 if parameter.code == "f" else math.inf)
    dtype = np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64
    columns = [np.broadcast_to(a, shape).ravel().astype(np.float64) for a in arrays]
    signals = np.empty((columns[0].size, len(b)), dtype)
    run_blocks(choose_device(), _forward, len(signals), *columns, b, signals)
    return signals.reshape(*shape, len(b))


def check_bvalues(bvalues: ArrayLike) -> NDArray[np.float64]:
    """The b-values as an array (b,) [s/mm²], in the order given.

    Parameters
    ----------
    bvalues : one b-value, or (b,) of them, in s/mm²

    Raises
    ------
    InputError
        for anything but finite numbers >= 0, and for none
    """
    try:
        b = np.atleast_1d(np.asarray(bvalues, dtype=np.float64))
    except (ValueError, TypeError):
        raise InputError(f"bvalues: found {bvalues!r}, expected numbers") from None
    if b.ndim != 1 or b.size == 0 or not np.all(np.isfinite(b) & (b >= 0)):
        raise InputError(f"bvalues: found {b.tolist()}, expected a list of finite numbers >= 0 in s/mm²")
    return b


def _check_range(code: str, array: NDArray, highest: float) -> None:
    bad = (array < 0) | (array > highest)
    if np.any(bad):
        expected = "0..1" if highest == 1.0 else ">= 0"
        raise InputError(f"{code}: found {array[bad].flat[0]:g}, expected {expected}")
