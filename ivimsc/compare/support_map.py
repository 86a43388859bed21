"""The map of the models that the data support: a NIfTI volume of codes, their names, and a picture of the middle slice."""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ivimsc.compare.evidence import CODES, NOT_FITTED
from ivimsc.figures import new_figure, save
from ivimsc.files import written_together
from ivimsc.voxels import Geometry

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
    codes: NDArray[np.uint8], index: NDArray[np.int32], geometry: Geometry, out: Path, stem: str, force: bool = False
) -> list[Path]:
    """Write the map.

    Parameters
    ----------
    codes : (voxel,), as in `CODES`
    index : (voxel, 3), places of the voxels in the volume
    geometry : of the volume
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

    volume = np.zeros(geometry.shape, np.uint8, order="F")
    volume[tuple(index.T)] = codes
    paths = support_paths(out, stem)
    with written_together(paths, force) as (nifti, table, picture):
        with nifti.open("wb") as file:
            encode_volume(file, volume, geometry)
        table.write_text("index\tname\n" + "".join(f"{k}\t{name}\n" for k, name in CODES.items()), encoding="utf-8")
        _draw(volume, codes, index, geometry, picture)
    return paths


def _draw(volume: NDArray[np.uint8], codes: NDArray[np.uint8], index: NDArray[np.int32], geometry: Geometry, path: Path) -> None:  # fmt: skip
    """The slice with most voxels, and how many voxels of the whole volume support each model."""
    z = int(np.bincount(index[:, 2]).argmax())
    figure, axes = new_figure(1, 1, (6.4, 5.2))
    axes.imshow(volume[:, :, z].T, origin="lower", cmap=ListedColormap(COLOURS), vmin=0, vmax=len(COLOURS) - 1,
                interpolation="nearest", aspect=geometry.zooms[1] / geometry.zooms[0])  # fmt: skip
    axes.set(xticks=[], yticks=[], title=f"the model that the data support, slice {z + 1} of {geometry.shape[2]}")
    counts, fitted = np.bincount(codes, minlength=len(COLOURS)), max(int(np.sum(codes != NOT_FITTED)), 1)
    handles = [
        Patch(facecolor=COLOURS[code], edgecolor="#555555", label=f"{name}: {100 * counts[code] / fitted:.1f} %")
        for code, name in CODES.items() if code != NOT_FITTED and counts[code]
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=min(len(handles), 3), frameon=False
    )
    save(figure, path)
