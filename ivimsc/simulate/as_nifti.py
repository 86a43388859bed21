"""A phantom as NIfTI: what a scanner would have given, with the mask and the truth beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ivimsc.errors import InputError
from ivimsc.files import told, written_together
from ivimsc.physics.parameters import BY_KEY
from ivimsc.text import cell, require_name
from ivimsc.voxels import Voxels

if TYPE_CHECKING:
    from ivimsc.store import VoxelStore

__all__ = ["write_nifti"]


def write_nifti(
    voxels: "Voxels | VoxelStore", folder: str | Path, force: bool = False, stem: str | None = None
) -> list[Path]:
    """Write a phantom as NIfTI: series, .bval, mask, tissue labels with their names, and truth maps; all or nothing.

    Parameters
    ----------
    voxels : with truth and tissue, in memory or on disk; held in memory as one volume
    folder : made if it is not there
    force : replace files of the same names
    stem : how the names begin; by default the phantom's name

    Returns
    -------
    The files: ``<stem>_dwi.nii.gz`` and ``.bval``, ``<stem>_mask.nii.gz``, ``<stem>_dseg.nii.gz`` and ``.tsv`` (BIDS names
    for labels), ``<stem>_model-ivim_desc-truth_param-<key>_dwimap.nii.gz`` for s0, f, d, dstar

    Raises
    ------
    InputError
        if a file exists (without `force`), or the folder cannot be written, or the voxels have no truth; nothing is
        written then
    """
    from ivimsc.nifti import bval_text, encode_volume  # nibabel is loaded only where NIfTI is written

    where = getattr(voxels, "path", "voxels")
    if voxels.truth is None or voxels.tissue is None:
        raise InputError(f"{where}: found no truth, expected the voxels of a phantom")
    stem = stem or require_name(voxels.attrs.get("phantom"), "phantom", where)
    places = tuple(voxels.index[:].T)
    maps = {f"{stem}_dwi.nii.gz": voxels.read(0, len(voxels)), f"{stem}_mask.nii.gz": np.uint8(1)}
    maps[f"{stem}_dseg.nii.gz"] = voxels.tissue
    windows = {}
    for parameter in (parameter for key, parameter in BY_KEY.items() if key in voxels.truth):
        name, shown = f"{stem}_model-ivim_desc-truth_param-{parameter.key}_dwimap.nii.gz", parameter.display_range
        maps[name] = voxels.truth[parameter.key]
        windows[name] = None if shown is None else tuple(end / parameter.display_scale for end in shown)
    names = [*maps, f"{stem}_dwi.bval", f"{stem}_dseg.tsv"]
    folder = Path(folder)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with written_together([folder / name for name in names], force) as temporary:
        for path, (name, values) in zip(temporary, maps.items(), strict=False):
            volume = np.zeros((*voxels.geometry.shape, *values.shape[1:]), values.dtype, order="F")
            volume[places] = values
            with path.open("wb") as file:
                encode_volume(file, volume, voxels.geometry, window=windows.get(name))
        temporary[-2].write_text(bval_text(voxels.bvalues), encoding="utf-8")
        temporary[-1].write_text(_label_table(voxels.tissue_names), encoding="utf-8")
    return [folder / name for name in names]


def _label_table(names: dict[int, str]) -> str:
    return "index\tname\n" + "".join(f"{code}\t{cell(name)}\n" for code, name in names.items())
