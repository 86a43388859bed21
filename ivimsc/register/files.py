"""The registration of a NIfTI series: files in, files out."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import make_folder, refuse_existing, written_together
from ivimsc.nifti import bval_text, encode_volume, read_volume
from ivimsc.physics.bvalue_text import read_bval
from ivimsc.register.stage import Registration, register_images
from ivimsc.voxels import Geometry

__all__ = ["register_file", "turned"]


def register_file(
    source: Path, bval: Path, out: Path, bvec: Path | None = None, force: bool = False, **options: Any
) -> tuple[Registration, list[Path]]:
    """Register a NIfTI series; write it, its .bval (and .bvec), the transforms, the table and the figure beside it.

    Parameters
    ----------
    source, bval, bvec : the series, its b-values, its directions
    out : ``NAME.nii.gz``; the others are ``NAME.bval``, ``NAME.bvec``, ``NAME_transforms.json``,
        ``NAME_displacement.csv``, ``NAME_displacement.png``; their folder is made
    force : replace files of the same names
    options : passes, planar, threads, progress of `register_images`

    Returns
    -------
    the registration, and the files

    Raises
    ------
    InputError
        for bad input and for files that exist (without `force`); nothing is written then
    """
    from ivimsc.register.figure import draw  # matplotlib is loaded only where something is drawn

    if not out.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{out}: expected a name that ends in .nii or .nii.gz")
    stem = out.name.removesuffix(".gz").removesuffix(".nii")
    paths = [out, *(out.with_name(stem + end) for end in (".bval", "_transforms.json", "_displacement.csv", "_displacement.png"))]  # fmt: skip
    paths += [out.with_name(f"{stem}.bvec")] if bvec is not None else []
    for path in paths:
        refuse_existing(path, force)
    _check_folder(out.parent)
    volume, geometry = read_volume(source)
    bvalues = read_bval(bval)
    if volume.ndim != 4 or volume.shape[3] != len(bvalues):
        raise InputError(f"{bval}: found {len(bvalues)} b-values, expected one per image of {source}, which has shape {volume.shape}")  # fmt: skip
    directions = None if bvec is None else _directions(bvec, len(bvalues))
    images = volume.astype(np.float32)
    registration = register_images(images, geometry.zooms, **options)
    make_folder(out.parent)
    with written_together(paths, force) as temporary:
        with open(temporary[0], "wb") as file:
            encode_volume(file, registration.images, geometry, compress=out.suffix == ".gz")
        temporary[1].write_text(bval_text(bvalues), encoding="utf-8")
        temporary[2].write_text(json.dumps(_transforms(registration, source), indent=1) + "\n", encoding="utf-8")
        with open(temporary[3], "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(_table(registration, bvalues))
        draw(registration, bvalues, images, geometry, temporary[4])
        if directions is not None:
            np.savetxt(temporary[5], turned(directions, registration, geometry), fmt="%.6f")
    return registration, paths


def _check_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that cannot be made or written to."""
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: found {above} not writable, expected a folder that can be written to")


def _directions(bvec: Path, volumes: int) -> NDArray:
    try:
        directions = np.loadtxt(bvec, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{bvec}: {error}, expected 3 rows of {volumes} directions") from None
    directions = directions if directions.shape == (3, volumes) else directions.T
    if directions.shape != (3, volumes):
        raise InputError(f"{bvec}: found a table of {directions.T.shape}, expected 3 rows of {volumes} directions")
    return directions


def turned(directions: NDArray, registration: Registration, geometry: Geometry) -> NDArray:
    """Gradient directions turned along with their images, by the rotation that is nearest to each matrix.

    Parameters
    ----------
    directions : (3, image), in FSL's convention
    registration : of the images; a planar one turns by the mean over its slices
    geometry : of the images

    Returns
    -------
    (3, image), in FSL's convention
    """
    flip = np.diag([-1.0 if np.linalg.det(geometry.affine[:3, :3]) > 0 else 1.0, 1, 1])
    out = np.empty(directions.shape)
    for k, matrices in enumerate(registration.matrices):
        u, _, v = np.linalg.svd(matrices[:, :3, :3].mean(axis=0))
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        out[:, k] = flip @ rotation.T @ flip @ directions[:, k]
    return out


def _transforms(registration: Registration, source: Path) -> dict[str, Any]:
    about = "from the template to each image, 4 × 4, mm along the voxel axes; one per slice where planar"
    return {"source": source.name, "pass": registration.best + 1, "matrices": registration.matrices.tolist(), "meaning": about}  # fmt: skip


def _table(registration: Registration, bvalues: NDArray) -> Iterator[list]:
    yield ["pass", "kept", "image", "b [s/mm²]", "moved [mm]", "total [mm]"]
    for p, (moved, total) in enumerate(zip(registration.displacement, registration.total, strict=True)):
        for k, b in enumerate(bvalues):
            yield [p + 1, int(p == registration.best), k, f"{b:g}", f"{moved[k]:.4f}", f"{total[k]:.4f}"]
