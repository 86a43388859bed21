"""What files beside a series say of its volumes: several echo times, diffusion times or waveforms in one series.

Volumes of one b-value are averaged. Where they were acquired in several ways their mean is of none of them, so it is said.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from numpy.typing import NDArray

__all__ = ["companion_notes"]

_KEY = re.compile(r"(echo|diffusion|mixing|inversion|repetition)_?times?$|waveform|b_?delta|^(big|small)_?delta$", re.I)
_ENDING = re.compile(
    r"(^|[_.-])(te?|t[dmri]|b?_?delta|(big|small)_?delta|echo\w*|profile|waveform|time\w*|diffusion\w*|ms)([_.-]|$)",
    re.I,
)
_LARGEST = 2**20  # bytes of a text that is looked at


def companion_notes(path: Path, chosen: NDArray, count: int) -> list[str]:
    """Sentences on files beside the series that tell of several kinds of volumes.

    Parameters
    ----------
    path : the series
    chosen : (volume,) the numbers of the volumes that are used
    count : how many volumes the series has
    """
    notes = []
    for name, what, values in _lists(path):
        used = [values[k] for k in chosen] if len(values) == count else values
        kinds = sorted(set(map(str, used)), key=_in_order)
        if 1 < len(kinds) and (len(values) < count or 2 * len(kinds) <= count):
            shown = ", ".join(kinds[:4]) + (", …" if len(kinds) > 4 else "")
            notes.append(
                f"{name} tells of {len(kinds)} {what} in this series ({shown}); volumes of one b-value are averaged "
                "all the same: give volumes to fit one kind"
            )
    return notes


def _in_order(kind: str) -> tuple[float, str]:
    """Numbers by size, then words."""
    try:
        return float(kind), ""
    except ValueError:
        return float("inf"), kind


def _lists(path: Path) -> Iterator[tuple[str, str, list]]:
    """Name of the file, what it lists, and the list: of the JSON file and of the texts that are called like the series."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".hdr").removesuffix(".img")
    for beside in sorted(path.parent.iterdir()):
        rest = beside.name.removeprefix(stem)
        if not beside.name.startswith(stem) or beside.is_symlink() or not beside.is_file():
            continue  # a link may lead to any file
        try:
            if beside.stat().st_size > _LARGEST:
                continue
            if rest == ".json":
                about = json.loads(beside.read_text(encoding="utf-8-sig"))
                for key, values in about.items() if isinstance(about, dict) else ():
                    if isinstance(values, list) and _KEY.search(key):
                        yield beside.name, f"values of {key}", values
            elif _ENDING.search(rest.rpartition(".")[0] or rest) and not rest.endswith((".nii", ".gz", ".json", ".h5")):
                yield beside.name, "values", beside.read_text(encoding="utf-8-sig").replace(",", " ").split()
        except (OSError, ValueError, RecursionError):  # another file that is called so: it is not asked for
            continue
