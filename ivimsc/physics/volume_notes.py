"""What is to be told of the volumes of a series: missing values, volumes of another kind, signals that rise with b."""

import numpy as np
from numpy.typing import NDArray

from ivimsc.physics.protocol import Protocol

__all__ = ["missing_note", "odd_volume_notes", "rising_note"]

_FEW, _ENOUGH, _RISE = 32, 2**14, 1.05  # voxels that tell a trend, and enough of them; a rise that noise does not make
_ODD = 3.0  # times the signal of the other volumes of a b-value: no direction and no motion does that


def missing_note(voxels: int, protocol: Protocol) -> list[str]:
    """What is said of `voxels` with missing volumes: a sentence, or nothing without repeats, where outcomes say it."""
    if not voxels or protocol.repeats.max() == 1:
        return []
    some = "1 voxel has" if voxels == 1 else f"{voxels:,} voxels have"
    return [f"{some} volumes that are NaN or Inf; each b-value is the mean of its other volumes"]


def rising_note(signals: NDArray[np.float32], protocol: Protocol) -> list[str]:
    """A sentence where the signal (voxel, b) is higher at the largest b-value than at the smallest: it falls with b."""
    if len(signals) < _FEW or len(protocol.bvalues) < 2:
        return []
    ends = signals[:: max(len(signals) // _ENOUGH, 1), [0, -1]].astype(np.float64)
    first, last = ends[np.isfinite(ends).all(1)].sum(0)
    if not last > _RISE * first > 0:
        return []
    low, high = protocol.bvalues[[0, -1]]
    return [
        f"the signal rises by {100 * (last / first - 1):.0f} % from b = {low:g} to {high:g} s/mm², where it should fall: "
        "are these the b-values of this series, in the order of its volumes?"
    ]


def odd_volume_notes(levels: NDArray[np.float64], numbers: NDArray[np.intp], protocol: Protocol) -> list[str]:
    """A warning for each volume whose mean signal is far from that of the other volumes of its b-value.

    Converters append maps of ADC or of the trace to a series, as one more b = 0.

    Parameters
    ----------
    levels : (volume,) mean signal of each volume
    numbers : (volume,) their numbers in the file, from 0
    protocol : tells which b-value each belongs to
    """
    notes = []
    for b, value in enumerate(protocol.bvalues):
        of_shell = np.flatnonzero(protocol.shell == b)
        usual = np.max(levels[of_shell]) if len(of_shell) == 2 else np.median(levels[of_shell])
        for k in of_shell if len(of_shell) > 1 and usual > 0 else []:
            if not 1 / _ODD <= levels[k] / usual <= _ODD:
                notes.append(
                    f"warning: volume {numbers[k]} of b = {value:g} s/mm² has {levels[k] / usual:.2g} times the signal of the "
                    "others of this b-value: is it an image of this series? The option volumes leaves it out"
                )
    return notes
