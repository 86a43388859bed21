"""What the tissues are: names in data/literature.csv, and draws of f, D and D* as the phantoms spread them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ivimsc.errors import InputError
from ivimsc.methods.bayes.priors import low_discrepancy
from ivimsc.phantoms.literature import Tissue, tissues
from ivimsc.phantoms.scene import LIMITS, log_normal

__all__ = ["ORGANS", "draws_of", "find_tissues", "moments_of"]

ORGANS = ("placenta", "brain", "abdomen")
CODES = ("f", "D", "Dstar")


def find_tissues(wanted: str | Tissue | Sequence[str | Tissue]) -> tuple[Tissue, ...]:
    """Tissues by name.

    Parameters
    ----------
    wanted : names apart by commas, one name, one record, or a sequence of names and records

    Returns
    -------
    their records, in the order in which they are named

    Raises
    ------
    InputError
        for a name that the file does not have (those that it has are listed), one named twice, and none
    """
    known = {tissue.name: tissue for organ in ORGANS for tissue in tissues(organ).values()}
    words = wanted.split(",") if isinstance(wanted, str) else [wanted] if isinstance(wanted, Tissue) else list(wanted)
    found: list[Tissue] = []
    for word in words:
        name = word.name if isinstance(word, Tissue) else str(word).strip()
        if not isinstance(word, Tissue) and name not in known:
            raise InputError(f"tissue: found {name!r}, expected some of {', '.join(known)}")
        if name in (tissue.name for tissue in found):
            raise InputError(f"tissue: found {name!r} twice, expected distinct tissues")
        found.append(word if isinstance(word, Tissue) else known[name])
    if not found:
        raise InputError(f"tissue: found none, expected some of {', '.join(known)}")
    return tuple(found)


def draws_of(tissue: Tissue, n: int, seed: int, spread: float = 1.0) -> NDArray[np.float64]:
    """Draws of a tissue's f, D and D*, as `phantoms.scene` spreads them: log-normal, apart from one another.

    The points fill space evenly (a shifted sequence of low discrepancy), so that few of them tell a mean.

    Parameters
    ----------
    tissue : means and SDs
    n : number of draws
    seed : shifts the points
    spread : factor on the SDs

    Returns
    -------
    (3, n) f [1], D and D* [mm²/s]
    """
    deviations = ndtri(low_discrepancy(n, 3, seed))
    rows = []
    for code, deviation in zip(CODES, deviations, strict=True):
        mean, sd = getattr(tissue, code)
        rows.append(log_normal(np.float64(mean), np.float64(sd * spread), deviation, LIMITS[code]))
    return np.array(rows, np.float64)


def moments_of(tissue: Tissue, spread: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and SD (3,) of f, D and D* of a tissue: those of many draws, since their range is cut."""
    values = draws_of(tissue, 65536, 0, spread)
    return values.mean(1), values.std(1)
