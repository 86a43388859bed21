"""b-values: validated and grouped into shells here, once; everything after works on distinct ascending b-values.

Volumes may come in any order. Repeats and gradient directions of one b-value belong to one shell, and so does jitter
as scanners report it, which grows with b (995, 1000, 1015): the mean of a shell's volumes is taken at its mean b-value.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError

__all__ = [
    "B0_LIMIT",
    "Protocol",
    "jitter",
    "require_distinct",
    "select_bvalues",
    "validated",
]

B0_LIMIT = 10.0  # s/mm²: the smallest b-value counts as b0 up to here
# Scanners that count imaging gradients report b-values a few per cent off, by direction. Protocols of small steps
# (10, 20, 30 or 180, 190, 200) stay apart.
_JITTER, _JITTER_LIMIT = 0.05, 5.0  # relative, up to so many s/mm²
_JITTER_HIGH = 0.03  # relative, at any b-value
LEAST, MOST = 10.0, 1e5  # s/mm²: the largest b-value of a scan lies between these


@dataclass(frozen=True)
class Protocol:
    """The distinct b-values of a series, and which of them each volume belongs to.

    Attributes
    ----------
    bvalues : (b,) float64, ascending, distinct [s/mm²]
    shell : (volume,) int, the place in `bvalues` of each volume
    repeats : (b,) int, volumes per shell
    notes : sentences for the user: what was averaged, what stands for b0
    """

    bvalues: NDArray[np.float64]
    shell: NDArray[np.intp]
    repeats: NDArray[np.intp]
    notes: tuple[str, ...]

    @staticmethod
    def from_volumes(values: ArrayLike, source: str = "b-values") -> "Protocol":
        """Validate and group the b-values of the volumes.

        Neighbours (sorted) share a shell if they lie no farther apart than `jitter`, and the shell spans at most twice
        that.

        Parameters
        ----------
        values : (volume,) in s/mm², in any order
        source : the file or parameter that they come from, for errors

        Raises
        ------
        InputError
            if a value is not a finite number >= 0, or there is none, and where the largest is none of a scanner's
        """
        values = validated(values, source)
        _require_unit(values.max(), source)
        order = np.argsort(values, kind="stable")
        shell = np.empty(len(values), np.intp)
        shell[order] = _shells(values[order])
        repeats = np.bincount(shell)
        # sorted members: the mean, and so the protocol, does not depend on the order of the volumes
        members = np.split(values[order], np.cumsum(repeats)[:-1])
        bvalues = np.array([m[0] if m[0] == m[-1] else m.mean() for m in members])
        return Protocol(bvalues, shell, repeats, tuple(_notes(members, bvalues, repeats)))

    def average(self, volumes: NDArray) -> NDArray[np.float32]:
        """Mean over the finite volumes of each shell.

        Parameters
        ----------
        volumes : (…, volume); NaN and Inf are missing values

        Returns
        -------
        (…, b) float32; where a shell has no finite volume, what its mean is: NaN or Inf

        Raises
        ------
        InputError
            for another number of volumes than there are b-values
        """
        return self.average_and_count(volumes)[0]

    def average_and_count(self, volumes: NDArray) -> tuple[NDArray[np.float32], int]:
        """Mean over the finite volumes of each shell as `average`, and the number of voxels with missing volumes."""
        if volumes.shape[-1:] != self.shell.shape:
            raise InputError(
                f"signals: found {volumes.shape[-1:]} volumes, expected {len(self.shell)}, one per b-value"
            )
        signals = np.empty((*volumes.shape[:-1], len(self.bvalues)), np.float32)
        missing = np.zeros(volumes.shape[:-1], bool)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32, and Inf - Inf: Inf and NaN say so
            for b in range(len(self.bvalues)):
                at = np.flatnonzero(self.shell == b)
                signals[..., b] = volumes[..., at[0]] if len(at) == 1 else volumes[..., at].mean(-1, dtype=np.float64)
                lost = ~np.isfinite(signals[..., b])  # a missing volume shows in the mean: nothing else is looked at
                if lost.any():
                    signals[lost, b], missing[lost] = _mean_of_finite(
                        volumes[lost][:, at], signals[lost, b], missing[lost]
                    )
        return signals, int(missing.sum())


def _mean_of_finite(
    volumes: NDArray, plain: NDArray, missing: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean over the finite volumes of one shell, or `plain` where there is none; and `missing`, those found here added.

    `volumes` is (voxel, volume), the others (voxel,).
    """
    finite = np.isfinite(volumes)
    n = finite.sum(-1)
    mean = np.where(finite, volumes, 0).sum(-1, dtype=np.float64) / np.maximum(n, 1)
    return np.where(n > 0, mean, plain), missing | (n < volumes.shape[-1])


def jitter(b: float) -> float:
    """How far apart b-values near `b` may lie and still mean the same [s/mm²]: 5 % up to 5 s/mm², and 3 % above."""
    return max(min(_JITTER * b, _JITTER_LIMIT), _JITTER_HIGH * b)


