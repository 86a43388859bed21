"""Codes of voxels as sparse rows: dense ones are made for some thousand voxels at a time, for 600 atoms take 2.4 kB each."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ivimsc.estimates import Spectrum

__all__ = ["in_order", "parts_of", "scaled", "to_rows"]

PART = 8192  # voxels


def parts_of(n: int) -> Iterator[slice]:
    """The voxels 0..n, `PART` at a time."""
    return (slice(start, min(start + PART, n)) for start in range(0, n, PART))


def to_rows(n: int, code: Callable[[slice], NDArray[np.float32]]) -> Spectrum:
    """Rows of n voxels that sum to 1, from `code(place)`: the dense codes (voxel, atom) of some of them."""
    data, indices, counts = [np.empty(0, np.float32)], [np.empty(0, np.int32)], [0]
    for place in parts_of(n):
        codes = code(place)
        used = codes > 0
        rows = codes / np.maximum(codes.sum(1), np.float32(1e-30))[:, None]
        data.append(rows[used])
        indices.append(np.nonzero(used)[1].astype(np.int32))
        counts.extend(used.sum(1))
    return Spectrum(np.concatenate(data), np.concatenate(indices), np.cumsum(counts, dtype=np.int64))


def scaled(spectrum: Spectrum | None, S0: NDArray[np.float32]) -> Spectrum | None:
    """Rows in units of the signal: times S0 (voxel,); voxels without one have no rows."""
    if spectrum is None:
        return None
    return spectrum._replace(data=spectrum.data * np.repeat(S0, np.diff(spectrum.indptr)).astype(np.float32))


def in_order(parts: list[Spectrum], places: list[NDArray], n: int) -> Spectrum:
    """Rows of some voxels each, at `places`, as rows of all n voxels."""
    counts = np.zeros(n, np.int64)
    for part, at in zip(parts, places, strict=True):
        counts[at] = np.diff(part.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    data, indices = np.empty(indptr[-1], np.float32), np.empty(indptr[-1], np.int32)
    for part, at in zip(parts, places, strict=True):
        own = np.diff(part.indptr)
        to = np.repeat(indptr[at] - part.indptr[:-1], own) + np.arange(len(part.data))
        data[to], indices[to] = part.data, part.indices
    return Spectrum(data, indices, indptr)
