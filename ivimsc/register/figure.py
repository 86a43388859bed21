"""The picture of a registration: how far images moved, and the mean image before and after."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ivimsc.figures import Slice, bare, mark_sides, new_figure, save
from ivimsc.masks import auto_mask
from ivimsc.register.stage import Registration
from ivimsc.voxels import Geometry

__all__ = ["draw"]


def draw(registration: Registration, bvalues: NDArray, images: NDArray, geometry: Geometry, path: Path) -> None:
    """What every pass moved, how far every image went in the end, and the images before and after.

    Parameters
    ----------
    registration : of the images
    bvalues : (image,) in s/mm²
    images : (x, y, z, image) before the registration
    geometry : of the images
    path : PNG file to write
    """
    figure, grid = new_figure(2, 6, (13, 8))
    shape = grid[0, 0].get_gridspec()
    for axes in grid.flat:
        axes.remove()
    left, right = figure.add_subplot(shape[0, :3]), figure.add_subplot(shape[0, 3:])
    below = [figure.add_subplot(shape[1, 2 * k : 2 * k + 2]) for k in range(3)]
    scale = "log" if (registration.displacement > 0).any() else "linear"
    passes = np.arange(1, len(registration.displacement) + 1)
    left.plot(passes, registration.displacement, color="0.75", linewidth=0.8)
    left.plot(passes, registration.displacement.mean(axis=1), "o-", color="#1f77b4", label="mean over images")
    left.axvline(registration.best + 1, color="#d62728", linestyle=":", label=f"kept: pass {registration.best + 1}")
    left.set(
        xlabel="pass",
        ylabel="moved by the pass [mm]",
        yscale=scale,
        title=f"Each of {len(bvalues)} images, pass by pass",
    )
    left.legend(frameon=False)
    drawn = right.scatter(
        np.arange(len(bvalues)), registration.total[registration.best], c=bvalues, cmap="viridis", s=18
    )
    right.set(xlabel="image", ylabel="mean displacement [mm]", title="From the original to the result")
    figure.colorbar(drawn, ax=right, label="b [s/mm²]")
    for axes in (left, right):
        bare(axes)
    _before_and_after(figure, below, registration.images, bvalues, images, geometry)
    save(figure, path)


def _before_and_after(figure: Figure, axes: list[Axes], after: NDArray, bvalues: NDArray, before: NDArray, geometry: Geometry) -> None:  # fmt: skip
    """The mean image before and after in one window, and what changed, in the slice with the most tissue."""
    means = [_mean_image(images) for images in (before, after)]
    first = _mean_image(before[..., bvalues == bvalues.min()])
    body = auto_mask(first)
    place = Slice(np.argwhere(body if body.any() else np.ones(first.shape, bool)), geometry)
    low, high = (0, max(float(np.percentile(means[0][body if body.any() else ...], 99)), 1e-12))
    for one, mean, title in zip(axes, means, ("before", "after"), strict=False):
        drawn = one.imshow(
            place.cut(mean[:, :, place.z]), cmap="gray", vmin=low, vmax=high, aspect=place.aspect, origin="upper"
        )
        one.set_title(f"mean of {after.shape[3]} images {title}, slice {place.z + 1}", fontsize=10)
    figure.colorbar(drawn, ax=axes[:2], location="bottom", shrink=0.5, label="signal, as the input")
    change = place.cut((means[1] - means[0])[:, :, place.z])
    top = max(float(np.percentile(np.abs(change), 99)), 1e-12)
    drawn = axes[2].imshow(change, cmap="RdBu_r", vmin=-top, vmax=top, aspect=place.aspect, origin="upper")
    axes[2].set_title("after - before", fontsize=10)
    figure.colorbar(drawn, ax=axes[2], location="bottom", shrink=0.8, label="signal, as the input")
    for one in axes:
        one.set(xticks=[], yticks=[])
        mark_sides(one, place.view)


def _mean_image(images: NDArray) -> NDArray[np.float64]:
    """The mean (x, y, z) over the images that have a value there; 0 where none has."""
    there = np.isfinite(images)
    return np.where(there, images, 0).sum(axis=-1, dtype=np.float64) / np.maximum(there.sum(axis=-1), 1)
