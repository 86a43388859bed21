"""The dictionary of exponentials, equations (2) to (4), and the way back from coefficients to f, D and D*, (8) to (10).

Atoms are exp(-b D_j) over a grid of D, then exp(-b D*_j) over a grid of D*; coefficients x are in units of the signal.
As printed, (9) and (10) swap the two parts; as the text around (4) has it, and here, D comes from the tissue part and D*
from the perfusion part. Coefficients need no normalisation first: f is the share of the perfusion part in their sum,
which is S0.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ivimsc.compiling import KERNEL
from ivimsc.errors import InputError

__all__ = ["GRIDS", "Dictionary", "Grids", "Mixture", "decode_row", "make_dictionary", "make_grid"]

GRIDS = ("log", "linear")
_ZERO = np.float64(0.0)  # numpy's, for which 0 / 0 is NaN in plain Python too (Numba's CUDA simulator)
MOST_BYTES = 2**30  # the matrix and what is derived from it have to fit in memory
SAME = 1e-3  # relative distance of two atoms that no noise met in practice can tell apart: SNR 1000


class Grids(NamedTuple):
    """The diffusivities of the atoms, ascending: D (atom_d,) and Dstar (atom_dstar,) [mm²/s]."""

    D: NDArray[np.float64]
    Dstar: NDArray[np.float64]


class Mixture(NamedTuple):
    """What (8) to (10) read off the coefficients of one voxel: S0 in their unit, D and Dstar in mm²/s.

    D_end, Dstar_end: how much of the part lies on an end atom of its grid, the one that holds more, from 0 to 1.
    """

    S0: float
    f: float
    D: float
    Dstar: float
    D_end: float
    Dstar_end: float


def make_grid(name: str, kind: str, limits: tuple[float, float], n: int, last: bool = True) -> NDArray[np.float64]:
    """Grid (n,) of diffusivities [mm²/s] from limits[0] to limits[1]; without the end itself where `last` is False.

    Raises
    ------
    InputError
        for an empty grid, limits out of order, a logarithmic grid that starts at 0, and more atoms than memory holds
    """
    low, high = limits
    if kind not in GRIDS:
        raise InputError(f"grid: found {kind!r}, expected {' or '.join(GRIDS)}")
    if not 1 <= n <= MOST_BYTES // 8:
        raise InputError(f"grid of {name}: found {n} atoms, expected 1 to {MOST_BYTES // 8}")
    if not 0 <= low < high < np.inf:
        raise InputError(f"grid of {name}: found {low:g}..{high:g} mm²/s, expected 0 <= lower < upper")
    if kind == "log" and low == 0:
        raise InputError(f"grid of {name}: found a logarithmic grid from 0, expected a lower end > 0 mm²/s")
    points = (np.geomspace if kind == "log" else np.linspace)(low, high, n if last else n + 1)
    return points[:n]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Φ of equation (3) for one protocol.

    Attributes
    ----------
    bvalues : (b,) float64, ascending [s/mm²]
    D, Dstar : (atom_d,), (atom_dstar,) float64, ascending grids [mm²/s]
    origin : "fixed", or the name of the model that learned it
    atoms : (b, atom) matrix where it is not that of the exponentials, else None
    """

    bvalues: NDArray[np.float64]
    D: NDArray[np.float64]
    Dstar: NDArray[np.float64]
    origin: str = "fixed"
    atoms: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        b = np.asarray(self.bvalues)
        if b.ndim != 1 or not len(b) or not np.all(np.isfinite(b) & (b >= 0)) or np.any(np.diff(b) <= 0):
            raise InputError(
                "dictionary: found b-values that are not ascending numbers from 0 on, expected some [s/mm²]"
            )
        for name, grid in (("D", self.D), ("Dstar", self.Dstar)):
            if np.ndim(grid) != 1 or len(grid) == 0 or not np.all(np.isfinite(grid)) or np.any(np.diff(grid) <= 0):
                raise InputError(
                    f"dictionary: found a grid of {name} that is empty or not ascending, expected diffusivities"
                )
            if grid[0] < 0:
                raise InputError(f"dictionary: found {name} = {grid[0]:g} mm²/s, expected diffusivities from 0 on")
        _require_room(len(self.bvalues), len(self.D) + len(self.Dstar))
        shape = (len(self.bvalues), len(self.D) + len(self.Dstar))
        if self.atoms is not None and (np.shape(self.atoms) != shape or not np.all(np.isfinite(self.atoms))):
            raise InputError(
                f"dictionary: found a matrix of shape {np.shape(self.atoms)}, expected finite numbers {shape}"
            )

    def __len__(self) -> int:
        return len(self.D) + len(self.Dstar)

    @property
    def grids(self) -> Grids:
        """D and Dstar, as kernels take them."""
        return Grids(np.asarray(self.D, np.float64), np.asarray(self.Dstar, np.float64))

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Φ (b, atom)."""
        if self.atoms is not None:
            return np.ascontiguousarray(self.atoms, dtype=np.float64)
        return np.exp(-np.outer(self.bvalues, np.concatenate([self.D, self.Dstar])))

    @cached_property
    def _singular(self) -> NDArray[np.float64]:
        return np.linalg.svd(self.matrix, compute_uv=False)

    @property
    def lipschitz(self) -> float:
        """L = ||Φ||₂²: what (6) has to be divided by to converge."""
        return float(self._singular[0] ** 2)

    def effective_rank(self, sigma: float = 1e-3) -> int:
        """How many independent directions stand out of noise of SD `sigma` (in units of S0).

        Those of singular value above sigma · sqrt(atom), for a unit of signal spread over all atoms.
        """
        return int(np.sum(self._singular > sigma * np.sqrt(len(self))))

    @cached_property
    def coherence(self) -> float:
        """Largest cosine between two neighbouring atoms of a part: 1 means that they are the same."""
        cosines = [np.sum(one * other, axis=0) / (np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)) for one, other in self._neighbours()]  # fmt: skip
        return float(np.max(np.concatenate(cosines), initial=0.0))

    def indistinguishable(self) -> int:
        """Number of atoms that lie within `SAME` of the one before them in their part."""
        distances = [
            np.linalg.norm(one - other, axis=0) / np.linalg.norm(one, axis=0) for one, other in self._neighbours()
        ]
        return int(np.sum(np.concatenate(distances) < SAME))

    def _neighbours(self) -> list[tuple[NDArray, NDArray]]:
        """Both parts, (b, atom - 1) each: every atom but the last, and the one after it."""
        parts = (self.matrix[:, : len(self.D)], self.matrix[:, len(self.D) :])
        return [(part[:, :-1], part[:, 1:]) for part in parts]

    def notes(self) -> list[str]:
        """What the user should know: size, coherence, effective rank, atoms that the b-values cannot tell apart."""
        d, p = self.D * 1e3, self.Dstar * 1e3
        lines = [
            f"dictionary ({self.origin}): {len(d)} D {d[0]:g}..{d[-1]:g}, {len(p)} D* {p[0]:g}..{p[-1]:g} µm²/ms",
            f"coherence of neighbours {self.coherence:.8f}, effective rank {self.effective_rank()} of {len(self.bvalues)} "
            f"(at SNR 1000), {self.indistinguishable()} of {len(self)} atoms not distinguishable from their neighbour",
        ]
        if d[-1] >= p[0]:
            lines.append(
                f"warning: the grids of D (to {d[-1]:g}) and D* (from {p[0]:g} µm²/ms) overlap: f is not unique there"
            )
        return lines

    def require_bvalues(self, bvalues: ArrayLike, source: str) -> None:
        """Refuse data of another protocol: a dictionary is never stale."""
        bvalues = np.asarray(bvalues, float)
        if bvalues.shape != self.bvalues.shape or not np.allclose(bvalues, self.bvalues, rtol=1e-6, atol=1e-6):
            found, own = (", ".join(f"{b:g}" for b in values) for values in (self.bvalues, bvalues))
            raise InputError(f"{source}: found a dictionary for b = {found} s/mm², expected the data's: {own}")

    def to_arrays(self) -> dict[str, Any]:
        """What a file has to hold: arrays and one text."""
        arrays = {"bvalues": self.bvalues, "d": self.D, "dstar": self.Dstar, "origin": self.origin}
        return arrays if self.atoms is None else {**arrays, "atoms": self.atoms}

    def decode(self, x: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """S0, f, D and D* (each (voxel,)) of dense coefficients x (voxel, atom); NaN where undefined."""
        results, grids = np.empty((len(x), 4)), self.grids
        for v, row in enumerate(np.asarray(x, np.float64)):
            atoms = np.flatnonzero(row).astype(np.int32)
            results[v] = decode_row(row[atoms], atoms, 0, len(atoms), grids)[:4]
        return tuple(results.T)


def make_dictionary(bvalues: ArrayLike, grid: str, n: tuple[int, int], d_range: tuple[float, float],
                    dstar_range: tuple[float, float]) -> Dictionary:  # fmt: skip
    """The fixed dictionary: n[0] atoms of D and n[1] of D* on a `grid` ("log" or "linear") over the ranges [mm²/s].

    Where D ends at the diffusivity at which D* begins, the grid of D leaves it out: no atom is there twice.
    """
    bvalues = np.asarray(bvalues, np.float64)
    _require_room(len(bvalues), n[0] + n[1])
    D = make_grid("D", grid, d_range, n[0], last=d_range[1] != dstar_range[0])
    return Dictionary(bvalues, D, make_grid("Dstar", grid, dstar_range, n[1]))


def _require_room(b: int, atoms: int) -> None:
    if b * atoms * 8 > MOST_BYTES:
        raise InputError(
            f"dictionary: found {b * atoms / 2**27:.3g} GiB of atoms, expected at most {MOST_BYTES / 2**30:g} GiB"
        )


@njit(**KERNEL)
def decode_row(data, indices, begin, end, grids):
    """The `Mixture` of the coefficients data[begin:end] at the atoms indices[begin:end]: (8), (9), (10).

    D is NaN where the tissue part is empty, D* where the perfusion part is, f where both are.
    """
    D, Dstar = grids.D, grids.Dstar
    tissue, blood, d, p, d_end, p_end = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    for i in range(begin, end):
        j, x = indices[i], data[i]
        if j < len(D):
            tissue += x
            d += x * D[j]
            d_end = max(d_end, x if j == 0 or j == len(D) - 1 else _ZERO)
        else:
            j -= len(D)
            blood += x
            p += x * Dstar[j]
            p_end = max(p_end, x if j == 0 or j == len(Dstar) - 1 else _ZERO)
    total = tissue + blood
    return Mixture(total, blood / total, d / tissue, p / blood, d_end / tissue, p_end / blood)
