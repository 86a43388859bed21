"""A mask from the images themselves: what is brighter than the background at b = 0.

Otsu's threshold (Otsu 1979, doi:10.1109/TSMC.1979.4310076) parts the voxels into two classes, dark and bright, so that the
variance between them is the largest. It is taken of the sixth root of the signal: organs differ by a factor of ten at
b = 0, and of the signal itself the two classes are fluid and everything else. Voxels of exactly 0 are padding or were
cut away by another program; they are background and tell nothing of the noise. A median over three by three voxels
takes the noise away first. The largest connected pieces of the bright class are the body; narrow gaps and holes in a
slice are filled, for vessels, dark muscle, gas and bone belong to it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["auto_mask", "background_share", "otsu_threshold"]

BINS = 256
ROOT = 6  # of the signal
BRIGHTEST = 99.0  # percentile: what is brighter (fluid, tissue beside a coil) counts as this bright
CONTRAST = 5.0  # of the means: tissues differ by less, body and background of scans by 7 and more
SMALLEST = 0.1  # of the largest piece, in voxels: smaller pieces are left out
SAME = 1e-6  # relative: no classes, and no 256 bins
GAP = 3  # voxels: dark strips of muscle and bone that are narrower than twice this are inside the body
WIDTH = 3  # voxels of a slice whose median is taken


def otsu_threshold(values: NDArray) -> float:
    """The value that parts dark from bright.

    Parameters
    ----------
    values : any shape; only those above 0 and finite count

    Returns
    -------
    the threshold, in the unit of the values; they are bright above it. 0 where they are not clearly of two classes
    """
    values = values[np.isfinite(values) & (values > 0)].astype(np.float64)
    roots = np.minimum(values, np.percentile(values, BRIGHTEST) if len(values) else 0) ** (1 / ROOT)
    if not len(roots) or np.ptp(roots) <= SAME * roots.max():
        return 0.0
    counts, edges = np.histogram(roots, BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    dark, sums = np.cumsum(counts)[:-1], np.cumsum(counts * middles)
    bright = counts.sum() - dark  # neither is 0: the ends of the histogram hold the least and the largest
    between = dark * bright * (sums[:-1] / dark - (sums[-1] - sums[:-1]) / bright) ** 2
    best = np.flatnonzero(between == between.max())  # an empty stretch between the classes is as good all along
    threshold = float(edges[1 + best].mean() ** ROOT)
    low = values <= threshold
    return threshold if values[~low].mean() >= CONTRAST * values[low].mean() else 0.0


def background_share(b0: NDArray) -> float:
    """The share of voxels that look like background: dark beside much brighter ones, 0, or not finite.

    Parameters
    ----------
    b0 : (voxel,) signals at b = 0
    """
    return float(np.mean(~(np.where(np.isfinite(b0), b0, 0) > otsu_threshold(b0)))) if len(b0) else 0.0


def auto_mask(b0: NDArray) -> NDArray[np.bool_]:
    """The body: the large bright pieces of an image at b = 0, holes in its slices filled.

    Parameters
    ----------
    b0 : (x, y, z); what is not finite is dark

    Returns
    -------
    (x, y, z) bool; all voxels above 0 where nothing is much darker than the others
    """
    b0 = np.where(np.isfinite(b0), b0, 0)
    smooth = ndimage.median_filter(b0, (WIDTH, WIDTH, 1), mode="nearest")
    bright = smooth > otsu_threshold(smooth)
    pieces, n = ndimage.label(bright)
    if not n:
        return bright
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = (sizes >= SMALLEST * sizes.max())[pieces]
    return np.stack([_closed(body[..., z]) for z in range(body.shape[2])], axis=-1)


def _closed(slice_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One slice (x, y) without gaps narrower than twice `GAP` and without holes."""
    x, y = np.ogrid[-GAP : GAP + 1, -GAP : GAP + 1]
    disk = x**2 + y**2 <= GAP**2
    # outside the image is no background: bright tissue may go on there, so the edge is repeated
    padded = np.pad(slice_, GAP, mode="edge")
    closed = ndimage.binary_erosion(ndimage.binary_dilation(padded, disk), disk, border_value=1)
    return ndimage.binary_fill_holes(closed[GAP:-GAP, GAP:-GAP] | slice_)
