"""The voxels of several stores, to learn a population from: their truth is not looked at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.store import VoxelStore
from ivimsc.voxels import SelectedVoxels, Voxels, sample_signals

__all__ = ["unlabelled"]


def unlabelled(stores: Sequence[Path], bvalues: NDArray | None) -> Voxels:
    """A sample of the voxels of all stores, their truth not looked at.

    Raises
    ------
    InputError
        for no store, and for stores of different b-values or numbers of images
    """
    if not stores:
        raise InputError("train: found no voxel store, expected at least one")
    parts, first = [], None
    for path in stores:
        with VoxelStore(path) as store:
            voxels = store if bvalues is None else SelectedVoxels(store, bvalues)
            about = (voxels.bvalues.tolist(), voxels.weights.tolist())
            if first is not None and about != first:
                raise InputError(f"{path}: found {_in_words(about)}, expected {_in_words(first)}, as {stores[0]}")
            first = about
            parts.append(sample_signals(voxels))
    return Voxels(np.concatenate(parts), np.array(first[0]), repeats=np.array(first[1]))


def _in_words(about: tuple[list[float], list[float]]) -> str:
    """b-values and numbers of images for people."""
    b, images = (", ".join(f"{value:g}" for value in values) for values in about)
    return f"b = {b} s/mm² of {images} images"
