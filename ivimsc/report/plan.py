"""What goes into a page of bounded size, and how finely: everything to three digits where there is room, else less.

The levels are tried from the finest on; the size of each is told from some thousand voxels.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.report.packing import Packed, Precision, pack_codes, pack_values
from ivimsc.report.shown import SHOWN
from ivimsc.report.sources import Sources

__all__ = ["LIMIT", "Kept", "Level", "pack_sources"]

LIMIT = 25_000_000  # bytes of the file
PAGE = 2_000_000  # of them for everything but voxels: Bokeh, the charts, the text
_RUNS, _RUN = 64, 1024  # voxels that tell the size: runs of neighbours
_EXAMPLES = {"f": 0.1, "d": 1.5e-3, "dstar": 40e-3}  # values whose rounding is told


class Level(NamedTuple):
    """How finely values, errors and signals are kept; errors = 0: maps of errors are left out."""

    steps: float  # of the smallest steps of `SHOWN`
    k: float
    errors: float
    signal: float  # step of the signals, in noise SD
    digits: int  # that are shown


LEVELS = (
    Level(1, 2000, 200, 1 / 16, 3),
    Level(4, 500, 50, 1 / 8, 3),
    Level(12, 150, 20, 1 / 4, 3),
    Level(30, 50, 10, 1 / 2, 2),
    Level(60, 25, 5, 2 / 3, 2),
    Level(60, 25, 0, 2 / 3, 2),
)


class Kept(NamedTuple):
    """What went into the page: the arrays by name, the level, and sentences on what was rounded and left out."""

    arrays: dict[str, Packed]
    level: Level
    notes: list[str]


class _Piece(NamedTuple):
    """One array to pack: its name, values (voxel,) or (voxel, column), and its precision; None: whole numbers, exact."""

    name: str
    values: NDArray
    precision: Precision | None


def pack_sources(sources: Sources, sigma: float, regions: NDArray | None = None, limit: int = LIMIT) -> Kept:
    """Pack the maps, the signals, the single images and the spectra.

    Parameters
    ----------
    sources : what is shown
    sigma : noise SD of one image [unit of the signal]; 0 where it is not known
    regions : (voxel,) number of the region of each voxel, 0 for none
    limit : bytes of the whole file
    """
    room = 3 * (limit - PAGE) // 4  # base64
    spectra = {fit.name: fit.store.spectrum for fit in sources.fits if fit.store.spectrum is not None}
    everything = set(spectra) | ({"images"} if sources.images else set())
    plans = [(level, everything) for level in LEVELS[:3]]
    plans += [(level, set(spectra)) for level in LEVELS[2:4]] + [(level, set()) for level in LEVELS[2:]]
    for level, extra in plans:  # the last is taken as it is
        last = (level, extra) == plans[-1]
        if last or _estimate(sources, sigma, regions, level, extra, spectra) <= room:
            arrays = _pack_all(sources, list(_pieces(sources, sigma, regions, level, extra)))
            for name in (name for name in spectra if name in extra):
                arrays |= _spectrum(name, spectra[name], _order(sources))
            if last or 0.75 * sum(len(packed.text) for packed in arrays.values()) <= room:
                break
    return Kept(arrays, level, _notes(sources, sigma, level, extra, spectra))


def _order(sources: Sources) -> slice | NDArray:
    return slice(None) if sources.order is None else sources.order


def _pack_all(sources: Sources, pieces: list[_Piece]) -> dict[str, Packed]:
    order = _order(sources)
    with ThreadPoolExecutor(2) as pool:
        packed = pool.map(lambda piece: _packed(piece, order), pieces)
        arrays = dict(zip((piece.name for piece in pieces), packed, strict=True))
    arrays["inside"] = _inside(sources)
    blank = ~sources.signals.any(axis=1)  # the background of a volume that was cut out
    if blank.any():
        arrays["blank"] = pack_codes(blank[order])
    return arrays


def _pieces(sources: Sources, sigma: float, regions: NDArray | None, level: Level, extra: set[str]) -> Iterator[_Piece]:
    middle = _median(sources)
    for key, shown in SHOWN.items():
        step = shown.step * (middle if shown.of_s0 else 1.0) * level.steps
        for name, fields in [("truth", sources.truth or {}), *((fit.name, fit.fields) for fit in sources.fits)]:
            if key not in fields or (shown.error and not level.errors):
                continue
            exact = key == "outcome"
            precision = None if exact else Precision(step, level.errors if shown.error else level.k)
            yield _Piece(f"{key} {name}", fields[key], precision)
    precision = Precision((sigma or 1e-2 * middle) * level.signal, 16000.0)
    yield _Piece("signals", sources.signals, precision)
    if sources.images and "images" in extra:
        yield _Piece("images", sources.images.signals, precision)
    if regions is not None:
        yield _Piece("regions", regions, None)


def _packed(piece: _Piece, order: slice | NDArray) -> Packed:
    values = piece.values[order].T if piece.values.ndim > 1 else piece.values[order]  # (column, voxel)
    return pack_codes(values) if piece.precision is None else pack_values(values, piece.precision)


def _median(sources: Sources) -> float:
    """The median size of S0, by which steps are measured."""
    s0 = np.abs(sources.fits[0].fields["s0"])
    known = s0[np.isfinite(s0) & (s0 > 0)]
    return float(np.median(known)) if known.size else 1.0


def _inside(sources: Sources) -> Packed:
    """Which places of the box around the voxels hold one, x fastest."""
    low, high = sources.index.min(0), sources.index.max(0) + 1
    inside = np.zeros(high - low, np.uint8)
    inside[tuple((sources.index - low).T)] = 1
    return pack_codes(inside.ravel(order="F"))


def _spectrum(name: str, spectrum: tuple, order: slice | NDArray) -> dict[str, Packed]:
    """The sparse rows: number of atoms of each voxel, their places, and their parts of the row's sum, in 1/1000."""
    data, indices, indptr = spectrum
    counts = np.diff(indptr)
    if not isinstance(order, slice):
        rows = np.concatenate([np.arange(indptr[v], indptr[v + 1]) for v in order]) if len(order) else order
        data, indices, counts = data[rows], indices[rows], counts[order]
    sums = np.repeat(np.add.reduceat(np.append(data, 0), np.minimum(np.cumsum(counts) - counts, len(data))), counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(sums > 0, 1000 * data / sums, 0)
    return {
        f"spectrum counts {name}": pack_codes(counts),
        f"spectrum atoms {name}": pack_codes(indices),
        f"spectrum shares {name}": pack_codes(np.rint(np.clip(shares, 0, 1000))),
    }


def _estimate(sources: Sources, sigma: float, regions: NDArray | None, level: Level, extra: set[str], spectra: dict) -> float:  # fmt: skip
    """Bytes before base64, from some of the voxels."""
    n = len(sources)
    starts = np.linspace(0, max(n - _RUN, 0), _RUNS).astype(int)
    rows = np.arange(n) if n <= _RUNS * _RUN else (starts[:, None] + np.arange(_RUN)).ravel()
    size = sum(len(_packed(piece, rows).text) for piece in _pieces(sources, sigma, regions, level, extra))
    atoms = sum(len(spectra[name].data) for name in extra if name in spectra)
    return 0.75 * size * n / max(len(rows), 1) + 2.5 * atoms


def _notes(sources: Sources, sigma: float, level: Level, extra: set[str], spectra: dict) -> list[str]:
    rounded = ", ".join(
        f"{SHOWN[key].label} to {max(SHOWN[key].step * level.steps / 2, value / (2 * level.k)) * SHOWN[key].scale:.2g} "
        f"{SHOWN[key].unit} (at {value * SHOWN[key].scale:g})"
        for key, value in _EXAMPLES.items()
    )
    noise = f"to {level.signal / 2:.2g} of the noise SD" if sigma else f"to {level.signal / 2:.2g} % of S0"
    notes = [f"Values are rounded for display: {rounded}; signals {noise}. The estimate stores hold them unrounded."]
    if level.errors:
        notes.append(f"Standard errors, residuals and gaps are kept to {50 / level.errors:.2g} %.")
    else:
        notes.append("Left out to keep the file below its limit: standard errors, RMSE, chi-square and gap.")
    left = sorted({key for fit in sources.fits for key in fit.store.keys} - set(SHOWN))
    if left:
        notes.append(f"Not shown; the estimate stores have them: {', '.join(left)}.")
    if sources.images and "images" not in extra:
        notes.append("Left out to keep the file below its limit: the single images; the signals shown are averages.")
    dropped = [name for name in spectra if name not in extra]
    if dropped:
        notes.append(f"Left out to keep the file below its limit: the spectra of {', '.join(dropped)}.")
    return notes