def _require_unit(largest: float, source: str) -> None:
    """Refuse b-values that no scanner makes, and name the unit that they are likely to have. All b = 0 has no unit."""
    if 0 < largest < LEAST:
        unit = "in ms/µm²: times 1000 they are in s/mm²"
    elif largest > MOST:
        unit = "in s/m²: divided by 1e6 they are in s/mm²"
    else:
        return
    raise InputError(
        f"{source}: found {largest:g} as the largest b-value, expected {LEAST:g} to {MOST:g} s/mm²; "
        f"these are likely to be {unit}"
    )


def validated(values: ArrayLike, source: str) -> NDArray[np.float64]:
    """The b-values (any shape) as (volume,) float64 [s/mm²]; InputError for any that is no finite number >= 0, or none."""
    try:
        values = np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError):
        raise InputError(f"{source}: found {values!r}, expected numbers [s/mm²]") from None
    if not len(values):
        raise InputError(f"{source}: found no b-value, expected at least 1 [s/mm²]")
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise InputError(
            f"{source}: found {values[bad[0]]:g} at position {bad[0] + 1} of {len(values)}, "
            "expected finite b-values >= 0 [s/mm²]"
        )
    return np.abs(values)  # -0 is 0


def _shells(ascending: NDArray[np.float64]) -> NDArray[np.intp]:
    """Shell number of each value: greedy from below, so a chain of neighbours cannot grow without end."""
    shell = np.zeros(len(ascending), np.intp)
    first = ascending[0]
    for i in range(1, len(ascending)):
        tolerance = jitter(ascending[i])
        near = ascending[i] - ascending[i - 1] <= tolerance and ascending[i] - first <= 2 * tolerance
        shell[i] = shell[i - 1] + (not near)
        if not near:
            first = ascending[i]
    return shell


def _notes(members: list[NDArray], bvalues: NDArray, repeats: NDArray) -> list[str]:
    notes = []
    if repeats.max() > 1:
        counts = ", ".join(f"{b:g}" + (f" (×{n})" if n > 1 else "") for b, n in zip(bvalues, repeats, strict=True))
        notes.append(f"{repeats.sum()} volumes averaged to {len(bvalues)} b-values [s/mm²]: {counts}")
    for b, values in zip(bvalues, members, strict=True):
        if values[0] != values[-1]:
            notes.append(f"b-values {values[0]:g} to {values[-1]:g} s/mm² taken as one of {b:g}")
    for (lower, upper), (low, high) in zip(pairwise(members), pairwise(bvalues), strict=True):
        if upper[0] - lower[-1] <= jitter(upper[0]):
            notes.append(
                f"b-values {lower[0]:g} to {upper[-1]:g} s/mm² follow closely, but are too many for one: taken as "
                f"{low:g} and {high:g}"
            )
    if bvalues[0] > B0_LIMIT:
        notes.append(f"no b0: the smallest b-value is {bvalues[0]:g} s/mm²; S0 is extrapolated by the fit")
    elif bvalues[0] > 0:
        notes.append(f"the smallest b-value, {bvalues[0]:g} s/mm², counts as b0 (at most {B0_LIMIT:g} s/mm²)")
    return notes


def select_bvalues(available: NDArray, wanted: ArrayLike, source: str = "bvalues") -> NDArray[np.intp]:
    """Find some b-values among those that there are.

    A wanted value means the nearest shell within `jitter`.

    Parameters
    ----------
    available : (b,) in s/mm², ascending and distinct
    wanted : in s/mm², in any order
    source : the file or parameter that the wanted ones come from, for errors

    Returns
    -------
    their places in `available`, ascending

    Raises
    ------
    InputError
        if a wanted b-value is not there (the available ones are listed), or is asked for twice
    """
    available = np.asarray(available, np.float64)
    places = []
    for value in validated(wanted, source):
        nearest = int(np.argmin(np.abs(available - value)))
        if abs(available[nearest] - value) > jitter(value):
            raise InputError(f"{source}: found {value:g}, expected some of {_listed(available)} s/mm²")
        if nearest in places:
            raise InputError(f"{source}: found b = {available[nearest]:g} twice, expected distinct b-values")
        places.append(nearest)
    return np.sort(np.array(places, np.intp))


def require_distinct(bvalues: NDArray, least: int, who: str) -> None:
    """Refuse to go on with too few b-values.

    Parameters
    ----------
    bvalues : (b,) in s/mm², distinct
    least : how many are needed
    who : needs them, for the error

    Raises
    ------
    InputError
        if there are fewer
    """
    if len(bvalues) < least:
        raise InputError(
            f"{who}: found {len(bvalues)} distinct b-value{'s' * (len(bvalues) != 1)} ({_listed(bvalues)} s/mm²), "
            f"expected at least {least}"
        )


def _listed(values: NDArray) -> str:
    return ", ".join(f"{b:g}" for b in values) if len(values) <= 12 else f"{values[0]:g} … {values[-1]:g}"
