"""From a picture of labels to the truth of every voxel: tissue means with a smooth spread inside each tissue."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.phantoms import Block
from ivimsc.phantoms.literature import Tissue
from ivimsc.phantoms.shapes import Axes, field
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.voxels import Geometry

__all__ = ["LIMITS", "Canvas", "Scene", "log_normal", "make_scene"]

COARSE, FINE = 14.0, 5.0  # mm: correlation lengths of the two parts of the spread within a tissue
MAX_DEVIATION = 2.5  # SDs: keeps single voxels out of the physiologically absurd
LIMITS = {
    "S0": (0.05, 5.0),
    "f": (0.001, 0.95),
    "D": (0.1e-3, 3.2e-3),
    "Dstar": (6e-3, 0.18),
}  # inside the fit's bounds


class Canvas:
    """A picture of tissue codes, painted shape by shape; the codes follow the order of `tissues`, 0 is air."""

    def __init__(self, tissues: Iterable[str], labels: NDArray[np.uint8]) -> None:
        self.codes = {name: code for code, name in enumerate(tissues, start=1)}
        self.labels = labels

    def paint(self, tissue: str, where: NDArray[np.bool_]) -> None:
        """Put a tissue in the voxels `where`, a bool array of the canvas's shape, over what was there."""
        self.labels[where] = self.codes[tissue]

    def has(self, *tissues: str) -> NDArray[np.bool_]:
        """Where any of these tissues lies now: a bool array of the canvas's shape."""
        return np.isin(self.labels, [self.codes[name] for name in tissues])

    def part(self, where: NDArray[np.bool_]) -> "Canvas":
        """A canvas (voxel,) of only the voxels `where`: small shapes are quicker to paint there; see `put`."""
        return Canvas(self.codes, self.labels[where])

    def put(self, where: NDArray[np.bool_], part: "Canvas") -> None:
        """Put a part of the canvas, from `part`, back in its place, the voxels `where`."""
        self.labels[where] = part.labels


class Scene:
    """The truth of an anatomical phantom, in memory: a `Phantom`."""

    def __init__(self, geometry: Geometry, block: Block, tissue_names: dict[int, str]) -> None:
        self.geometry, self.tissue_names = geometry, tissue_names
        self._block = block

    def __len__(self) -> int:
        return len(self._block.tissue)

    def read(self, start: int, stop: int) -> Block:
        """Truth of the voxels start..stop: those inside the picture, with x running fastest."""
        truth = {key: values[start:stop] for key, values in self._block.truth.items()}
        return Block(truth, self._block.tissue[start:stop], self._block.index[start:stop])


def make_scene(
    canvas: Canvas,
    tissues: dict[str, Tissue],
    space: tuple[Axes, Geometry],
    seed: int,
    blends: tuple[tuple[str, str, NDArray[np.float32]], ...] = (),
) -> Scene:
    """Give every painted voxel its parameters.

    Parameters
    ----------
    canvas : the labels (x, y, z)
    tissues : values by name, for every name of the canvas
    space : coordinates [mm] and geometry of the picture
    seed : keys the spread within the tissues
    blends : (tissue a, tissue b, weight (x, y, z)): where either lies, the mean and SD are (1 - weight) a + weight b, so
        that there is no step between the two

    Raises
    ------
    InputError
        for a matrix so coarse that nothing of the picture is in it
    """
    axes, geometry = space
    if not canvas.labels.any():
        text = ",".join(str(n) for n in geometry.shape)
        raise InputError(f"shape: found {text}, in which no voxel's centre meets the organ; expected a finer matrix")
    index = np.argwhere(canvas.labels.T)[:, ::-1].astype(np.int32)  # x fastest, as in a NIfTI file
    places = tuple(index.T)
    points, tissue = tuple(axis[places] for axis in axes), canvas.labels[places]
    truth = {}
    for number, parameter in enumerate(PARAMETERS):
        table = np.array([(0.0, 0.0)] + [getattr(tissues[name], parameter.code) for name in canvas.codes], np.float32)
        mean, spread = table[tissue].T
        for a, b, weight in blends:
            both = np.isin(tissue, (canvas.codes[a], canvas.codes[b]))
            mix = weight[places][both, None]
            blended = (1 - mix) * table[canvas.codes[a]] + mix * table[canvas.codes[b]]
            mean[both], spread[both] = blended.T
        noise = 0.8 * field(points, COARSE, seed, 2 * number) + 0.6 * field(points, FINE, seed, 2 * number + 1)
        truth[parameter.key] = log_normal(mean, spread, noise, LIMITS[parameter.code])
    names = {code: name for name, code in canvas.codes.items()}
    return Scene(geometry, Block(truth, tissue, index), names)


def log_normal(
    mean: NDArray[np.float32], spread: NDArray[np.float32], deviation: NDArray[np.float32], limits: tuple[float, float]
) -> NDArray[np.float32]:
    """Values (voxel,) with that mean and SD, positive by construction; `deviation` is in SDs."""
    width = np.sqrt(np.log1p((spread / mean) ** 2))
    values = mean * np.exp(width * np.clip(deviation, -MAX_DEVIATION, MAX_DEVIATION) - width**2 / 2)
    return np.clip(values, *limits).astype(np.float32)
