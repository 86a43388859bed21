"""What a report is of: the signals that were fitted, and the fits, each checked to belong to them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.methods import METHODS
from ivimsc.store import EstimateStore, VoxelStore
from ivimsc.voxels import Voxels

__all__ = ["MOST", "Fit", "Images", "Sources", "opened_sources", "refuse_too_many"]

MOST = 4_000_000  # voxels: beyond this neither a file nor a browser is quick
WIDEST = 8192  # along an axis of a slice: no canvas of a browser is larger than twice this
FEW = 12  # fits side by side


class Fit(NamedTuple):
    """One fit of the report: its name there, the open store, and the fields (voxel,) that are shown, by key."""

    name: str
    store: EstimateStore
    fields: dict[str, NDArray]

    @property
    def mono(self) -> bool:
        """The model is one exponential: no f and no D*."""
        return "f" not in self.fields

    @property
    def title(self) -> str:
        """What the method is, in words."""
        method = METHODS.get(self.store.method)
        return method.load().TITLE if method else self.store.method


class Images(NamedTuple):
    """The single images of a series, in the order of the file.

    signals : (voxel, volume) float32; numbers : (volume,) in the file, from 0; shell : (volume,) which b-value of the voxels
    """

    signals: NDArray[np.float32]
    numbers: NDArray[np.intp]
    shell: NDArray[np.intp]


@dataclass(frozen=True)
class Sources:
    """The signals and the fits of a report.

    Attributes
    ----------
    name : file name of the input
    voxels : a `VoxelStore` or `Voxels`
    signals : (voxel, b) float32
    index : (voxel, 3) places in the volume
    fits : those to show, in the order given
    images : single images, where the input is a series with more images than b-values
    order : (voxel,) the voxels in the order of the page, x fastest, then y, then z; None where they are in it already
    """

    name: str
    voxels: Any
    signals: NDArray[np.float32]
    index: NDArray[np.int32]
    fits: list[Fit]
    images: Images | None
    order: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def bvalues(self) -> NDArray[np.float64]:
        return self.voxels.bvalues

    @property
    def weights(self) -> NDArray[np.float64]:
        return np.asarray(self.voxels.weights, np.float64)

    @property
    def truth(self) -> Mapping[str, NDArray] | None:
        return self.voxels.truth


def refuse_too_many(n: int, source: str | Path) -> None:
    """Refuse more voxels than a page can show.

    Parameters
    ----------
    n : number of voxels
    source : where they come from, for the error

    Raises
    ------
    InputError
        for more than `MOST`
    """
    if n > MOST:
        raise InputError(f"{source}: found {n:,} voxels, expected at most {MOST:,} for a report: a mask leaves the background out")  # fmt: skip


@contextmanager
def opened_sources(
    path: Path, estimates: Sequence[Path], bval: Path | None = None, volumes: Any = None
) -> Iterator[Sources]:
    """Open what was fitted and its fits; use as a context manager.

    Parameters
    ----------
    path : voxel store (.h5) or NIfTI series that was fitted
    estimates : estimate stores of its fits
    bval : b-values of a series
    volumes : the volumes of the series that were fitted; None: all

    Raises
    ------
    InputError
        for estimates of other signals, too many voxels, and whatever cannot be read
    """
    if not 1 <= len(estimates) <= FEW:
        raise InputError(f"estimates: found {len(estimates)}, expected 1 to {FEW} estimate stores")
    with ExitStack() as stack:
        stores = [stack.enter_context(EstimateStore(file)) for file in estimates]
        for store in stores:
            refuse_too_many(len(store), store.path)
        voxels = _open(path, stores[0], bval, volumes, stack)
        refuse_too_many(len(voxels), path)
        for store in stores:
            if store.signals_sha256 != voxels.signals_sha256 or len(store) != len(voxels):
                raise InputError(
                    f"{store.path}: found the fit of other signals ({store.source or 'unknown source'}, "
                    f"{len(store):,} voxels), expected one of those in {path}"
                )
        index = np.asarray(voxels.index[:])
        shape = voxels.geometry.shape
        if max(shape[:2]) > WIDEST:
            raise InputError(f"{path}: found a volume of {shape}, expected at most {WIDEST} along x and y for a report")
        if ((index < 0) | (index >= shape)).any():
            raise InputError(f"{path}: found an index outside the volume, expected all within {shape}")
        fits = [Fit(name, store, _fields(store)) for name, store in zip(_names(stores), stores, strict=True)]
        images = None if path.suffix == ".h5" else _images(path, bval, volumes, voxels)
        places = np.ravel_multi_index(tuple(index.T), shape, order="F")
        order = None if np.all(places[1:] > places[:-1]) else np.argsort(places, kind="stable")
        if order is not None and np.any(np.diff(places[order]) == 0):
            raise InputError(f"{path}: found two voxels at one place, expected each at a place of its own")
        yield Sources(path.name, voxels, voxels.read(0, len(voxels)), index, fits, images, order)


def _open(path: Path, first: EstimateStore, bval: Path | None, volumes: Any, stack: ExitStack) -> VoxelStore | Voxels:
    if path.suffix == ".h5":
        for name, value in (("bval", bval), ("volumes", volumes)):
            if value is not None:
                raise InputError(f"{name}: found {value}, expected none: {path} is a voxel store, which has its own b-values and voxels")  # fmt: skip
        return stack.enter_context(VoxelStore(path))
    if bval is None:
        raise InputError(f"bval: found none, expected the .bval file of {path}")
    from ivimsc.nifti import read_series  # nibabel is loaded only where NIfTI is read

    inside = np.zeros(first.geometry.shape, bool)
    index = first.index[:]
    if ((index < 0) | (index >= inside.shape)).any():
        raise InputError(f"{first.path}: found an index outside the volume, expected all within {inside.shape}")
    inside[tuple(index.T)] = True
    return read_series(path, bval, mask=inside, volumes=volumes)


def _images(path: Path, bval: Path, volumes: Any, voxels: Voxels) -> Images | None:
    """The single images of the series; None where each b-value has one."""
    if voxels.weights.max() == 1:
        return None
    from ivimsc.nifti import read_images

    return Images(*read_images(path, bval, voxels.index, volumes))


def _names(stores: Sequence[EstimateStore]) -> list[str]:
    """The method of each fit, with a number where a method is there twice."""
    times, seen, names = Counter(store.method for store in stores), Counter(), []
    for store in stores:
        seen[store.method] += 1
        names.append(f"{store.method} {seen[store.method]}" if times[store.method] > 1 else store.method)
    return names


def _fields(store: EstimateStore) -> dict[str, NDArray]:
    from ivimsc.report.shown import SHOWN

    return {key: store[key] for key in SHOWN if key in store.keys}
