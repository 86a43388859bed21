"""S0 of tissues from proton density, T1 and T2 (data/relaxation.csv), at the echo and repetition time of a scan.

A spin-echo series with a repetition time much longer than its echo time has, without diffusion gradients, the signal

    S0 = PD (1 - exp(-TR / T1)) exp(-TE / T2).

The phantoms' S0 is this signal over that of one tissue of the organ, which the SNR refers to.
"""

import csv
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.phantoms.literature import data_folder

__all__ = ["SCANS", "Relaxation", "Scan", "relative_signals", "relaxation", "spin_echo_signal"]

FIELDS = (1.5, 3.0)  # T


class Scan(NamedTuple):
    """Echo and repetition time [ms] of a phantom, and the tissue whose S0 is 1."""

    te: float
    tr: float
    reference: str


class Relaxation(NamedTuple):
    """Proton density (of water 1), and T1 and T2 [ms]."""

    pd: float
    t1: float
    t2: float


# The paper's scan of the placenta; usual ones of the brain and the abdomen, which are assumptions.
SCANS = {
    "placenta": Scan(76.0, 3000.0, "placenta core"),
    "brain": Scan(80.0, 5000.0, "cortical grey matter"),
    "abdomen": Scan(60.0, 3000.0, "liver"),
}


def spin_echo_signal(pd: ArrayLike, t1: ArrayLike, t2: ArrayLike, te: ArrayLike, tr: ArrayLike) -> NDArray[np.float64]:
    """The signal of a spin echo without diffusion gradients.

    Parameters
    ----------
    pd : proton density, in any unit
    t1, t2, te, tr : relaxation, echo and repetition times, in one unit, shapes that broadcast

    Returns
    -------
    signals of the broadcast shape, in the unit of `pd`
    """
    t1, t2 = np.asarray(t1, np.float64), np.asarray(t2, np.float64)
    return np.asarray(pd) * -np.expm1(-np.asarray(tr) / t1) * np.exp(-np.asarray(te) / t2)


@cache
def relaxation(organ: str, field: float = 1.5) -> dict[str, Relaxation]:
    """Proton density, T1 and T2 of an organ's tissues, by name: of those that are known.

    Parameters
    ----------
    organ : placenta, brain or abdomen
    field : strength of the magnet [T], 1.5 or 3

    Raises
    ------
    InputError
        for another field
    """
    if field not in FIELDS:
        raise InputError(f"field: found {field:g} T, expected 1.5 or 3")
    with (data_folder() / "relaxation.csv").open(encoding="utf-8", newline="") as lines:
        return {
            row["tissue"]: Relaxation(*(float(row[name]) for name in Relaxation._fields))
            for row in csv.DictReader(lines)
            if row["organ"] == organ and float(row["field"]) == field
        }


def relative_signals(
    organ: str, field: float = 1.5, te: float | None = None, tr: float | None = None
) -> dict[str, float]:
    """S0 of an organ's tissues over that of its reference.

    Parameters
    ----------
    organ : placenta, brain or abdomen
    field : strength of the magnet [T]
    te, tr : echo and repetition time [ms]; default: those of the phantom (`SCANS`)

    Returns
    -------
    tissue -> S0; only those whose proton density, T1 and T2 are known at this field

    Raises
    ------
    InputError
        for a field at which the organ's reference is not known
    """
    scan, known = SCANS[organ], relaxation(organ, field)
    if scan.reference not in known:
        raise InputError(f"field: found {field:g} T, at which T1 and T2 of {scan.reference} are not in data/relaxation.csv; expected 1.5")  # fmt: skip
    times = (scan.te if te is None else te, scan.tr if tr is None else tr)
    found = {name: float(spin_echo_signal(*values, *times)) for name, values in known.items()}
    return {name: value / found[scan.reference] for name, value in found.items()}
