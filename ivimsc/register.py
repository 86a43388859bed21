"""Registration of a diffusion series to itself, as the paper does it (its section on data and registration).

The mean of all images is the template; every image is registered to it by a rigid, then an affine transform; the means
get sharper, so this is repeated 6 to 10 times, and the pass that still had the least to move is kept. Each pass starts
from the transforms of the one before and looks at the original images, so the result is interpolated once. Images are
compared by mutual information (Mattes), because contrast changes with b. In `planar` mode every slice moves on its own,
within its plane: for single slices, and for series whose slices were taken in different breath-holds.

SimpleITK does the registration (extra [register]).
"""

import csv
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import usable_cores
from ivimsc.errors import InputError
from ivimsc.files import refuse_existing, written_together
from ivimsc.nifti import encode_volume, read_volume
from ivimsc.physics.protocol import read_bval
from ivimsc.voxels import Geometry

__all__ = ["Registration", "register_file", "register_images"]

PASSES = (6, 10)
LEAST_SLICES = 4  # below it a 3-D registration cannot be smoothed along z
BINS = 32
RIGID_STEP, AFFINE_STEP, SHORTEST, STEPS = 0.5, 0.1, 2e-3, 40  # of the descent, in voxels


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
    """

    images: NDArray[np.float32]
    matrices: NDArray[np.float64]
    displacement: NDArray[np.float64]
    total: NDArray[np.float64]
    best: int


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
    zooms : voxel size [mm]
    passes : 6 to 10
    planar : every slice on its own, in its plane
    threads : images registered side by side; the result does not depend on it
    progress : called with (images done, images in all)

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
            fixed = [_image(sitk, stack[..., k], spacing) for k in range(stack.shape[-1])]
            series = _Series(sitk, fixed, stack.shape[:-1], spacing)
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
    return Registration(out, matrices, displacement, np.mean([s.total for s in found], axis=0), best)


def _check(images: NDArray, passes: int, planar: bool) -> None:
    if images.ndim != 4 or images.shape[3] < 2:
        raise InputError(
            f"register: found images of shape {images.shape}, expected (x, y, z, image), at least 2 images"
        )
    if not PASSES[0] <= passes <= PASSES[1]:
        raise InputError(f"--passes: found {passes}, expected {PASSES[0]} to {PASSES[1]}")
    if not planar and images.shape[2] < LEAST_SLICES:
        raise InputError(f"register: found {images.shape[2]} slices, expected at least {LEAST_SLICES} for a 3-D registration: --planar moves each slice in its plane")  # fmt: skip
    if min(images.shape[:2]) < 16:
        raise InputError(
            f"register: found a matrix of {images.shape[0]} × {images.shape[1]}, expected at least 16 × 16"
        )
    if not np.all(np.isfinite(images)):
        raise InputError(f"register: found {np.sum(~np.isfinite(images))} values that are NaN or Inf, expected none")


def _image(sitk: Any, array: NDArray, spacing: tuple[float, ...]) -> Any:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T, dtype=np.float32))  # ITK's arrays are (z, y, x)
    image.SetSpacing([float(s) for s in spacing])
    return image


class _Series:
    """The images of one stack (a volume, or a slice of all images) through the passes."""

    def __init__(self, sitk: Any, images: list, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
        self.sitk, self.images = sitk, images
        n = len(shape)
        self.centre = [(s - 1) / 2 * w for s, w in zip(shape, spacing, strict=True)]
        axes = [np.arange(0, s, max(s // 24, 1)) * w for s, w in zip(shape, spacing, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, n)
        self.points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        self.history = [[np.eye(n + 1) for _ in images]]
        self.moved: list[list[float]] = []
        self.total: list[list[float]] = []

    def run(self, pool: ThreadPoolExecutor) -> None:
        """One pass: a new template, every image registered to it from where it was."""
        before = self.history[-1]
        stack = np.array(self.resampled(before, self.sitk.sitkLinear, float("nan")))
        covered = np.isfinite(stack)
        # voxels that no image covers are 0 in the template: it is only looked at
        mean = np.where(covered, stack, 0).sum(axis=0) / np.maximum(covered.sum(axis=0), 1)
        template = _image(self.sitk, mean, self.images[0].GetSpacing())
        after = list(pool.map(lambda pair: self._register(template, *pair), zip(self.images, before, strict=True)))
        # the images together may drift or shrink without being noticed, and would, pass after pass: the mean stays put
        centre = np.linalg.inv(np.mean(after, axis=0))
        after = [matrix @ centre for matrix in after]
        self.history.append(after)
        self.moved.append([self._distance(a, b) for a, b in zip(after, before, strict=True)])
        self.total.append([self._distance(a, np.eye(len(a))) for a in after])

    def _distance(self, a: NDArray, b: NDArray) -> float:
        return float(np.linalg.norm(self.points @ (a - b).T, axis=1).mean())

    def resampled(self, matrices: list[NDArray], how: int, outside: float) -> list[NDArray]:
        """Every image as an array (x, y[, z]) on the grid of the template."""
        arrays = []
        for image, matrix in zip(self.images, matrices, strict=True):
            moved = self.sitk.Resample(image, image, self._affine(matrix), how, outside)
            arrays.append(self.sitk.GetArrayFromImage(moved).T)
        return arrays

    def _affine(self, matrix: NDArray) -> Any:
        n = len(matrix) - 1
        affine = self.sitk.AffineTransform(n)
        affine.SetCenter(self.centre)
        centre = np.array(self.centre)
        affine.SetMatrix(matrix[:n, :n].ravel().tolist())
        affine.SetTranslation((matrix[:n, n] + matrix[:n, :n] @ centre - centre).tolist())
        return affine

    def _register(self, template: Any, image: Any, before: NDArray) -> NDArray:
        """Rigid, then affine, starting from `before`: the matrix from template to image."""
        sitk, n = self.sitk, len(before) - 1
        rigid = sitk.Euler2DTransform() if n == 2 else sitk.Euler3DTransform()
        rigid.SetCenter(self.centre)
        first = self._optimise(template, image, rigid, before, RIGID_STEP)
        affine = sitk.AffineTransform(n)
        affine.SetCenter(self.centre)
        return self._optimise(template, image, affine, first, AFFINE_STEP)

    def _optimise(self, template: Any, image: Any, moving: Any, before: NDArray, step: float) -> NDArray:
        """Improve the matrix `before` by a transform of the kind of `moving`, applied ahead of it.

        The descent ends where it ends, which may be worse than where it began: then `before` stays.
        """
        sitk, n = self.sitk, len(before) - 1
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricSamplingStrategy(method.NONE)
        method.SetInterpolator(sitk.sitkLinear)
        voxel = float(min(template.GetSpacing()))
        method.SetOptimizerAsRegularStepGradientDescent(step * voxel, SHORTEST * voxel, STEPS, relaxationFactor=0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        coarse = n == 2 or min(template.GetSize()) >= 16
        method.SetShrinkFactorsPerLevel([2, 1] if coarse else [1])
        method.SetSmoothingSigmasPerLevel([1, 0] if coarse else [0])
        method.SetMovingInitialTransform(self._affine(before))
        method.SetInitialTransform(moving, inPlace=True)
        start = method.MetricEvaluate(template, image)
        method.Execute(template, image)
        return before @ _matrix(moving, n) if method.MetricEvaluate(template, image) < start else before


def _matrix(transform: Any, n: int) -> NDArray:
    """The transform of ITK (about a centre) as one matrix (n + 1, n + 1)."""
    linear = np.array(transform.GetMatrix()).reshape(n, n)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(n + 1)
    matrix[:n, :n], matrix[:n, n] = linear, shift + centre - linear @ centre
    return matrix


def _embed(matrix: NDArray) -> NDArray:
    """A 2-D matrix (3, 3) in the plane of a 3-D one (4, 4)."""
    if len(matrix) == 4:
        return matrix
    out = np.eye(4)
    out[:2, :2], out[:2, 3] = matrix[:2, :2], matrix[:2, 2]
    return out


def turned(directions: NDArray, registration: Registration, geometry: Geometry) -> NDArray:
    """Directions (3, image), FSL's convention, turned along with their images (the rotation nearest to each matrix).

    A planar registration turns by the mean over the slices.
    """
    flip = np.diag([-1.0 if np.linalg.det(geometry.affine[:3, :3]) > 0 else 1.0, 1, 1])
    out = np.empty(directions.shape)
    for k, matrices in enumerate(registration.matrices):
        u, _, v = np.linalg.svd(matrices[:, :3, :3].mean(axis=0))
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        out[:, k] = flip @ rotation.T @ flip @ directions[:, k]
    return out


def register_file(
    source: Path, bval: Path, out: Path, bvec: Path | None = None, force: bool = False, **options: Any
) -> tuple[Registration, list[Path]]:
    """Register a NIfTI series; write it, its .bval (and .bvec), the transforms, the table and the figure beside it.

    Parameters
    ----------
    source, bval, bvec : the series, its b-values, its directions
    out : ``NAME.nii.gz``; the others are ``NAME.bval``, ``NAME.bvec``, ``NAME_transforms.json``,
        ``NAME_displacement.csv``, ``NAME_displacement.png``
    options : passes, planar, threads, progress of `register_images`

    Raises
    ------
    InputError
        for bad input and for files that exist (without `force`); nothing is written then
    """
    if not out.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{out}: expected a name that ends in .nii or .nii.gz")
    stem = out.name.removesuffix(".gz").removesuffix(".nii")
    paths = [out, *(out.with_name(stem + end) for end in (".bval", "_transforms.json", "_displacement.csv", "_displacement.png"))]  # fmt: skip
    paths += [out.with_name(f"{stem}.bvec")] if bvec is not None else []
    for path in paths:
        refuse_existing(path, force)
    volume, geometry = read_volume(source)
    bvalues = read_bval(bval)
    if volume.ndim != 4 or volume.shape[3] != len(bvalues):
        raise InputError(f"{bval}: found {len(bvalues)} b-values, expected one per image of {source}, which has shape {volume.shape}")  # fmt: skip
    directions = None if bvec is None else _directions(bvec, len(bvalues))
    registration = register_images(volume.astype(np.float32), geometry.zooms, **options)
    with written_together(paths, force) as temporary:
        with open(temporary[0], "wb") as file:
            encode_volume(file, registration.images, geometry, compress=out.suffix == ".gz")
        temporary[1].write_text(" ".join(f"{b:.10g}" for b in bvalues) + "\n")
        temporary[2].write_text(json.dumps(_transforms(registration, source), indent=1) + "\n")
        with open(temporary[3], "w", newline="") as file:
            csv.writer(file).writerows(_table(registration, bvalues))
        _figure(registration, bvalues, temporary[4])
        if directions is not None:
            np.savetxt(temporary[5], turned(directions, registration, geometry), fmt="%.6f")
    return registration, paths


def _directions(bvec: Path, volumes: int) -> NDArray:
    try:
        directions = np.loadtxt(bvec, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{bvec}: {error}, expected 3 rows of {volumes} directions") from None
    directions = directions if directions.shape == (3, volumes) else directions.T
    if directions.shape != (3, volumes):
        raise InputError(f"{bvec}: found a table of {directions.T.shape}, expected 3 rows of {volumes} directions")
    return directions


def _transforms(registration: Registration, source: Path) -> dict[str, Any]:
    about = "from the template to each image, 4 × 4, mm along the voxel axes; one per slice where planar"
    return {"source": source.name, "pass": registration.best + 1, "matrices": registration.matrices.tolist(), "meaning": about}  # fmt: skip


def _table(registration: Registration, bvalues: NDArray) -> Iterator[list]:
    yield ["pass", "kept", "image", "b [s/mm²]", "moved [mm]", "total [mm]"]
    for p, (moved, total) in enumerate(zip(registration.displacement, registration.total, strict=True)):
        for k, b in enumerate(bvalues):
            yield [p + 1, int(p == registration.best), k, f"{b:g}", f"{moved[k]:.4f}", f"{total[k]:.4f}"]


def _figure(registration: Registration, bvalues: NDArray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    passes = np.arange(1, len(registration.displacement) + 1)
    left.plot(passes, registration.displacement, color="0.75", linewidth=0.8)
    left.plot(passes, registration.displacement.mean(axis=1), "o-", color="#1f77b4", label="mean over images")
    left.axvline(registration.best + 1, color="#d62728", linestyle=":", label=f"kept: pass {registration.best + 1}")
    left.set(xlabel="pass", ylabel="moved by the pass [mm]", yscale="log", title="Each image, pass by pass")
    left.legend(frameon=False)
    drawn = right.scatter(
        np.arange(len(bvalues)), registration.total[registration.best], c=bvalues, cmap="viridis", s=18
    )
    right.set(xlabel="image", ylabel="mean displacement [mm]", title="From the original to the result")
    figure.colorbar(drawn, ax=right, label="b [s/mm²]")
    for axes in (left, right):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=110, format="png")
    plt.close(figure)
