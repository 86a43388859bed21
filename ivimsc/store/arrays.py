"""From arrays, volumes and masks to what a voxel store holds: what `VoxelStore.write` takes, checked once, then in blocks.

The order of the voxels is that of a NIfTI file, x fastest, so that a store has the same checksum however it was made.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.device.launch import is_on_gpu
from ivimsc.errors import InputError
from ivimsc.physics.models import MODELS
from ivimsc.physics.parameters import BY_KEY
from ivimsc.physics.protocol import Protocol
from ivimsc.physics.volume_notes import missing_note, rising_note
from ivimsc.store.kinds import Damaged, require_attrs
from ivimsc.voxels import Geometry, inside_of, weights_of, with_nan

__all__ = ["Packed", "packed"]

BLOCK = 65536  # voxels at once
ABOUT = ("tissue", "tissue_names", "repeats", "source", "attrs")
LABELS = 256  # codes of tissues


class Packed(NamedTuple):
    """A voxel store to be written: n voxels, bvalues (b,) [s/mm²], their volume, and what the store says of itself.

    pieces : signals (voxel, b), places (voxel, 3), truth by key, and tissue, some voxels at a time
    """

    n: int
    bvalues: NDArray[np.float64]
    geometry: Geometry
    about: dict[str, Any]
    pieces: Iterator[tuple[NDArray, NDArray, dict[str, NDArray] | None, NDArray | None]]


class _Arrays(NamedTuple):
    """Arrays over space, signals (…, image) among them, and the places (voxel,) of the voxels in it, x fastest."""

    signals: NDArray
    truth: dict[str, NDArray] | None
    tissue: NDArray | None
    places: NDArray[np.intp]

    def blocks(self) -> Iterator[tuple[NDArray[np.int32], tuple[NDArray, ...]]]:
        """Places (voxel, 3) in the volume, and the same as an index into the arrays, `BLOCK` voxels at a time."""
        space = self.signals.shape[:-1]
        for start in range(0, len(self.places), BLOCK):
            at = np.unravel_index(self.places[start : start + BLOCK], space, order="F")
            index = np.zeros((len(at[0]), 3), np.int32)
            index[:, : len(at)] = np.stack(at, axis=1)
            yield index, at


def packed(signals: ArrayLike, bvalues: ArrayLike, mask: ArrayLike | None = None, geometry: Any = None,
           truth: Mapping[str, ArrayLike] | None = None, **about: Any) -> Packed:  # fmt: skip
    """Check arrays, and make ready what a voxel store is to hold of them: see `VoxelStore.write`."""
    if odd := sorted(about.keys() - set(ABOUT)):
        raise InputError(f"{odd[0]}: found an argument of that name, expected one of {', '.join(ABOUT)}")
    if is_on_gpu(signals):
        raise InputError("signals: found an array on a GPU, expected one in host memory")
    array = with_nan(signals)
    if array.dtype.kind not in "fiub":
        raise InputError(f"signals: found dtype {array.dtype}, expected real numbers")
    protocol = Protocol.from_volumes(bvalues, "bvalues")
    images = len(protocol.shell)
    if array.ndim not in (2, 3, 4) or array.shape[-1] != images:
        raise InputError(f"signals: found shape {array.shape}, expected (voxel, {images}), (x, y, {images}) or (x, y, z, {images}), one image for each of the b-values")  # fmt: skip
    space = array.shape[:-1]
    if not math.prod(space):
        raise InputError(f"signals: found shape {array.shape}, expected at least one voxel")
    place = _place(geometry, (*space, 1, 1)[:3])
    inside = np.ones(space, bool) if mask is None else inside_of(mask, space)
    tissue, names = _labels(about.get("tissue"), about.get("tissue_names"), space)
    arrays = _Arrays(array, _truth(truth, space), tissue, np.flatnonzero(inside.reshape(-1, order="F")))
    attrs = _attrs(about.get("attrs"), _repeats(about.get("repeats"), protocol), _notes(arrays, protocol))
    said = {"source": str(about.get("source", "arrays")), "tissue_names": names, "attrs": attrs}
    return Packed(len(arrays.places), protocol.bvalues, place, said, _pieces(arrays, protocol))


def _pieces(arrays: _Arrays, protocol: Protocol) -> Iterator[tuple]:
    for index, at in arrays.blocks():
        truth = arrays.truth and {key: values[at] for key, values in arrays.truth.items()}
        yield protocol.average(arrays.signals[at]), index, truth, None if arrays.tissue is None else arrays.tissue[at]


def _place(given: Any, shape: tuple[int, int, int]) -> Geometry:
    """The geometry of a volume of that shape, from an affine or from what has one."""
    if given is None:
        return Geometry(shape, np.eye(4))
    given = getattr(given, "geometry", given)
    if isinstance(given, Geometry):
        if tuple(given.shape) != shape:
            raise InputError(f"geometry: found a volume of shape {tuple(given.shape)}, expected {shape}, that of the signals")  # fmt: skip
        return given
    try:
        affine = np.array(given, np.float64)
    except (TypeError, ValueError):
        affine = np.zeros(0)
    whole = affine.shape == (4, 4) and np.isfinite(affine).all() and np.array_equal(affine[3], (0, 0, 0, 1))
    if not whole or not abs(np.linalg.det(affine[:3, :3])) > 0:
        found = f"numbers of shape {affine.shape} that are none" if affine.size else type(given).__name__
        raise InputError(f"geometry: found {found}, expected an affine (4, 4) that can be inverted, a Geometry or a store")  # fmt: skip
    zooms = tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    return Geometry(shape, affine, sform=affine, sform_code=2, zooms=zooms)  # 2: aligned, an affine of somebody's own


def _truth(truth: Mapping[str, ArrayLike] | None, space: tuple[int, ...]) -> dict[str, NDArray] | None:
    """Truth by key over space; names may be those of Python (S0, Dstar) or of files (s0, dstar)."""
    if not truth:
        return None
    keys = {parameter.code: key for key, parameter in BY_KEY.items()}
    named = {keys.get(name, name): values for name, values in truth.items()}
    if set(named) not in [*(set(model.keys) for model in MODELS.values()), set(BY_KEY)]:
        raise InputError(f"truth: found {', '.join(map(str, truth))}, expected {', '.join(MODELS['biexp'].keys)}, or the parameters of another model")  # fmt: skip
    found = {}
    for key, values in named.items():
        try:
            found[key] = np.broadcast_to(np.asarray(values, np.float32), space)
        except (TypeError, ValueError):
            raise InputError(f"truth: found {key} of shape {np.shape(values)}, expected numbers {space}, those of the signals without b") from None  # fmt: skip
    return {key: found[key] for key in BY_KEY if key in found}


def _labels(tissue: ArrayLike | None, names: Mapping[int, str] | None, space: tuple[int, ...]) -> tuple[NDArray | None, dict[int, str]]:  # fmt: skip
    """Codes of tissues over space, and a name for each that occurs."""
    if tissue is None:
        if names:
            raise InputError("tissue_names: found names without tissue, expected the codes that they name")
        return None, {}
    codes = np.asarray(tissue)
    if codes.shape != space:
        raise InputError(f"tissue: found shape {codes.shape}, expected {space}, that of the signals without b")
    whole = codes.dtype.kind in "iub" or (codes.dtype.kind == "f" and np.array_equal(codes, np.trunc(codes)))
    if not whole or codes.min() < 0 or codes.max() >= LABELS:
        raise InputError(f"tissue: found values of {codes.dtype} from {codes.min()} to {codes.max()}, expected whole numbers from 0 to {LABELS - 1}")  # fmt: skip
    named = {int(code): f"label {code:g}" for code in np.unique(codes)}
    for code, name in (names or {}).items():
        if not (isinstance(code, int | np.integer) and 0 <= code < LABELS and isinstance(name, str)):
            raise InputError(f"tissue_names: found {code!r}: {name!r}, expected a code from 0 to {LABELS - 1} and its name")  # fmt: skip
        named[int(code)] = name
    return codes.astype(np.uint8), named


def _repeats(given: ArrayLike | None, protocol: Protocol) -> list[float]:
    """Images that the signal at each of the b-values of the store is the mean of."""
    if given is None:
        return protocol.repeats.tolist()
    if protocol.repeats.max() > 1:
        raise InputError("repeats: found with b-values that come several times, expected each b-value once")
    weights = weights_of(given, len(protocol.shell))
    sorted_ = np.empty_like(weights)
    sorted_[protocol.shell] = weights
    return sorted_.tolist()


def _notes(arrays: _Arrays, protocol: Protocol) -> list[str]:
    """What the signals have to be told of."""
    missing = 0
    if arrays.signals.dtype.kind == "f" and protocol.repeats.max() > 1:  # else nothing that is missing is averaged over
        missing = sum(protocol.average_and_count(arrays.signals[at])[1] for _, at in arrays.blocks())
    first = protocol.average(arrays.signals[next(arrays.blocks())[1]])
    return [*protocol.notes, *missing_note(missing, protocol), *rising_note(first, protocol)]


def _attrs(given: Mapping[str, Any] | None, repeats: list[float], notes: list[str]) -> dict[str, Any]:
    """What the store says of itself beside its own attributes."""
    said = dict(given or {})
    try:
        require_attrs(said)
        json.dumps(said)
    except (Damaged, TypeError, ValueError) as error:
        raise InputError(f"attrs: found {error}, expected names and JSON types") from None
    return said | {"repeats": repeats, "notes": [*said.get("notes", []), *notes]}
