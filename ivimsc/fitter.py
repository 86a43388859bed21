"""What every method becomes for a data set, `Fitter`, and what it is given beside its options and the voxels, `Inputs`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates

__all__ = ["Fitter", "Inputs"]


def _no_noise_level() -> float:
    raise InputError("noise level: found no data to tell it from, expected the option sigma")


@dataclass(frozen=True)
class Inputs:
    """What a method is given beside its options and the voxels.

    Attributes
    ----------
    files : option -> content of the file that it names, for the options in `Method.files`
    noise_level : returns the noise SD of the data set in units of the signal; it is measured on the first call
    """

    files: Mapping[str, Any] = field(default_factory=dict)
    noise_level: Callable[[], float] = _no_noise_level


class Fitter:
    """A method made ready for one data set.

    Attributes
    ----------
    launch : where it runs: the options may not allow for the GPU that was chosen
    notes : what was chosen, for the user; it is printed, and kept in the estimate store
    dictionary : the dictionary behind `Estimates.spectrum`, with its grids ``D`` and ``Dstar``, where there is one
    identity : what tells this fit from another of the same options, such as the checksum of a model
    columns : (b,) places of the b-values that its residuals are over; None: all
    unknowns : number of parameters of its model
    closest : its curve is, of all curves of its model, the one closest to the signal
    """

    dictionary: Any | None = None
    identity: Mapping[str, str] = MappingProxyType({})
    columns: NDArray[np.intp] | None = None
    unknowns: int = 4
    closest: ClassVar[bool] = False

    def __init__(self, launch: Launch, notes: list[str] | None = None) -> None:
        self.launch, self.notes = launch, [] if notes is None else notes

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels.

        Parameters
        ----------
        signals : (voxel, b) float32, on the host or on the GPU of `launch`
        first : the number of the first of them in the data set: it keys random draws
        s0 : (voxel,) float32, the signal at b = 0 where the data have it but `signals` leave it out (`VoxelSource.read_s0`)
        """
        raise NotImplementedError
