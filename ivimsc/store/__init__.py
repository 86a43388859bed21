"""The two kinds of HDF5 file that connect the stages.

A voxel store holds what there is to fit (`VoxelStore`, written by `write_voxels` or `VoxelWriter`); an estimate store
holds what one fit found (`EstimateStore`, written through a `PartFile`). Each is written once, whole, and never changed
after. Everything is streamed: no more than a chunk of voxels is in memory, whatever the size of the store.
"""

from pathlib import Path

from ivimsc.store.estimates import EstimateStore, StoredDictionary
from ivimsc.store.naming import name_fits
from ivimsc.store.opened import ESTIMATES, open_file
from ivimsc.store.part_file import PartFile
from ivimsc.store.voxels import VoxelStore, VoxelWriter, write_voxels

__all__ = [
    "EstimateStore",
    "PartFile",
    "StoredDictionary",
    "VoxelStore",
    "VoxelWriter",
    "name_fits",
    "open_store",
    "write_voxels",
]


def open_store(path: str | Path) -> VoxelStore | EstimateStore:
    """Open a store of either kind, by its format.

    Parameters
    ----------
    path : of the store

    Raises
    ------
    InputError
        for a file that is missing, no store, or damaged
    """
    with open_file(Path(path)) as file:
        kind = file.attrs.get("format")
    return EstimateStore(path) if kind == ESTIMATES else VoxelStore(path)
