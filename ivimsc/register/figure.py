"""The picture of a registration."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.register.stage import Registration

__all__ = ["draw"]


def draw(registration: Registration, bvalues: NDArray, path: Path) -> None:
    """What every pass moved, and how far every image went in the end.

    Parameters
    ----------
    registration : of the images
    bvalues : (image,) in s/mm²
    path : PNG file to write
    """
    from ivimsc.figures import bare, new_figure, save  # matplotlib is loaded only where something is drawn

    figure, (left, right) = new_figure(1, 2, (11, 4))
    scale = "log" if (registration.displacement > 0).any() else "linear"
    passes = np.arange(1, len(registration.displacement) + 1)
    left.plot(passes, registration.displacement, color="0.75", linewidth=0.8)
    left.plot(passes, registration.displacement.mean(axis=1), "o-", color="#1f77b4", label="mean over images")
    left.axvline(registration.best + 1, color="#d62728", linestyle=":", label=f"kept: pass {registration.best + 1}")
    left.set(xlabel="pass", ylabel="moved by the pass [mm]", yscale=scale, title="Each image, pass by pass")
    left.legend(frameon=False)
    drawn = right.scatter(
        np.arange(len(bvalues)), registration.total[registration.best], c=bvalues, cmap="viridis", s=18
    )
    right.set(xlabel="image", ylabel="mean displacement [mm]", title="From the original to the result")
    figure.colorbar(drawn, ax=right, label="b [s/mm²]")
    for axes in (left, right):
        bare(axes)
    save(figure, path)
