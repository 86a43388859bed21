"""The curve that a fit puts through a voxel: that of its own model."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.physics.signal import signals

__all__ = ["predicted"]


def predicted(fields: Mapping[str, NDArray], bvalues: ArrayLike, rows: slice = slice(None)) -> NDArray[np.float32]:
    """Signals (voxel, b) of fitted parameters: bi-exponential, or mono-exponential for a fit without f.

    Parameters
    ----------
    fields : (voxel,) arrays under s0 and d, and f and dstar where the model has them; d and dstar in mm²/s
    bvalues : (b,) [s/mm²]
    rows : the voxels
    """
    b = np.asarray(bvalues, np.float32)
    S0, D = (fields[key][rows, None].astype(np.float32) for key in ("s0", "d"))
    with np.errstate(invalid="ignore", over="ignore"):
        if "f" not in fields:
            return S0 * np.exp(-b * D)
        f, Dstar = (fields[key][rows, None].astype(np.float32) for key in ("f", "dstar"))
        # a part that is empty has no rate (ista, scdnn): any rate gives the same curve
        return signals(S0, f, np.where(f == 1, 0, D), np.where(f == 0, 0, Dstar), b)
