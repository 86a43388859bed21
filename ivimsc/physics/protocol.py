"""b-values: read, validated and grouped into shells here, once; everything after works on distinct ascending b-values.

Volumes may come in any order. Repeats and gradient directions of one b-value belong to one shell, and so does jitter
of a few s/mm², as scanners report it (995, 1000, 1005): the mean of a shell's volumes is taken at its mean b-value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError

__all__ = ["B0_LIMIT", "Protocol", "parse_bvalues", "read_bval", "require_distinct", "select_bvalues"]

B0_LIMIT = 10.0  # s/mm²: the smallest b-value counts as b0 up to here
_JITTER = 0.05  # relative; scanners that count imaging gradients report b-values a few per cent off
_JITTER_LIMIT = 5.0  # s/mm²


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

        Neighbours (sorted) share a shell if they lie at most 5 % of b and at most 5 s/mm² apart, and the shell
        spans at most twice that.

        Parameters
        ----------
        values : (volume,) in s/mm², in any order
        source : the file or parameter that they come from, for errors

        Raises
        ------
        InputError
            if a value is not a finite number >= 0, or there is none
        """
        values = _validated(values, source)
        order = np.argsort(values, kind="stable")
        shell = np.empty(len(values), np.intp)
        shell[order] = _shells(values[order])
        repeats = np.bincount(shell)
        # sorted members: the mean, and so the protocol, does not depend on the order of the volumes
        members = np.split(values[order], np.cumsum(repeats)[:-1])
        bvalues = np.array([m[0] if m[0] == m[-1] else m.mean() for m in members])
        return Protocol(bvalues, shell, repeats, tuple(_notes(members, bvalues, repeats)))

    def average(self, volumes: NDArray) -> NDArray[np.float32]:
        """Mean over the volumes of each shell.

        Parameters
        ----------
        volumes : (…, volume); a NaN in one volume stays a NaN

        Returns
        -------
        (…, b) float32

        Raises
        ------
        InputError
            for another number of volumes than there are b-values
        """
        if volumes.shape[-1:] != self.shell.shape:
            raise InputError(
                f"signals: found {volumes.shape[-1:]} volumes, expected {len(self.shell)}, one per b-value"
            )
        signals = np.empty((*volumes.shape[:-1], len(self.bvalues)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32, and Inf - Inf: Inf and NaN say so
            for b in range(len(self.bvalues)):
                at = np.flatnonzero(self.shell == b)
                signals[..., b] = volumes[..., at[0]] if len(at) == 1 else volumes[..., at].mean(-1, dtype=np.float64)
        return signals


def _validated(values: ArrayLike, source: str) -> NDArray[np.float64]:
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
        tolerance = min(_JITTER * ascending[i], _JITTER_LIMIT)
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
    if bvalues[0] > B0_LIMIT:
        notes.append(f"no b0: the smallest b-value is {bvalues[0]:g} s/mm²; S0 is extrapolated by the fit")
    elif bvalues[0] > 0:
        notes.append(f"the smallest b-value, {bvalues[0]:g} s/mm², counts as b0 (at most {B0_LIMIT:g} s/mm²)")
    return notes


def select_bvalues(available: NDArray, wanted: ArrayLike, source: str = "bvalues") -> NDArray[np.intp]:
    """Find some b-values among those that there are.

    A wanted value means the nearest shell within the jitter that a shell may have (5 %, at most 5 s/mm²).

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
    for value in _validated(wanted, source):
        nearest = int(np.argmin(np.abs(available - value)))
        if abs(available[nearest] - value) > min(_JITTER * value, _JITTER_LIMIT):
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


def read_bval(path: str | Path) -> NDArray[np.float64]:
    """Read an FSL or BIDS .bval file: numbers apart by white space, in a row, in a column or both.

    Parameters
    ----------
    path : of the file

    Returns
    -------
    (volume,) in s/mm², in the order of the file

    Raises
    ------
    InputError
        if the file is missing, empty, not text, or holds something else than finite numbers >= 0
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # -sig: editors on Windows leave a byte order mark
    except UnicodeDecodeError:
        raise InputError(f"{path}: found binary data, expected a text file of b-values") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a text file of b-values") from None
    return _numbers(text.split(), str(path))


def parse_bvalues(text: str, source: str = "bvalues") -> NDArray[np.float64]:
    """Read b-values from text, apart by commas or blanks: ``20,50,150``.

    Parameters
    ----------
    text : the b-values in s/mm²
    source : where the text comes from, for errors

    Returns
    -------
    (b,) in s/mm², in the order of the text

    Raises
    ------
    InputError
        for anything but finite numbers >= 0, and for none
    """
    return _numbers(text.replace(",", " ").split(), source)


def _numbers(words: Sequence[str], source: str) -> NDArray[np.float64]:
    values = []
    for position, word in enumerate(words, start=1):
        try:
            values.append(float(word))
        except ValueError:
            found = word if len(word) <= 20 else word[:20] + "…"
            raise InputError(
                f"{source}: found {found!r} at position {position}, expected numbers apart by blanks"
            ) from None
    return _validated(values, source)


def _listed(values: NDArray) -> str:
    return ", ".join(f"{b:g}" for b in values) if len(values) <= 12 else f"{values[0]:g} … {values[-1]:g}"
