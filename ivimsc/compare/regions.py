"""Parts of a labelled volume that a method which looks at neighbours can get wrong: near edges, and small regions."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label, maximum_filter, minimum_filter

__all__ = ["EDGES", "SMALL", "Part", "hard_parts", "here"]

EDGES, SMALL = "near edges", "small regions"
FEW = 27  # voxels of a small region, at most
TOUCHING = generate_binary_structure(3, 3)  # the 26 neighbours

Part = int | None | NDArray[np.bool_]  # a tissue code; all voxels; or (voxel,) which


def here(part: Part, codes: NDArray[np.uint8] | None, rows: slice | NDArray[np.intp]) -> slice | NDArray[np.bool_]:
    """Which of some voxels, `rows` of the store, are of a part; `codes` are the tissue codes of them."""
    if part is None:
        return slice(None)
    return part[rows] if isinstance(part, np.ndarray) else codes == part


def hard_parts(index: NDArray, shape: tuple[int, int, int], tissue: NDArray[np.uint8]) -> dict[str, NDArray[np.bool_]]:
    """Voxels near edges, and in small regions, each part only where it has voxels.

    Parameters
    ----------
    index : (voxel, 3) places in the volume
    shape : of the volume
    tissue : (voxel,) labels

    Returns
    -------
    name -> (voxel,) bool. Near an edge one of the 26 neighbours has another label (outside of the voxels is no label); a small
    region is at most `FEW` voxels of one label that touch one another, corners included
    """
    places = tuple(np.asarray(index, np.intp).T)
    there, labels = np.zeros(shape, bool), np.zeros(shape, np.int16)
    there[places], labels[places] = True, tissue
    high = maximum_filter(np.where(there, labels, -1), footprint=TOUCHING, mode="nearest")
    low = minimum_filter(np.where(there, labels, 256), footprint=TOUCHING, mode="nearest")
    parts = {EDGES: (high != low)[places], SMALL: np.zeros(len(tissue), bool)}
    for code in np.unique(tissue):
        regions, _ = label(there & (labels == code), TOUCHING)
        sizes = np.bincount(regions.ravel())
        sizes[0] = FEW + 1  # all that is not of this label
        parts[SMALL] |= (sizes <= FEW)[regions[places]]
    return {name: inside for name, inside in parts.items() if inside.any()}
