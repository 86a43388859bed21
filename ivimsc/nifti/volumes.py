"""Which volumes of a series are used: some of them by number, as ``0-99,150`` or as a text file of numbers."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.regular import read_text

__all__ = ["chosen_volumes"]

_SELECTION = re.compile(r"[\d\s,-]*", re.ASCII)
_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def chosen_volumes(volumes: str | Path | Sequence[int], count: int) -> NDArray[np.intp]:
    """The volumes of a selection.

    Parameters
    ----------
    volumes : numbers from 0, as ``"0-99,150"``; or the name of a text file that holds them (one in a line, or a row);
        or the numbers themselves
    count : how many volumes the series has

    Returns
    -------
    (volume,) their numbers, ascending

    Raises
    ------
    InputError
        for anything but distinct numbers from 0 to count - 1, and for none
    """
    source, words = _words(volumes)
    numbers: list[int] = []
    for word in words:
        part = _PART.fullmatch(word)
        if not part:
            raise InputError(f"{source}: found {word[:20]!r}, expected numbers of volumes, from 0, as 0-99,150")
        first, last = int(part[1]), int(part[2] or part[1])
        if not first <= last < count:
            raise InputError(f"{source}: found {word}, expected volumes from 0 to {count - 1}, in ascending order")
        numbers += range(first, last + 1)
        if len(numbers) > count:
            raise InputError(f"{source}: found more than {count} volumes, expected each volume once")
    if not numbers:
        raise InputError(f"{source}: found no volume, expected at least 1 of 0 to {count - 1}")
    chosen, times = np.unique(np.array(numbers, np.intp), return_counts=True)
    if times.max() > 1:
        raise InputError(f"{source}: found volume {chosen[times > 1][0]} twice, expected each volume once")
    return chosen


def _words(volumes: str | Path | Sequence[int]) -> tuple[str, list[str]]:
    """Where the selection comes from, for errors, and its parts."""
    if not isinstance(volumes, str | Path):
        return "volumes", [str(number) for number in np.ravel(np.asarray(volumes))]
    if isinstance(volumes, str) and _SELECTION.fullmatch(volumes):
        return "volumes", volumes.replace(",", " ").split()
    text = read_text(volumes, "volumes as 0-99,150, or a text file of their numbers")
    return str(volumes), " ".join(line.partition("#")[0] for line in text.splitlines()).replace(",", " ").split()
