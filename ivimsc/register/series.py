"""The images of one stack through the passes of a registration: template, rigid and affine steps, resampling.

Transforms are matrices in mm along the voxel axes, from the template to an image; ITK keeps them about a centre.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Series", "image_of"]

BINS = 32
RIGID_STEP, AFFINE_STEP, SHORTEST, STEPS = 0.5, 0.1, 2e-3, 40  # of the descent, in voxels


def image_of(sitk: Any, array: NDArray, spacing: tuple[float, ...]) -> Any:
    """An array (x, y[, z]) as an image of ITK with its spacing [mm]."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T, dtype=np.float32))  # ITK's arrays are (z, y, x)
    image.SetSpacing([float(s) for s in spacing])
    return image


class Series:
    """The images of one stack (a volume, or a slice of all images) through the passes."""

    def __init__(self, sitk: Any, images: list, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
        self.sitk, self.images = sitk, images
        arrays = [sitk.GetArrayViewFromImage(image) for image in images]
        # (image,): there is nothing to register by, so it stays where it is
        self.still = np.array([array.min() == array.max() for array in arrays], bool)
        n = len(shape)
        self.centre = [(s - 1) / 2 * w for s, w in zip(shape, spacing, strict=True)]
        axes = [np.arange(0, s, max(s // 24, 1)) * w for s, w in zip(shape, spacing, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, n)
        self.points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        self.history = [[np.eye(n + 1) for _ in images]]
        self.moved: list[list[float]] = []
        self.total: list[list[float]] = []

    def run(self, pool: ThreadPoolExecutor) -> None:
        """One pass: a new template, every image registered to it from where it was; images side by side in `pool`."""
        before = self.history[-1]
        stack = np.array(self.resampled(before, self.sitk.sitkLinear, float("nan")))
        if not self.still.all():
            stack = stack[~self.still]  # an empty image would dim the template and blur its edges
        covered = np.isfinite(stack)
        # voxels that no image covers are 0 in the template: it is only looked at
        mean = np.where(covered, stack, 0).sum(axis=0) / np.maximum(covered.sum(axis=0), 1)
        template = image_of(self.sitk, mean, self.images[0].GetSpacing())
        moving = np.flatnonzero(~self.still) if mean.min() < mean.max() else np.zeros(0, int)
        found = pool.map(lambda k: self._registered(template, k, before[k]), moving)
        after = list(before)
        for k, matrix in zip(moving, found, strict=True):
            after[k] = matrix
        # the images together may drift or shrink without being noticed, and would, pass after pass: the mean stays put
        if len(moving):
            centre = np.linalg.inv(np.mean([after[k] for k in moving], axis=0))
            for k in moving:
                after[k] = after[k] @ centre
        self.history.append(after)
        self.moved.append([self._distance(a, b) for a, b in zip(after, before, strict=True)])
        self.total.append([self._distance(a, np.eye(len(a))) for a in after])

    def _distance(self, a: NDArray, b: NDArray) -> float:
        return float(np.linalg.norm(self.points @ (a - b).T, axis=1).mean())

    def resampled(self, matrices: list[NDArray], how: int, outside: float) -> list[NDArray]:
        """Every image on the grid of the template.

        Parameters
        ----------
        matrices : of every image, from template to image [mm]
        how : interpolation, a constant of SimpleITK
        outside : value where an image holds no data

        Returns
        -------
        an array (x, y[, z]) for every image
        """
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

    def _registered(self, template: Any, k: int, before: NDArray) -> NDArray:
        """The matrix of image k; `before` where ITK finds nothing to compare, as in an image of a few bright voxels."""
        try:
            return self._register(template, self.images[k], before)
        except RuntimeError:
            self.still[k] = True
            return before

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
