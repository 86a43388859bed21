"""The map of the models that the data support: a NIfTI volume of codes, their names, and a picture of one slice."""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ivimsc.compare.columns import blocks
from ivimsc.compare.evidence import CODES, NOT_FITTED
from ivimsc.figures import Slice, mark_sides, new_figure, save
from ivimsc.files import written_together
from ivimsc.store import VoxelStore

__all__ = ["support_paths", "write_support"]

COLOURS = ("#ffffff", "#7a7a7a", "#2b6ca3", "#2e9e74", "#d98a1f", "#b3b3b3", "#b3b3b3", "#b3b3b3", "#b3b3b3", "#b5305b")


def support_paths(out: Path, stem: str) -> list[Path]:
    """Where `write_support` puts the volume, the names of its codes and the picture."""
    return [
        out / f"{stem}_desc-support_dseg.nii.gz",
        out / f"{stem}_desc-support_dseg.tsv",
        out / f"{stem}_support.png",
    ]


def write_support(
    codes: NDArray[np.uint8], voxels: VoxelStore, place: Slice, out: Path, stem: str, force: bool = False
) -> list[Path]:
    """Write the map.

    Parameters
    ----------
    codes : (voxel,), as in `CODES`
    voxels : open store of the voxels
    place : the slice of the picture
    out, stem : folder, and how the names begin
    force : replace files of the same names

    Returns
    -------
    the files

    Raises
    ------
    InputError
        if a file exists (without `force`) or cannot be written; nothing is written then
    """
    from ivimsc.nifti import encode_volume  # nibabel is loaded only where NIfTI is written

    volume = np.zeros(voxels.geometry.shape, np.uint8, order="F")
    for block in blocks(len(codes)):
        volume[tuple(voxels.index[block].T)] = codes[block]
    paths = support_paths(out, stem)
    with written_together(paths, force) as (nifti, table, picture):
        with nifti.open("wb") as file:
            encode_volume(file, volume, voxels.geometry)
        table.write_text("index\tname\n" + "".join(f"{k}\t{name}\n" for k, name in CODES.items()), encoding="utf-8")
        _draw(codes, place, picture)
    return paths


def _draw(codes: NDArray[np.uint8], place: Slice, path: Path) -> None:
    """One slice, and how many voxels of the whole volume support each model."""
    figure, axes = new_figure(1, 1, (6.4, 5.2))
    shown = place.put(codes[place.rows], NOT_FITTED)
    axes.imshow(shown, cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=len(COLOURS) - 0.5, interpolation="nearest",
                aspect=place.aspect)  # fmt: skip
    axes.set(xticks=[], yticks=[])
    mark_sides(axes, place.view)
    axes.set_title(f"the model that the data support, {place.label}", fontsize=10)
    counts, fitted = np.bincount(codes, minlength=len(COLOURS)), max(int(np.sum(codes != NOT_FITTED)), 1)
    handles = [
        Patch(facecolor=COLOURS[code], edgecolor="#555555", label=f"{name}: {100 * counts[code] / fitted:.1f} %")
        for code, name in CODES.items() if code != NOT_FITTED and counts[code]
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=min(len(handles), 3), frameon=False
    )
    save(figure, path)
