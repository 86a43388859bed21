"""The voxels that networks learn from, as arrays (no torch here)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Data"]


@dataclass(frozen=True)
class Data:
    """Voxels of one protocol.

    Attributes
    ----------
    bvalues : (b,) [s/mm²]
    signals : (voxel, b) over S0, with the noise that they came with
    truth : (voxel, 3) f, D, D* [µm²/ms], or None
    clean : (voxel, b) over S0 by equation (1) from the truth, or None
    sigma : (voxel,) noise SD over S0; NaN where it is not known
    rician : kind of noise
    left_out : reason, in words -> number of voxels that could not teach and are not here
    """

    bvalues: NDArray[np.float64]
    signals: NDArray[np.float32]
    truth: NDArray[np.float32] | None
    clean: NDArray[np.float32] | None
    sigma: NDArray[np.float32]
    rician: bool
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.signals)
