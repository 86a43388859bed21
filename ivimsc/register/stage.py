"""The registration of images in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import usable_cores
from ivimsc.errors import InputError
from ivimsc.register.series import Series, image_of

__all__ = ["Registration", "register_images"]

PASSES = (6, 10)
LEAST_SLICES = 4  # below it a 3-D registration cannot be smoothed along z


@dataclass(frozen=True)
class Registration:
    """What a registration found.

    Attributes
    ----------
    images : (x, y, z, image) float32, interpolated once; NaN where an image holds no data for the voxel
    matrices : (image, slice, 4, 4), from template to image in mm along the voxel axes; one slice unless planar
    displacement : (pass, image) [mm], mean over the voxels of what the pass moved
    total : (pass, image) [mm], mean displacement from the original after the pass
    best : the pass that was kept, from 0
    notes : sentences for the user: what was left as it is
    """

    images: NDArray[np.float32]
    matrices: NDArray[np.float64]
    displacement: NDArray[np.float64]
    total: NDArray[np.float64]
    best: int
    notes: tuple[str, ...] = ()


def _sitk() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise InputError("register: found no SimpleITK, expected the extra: pip install 'ivimsc[register]'") from None
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # images run side by side; sums keep their order
    return SimpleITK


def register_images(
    images: NDArray,
    zooms: tuple[float, float, float],
    passes: int = PASSES[0],
    planar: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Registration:
    """Register images (x, y, z, image) to their mean; see the module.

    Parameters
    ----------
    images : (x, y, z, image), finite
    zooms : voxel size [mm]
    passes : 6 to 10
    planar : every slice on its own, in its plane
    threads : images registered side by side; the result does not depend on it
    progress : called with (images done, images in all)

    Returns
    -------
    Registration

    Raises
    ------
    InputError
        for less than 2 images, fewer slices than a 3-D registration needs, passes out of range, or no SimpleITK
    """
    sitk = _sitk()
    _check(images, passes, planar)
    stacks = [images[:, :, z, :] for z in range(images.shape[2])] if planar else [images]
    spacing = zooms[:2] if planar else zooms
    total, done = len(stacks) * passes * images.shape[3], 0
    out = np.empty(images.shape, np.float32)
    found = []
    with ThreadPoolExecutor(threads or usable_cores()) as pool:
        for stack in stacks:
            fixed = [image_of(sitk, stack[..., k], spacing) for k in range(stack.shape[-1])]
            series = Series(sitk, fixed, stack.shape[:-1], spacing)
            for _ in range(passes):
                series.run(pool)
                done += len(fixed)
                (progress or (lambda *_: None))(done, total)
            found.append(series)
    displacement = np.mean([s.moved for s in found], axis=0)
    best = int(displacement.mean(axis=1).argmin())
    for z, series in enumerate(found):
        resampled = series.resampled(series.history[best + 1], sitk.sitkBSpline, float("nan"))
        out[(slice(None), slice(None), z) if planar else ()] = np.stack(resampled, axis=-1)
    matrices = np.stack([[_embed(m) for m in s.history[best + 1]] for s in found], axis=1)
    notes = _notes([s.still for s in found], planar)
    return Registration(out, matrices, displacement, np.mean([s.total for s in found], axis=0), best, notes)


def _notes(still: list[NDArray[np.bool_]], planar: bool) -> tuple[str, ...]:
    """What is said of images without contrast; `still` has a row (image,) for each stack."""
    empty = np.array(still)  # (slice, image), or one row
    if not empty.any():
        return ()
    if not planar:
        return (f"{empty.sum()} images have no contrast and stay where they are: {_numbers(empty[0])}",)
    whole = empty.all(axis=1)
    notes = (
        [f"{whole.sum()} slices have no contrast in any image and stay as they are: {_numbers(whole)}"]
        if whole.any()
        else []
    )
    some = (empty & ~whole[:, None]).sum()
    return (*notes, *([f"{some} slices of single images have no contrast and stay where they are"] if some else []))


def _numbers(flags: NDArray[np.bool_]) -> str:
    numbers = [str(number) for number in np.flatnonzero(flags)]
    return ", ".join(numbers[:12]) + (", …" if len(numbers) > 12 else "")


def _check(images: NDArray, passes: int, planar: bool) -> None:
    if images.ndim != 4 or images.shape[3] < 2:
        raise InputError(
            f"register: found images of shape {images.shape}, expected (x, y, z, image), at least 2 images"
        )
    if not PASSES[0] <= passes <= PASSES[1]:
        raise InputError(f"passes: found {passes}, expected {PASSES[0]} to {PASSES[1]}")
    if not planar and images.shape[2] < LEAST_SLICES:
        raise InputError(f"register: found {images.shape[2]} slices, expected at least {LEAST_SLICES} for a 3-D registration: planar=True moves each slice in its plane")  # fmt: skip
    if min(images.shape[:2]) < 16:
        raise InputError(
            f"register: found a matrix of {images.shape[0]} × {images.shape[1]}, expected at least 16 × 16"
        )
    if not np.all(np.isfinite(images)):
        raise InputError(f"register: found {np.sum(~np.isfinite(images))} values that are NaN or Inf, expected none")


def _embed(matrix: NDArray) -> NDArray:
    """A 2-D matrix (3, 3) in the plane of a 3-D one (4, 4)."""
    if len(matrix) == 4:
        return matrix
    out = np.eye(4)
    out[:2, :2], out[:2, 3] = matrix[:2, :2], matrix[:2, 2]
    return out
