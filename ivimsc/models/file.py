"""Model files: trained networks as safetensors, with all that is needed to use and to judge them in the metadata.

Reading needs no torch: a published model runs in the core installation. The metadata are one JSON text under
``ivimsc``: format version, method, b-values, options, S0, training (stores, voxels, seed, schedule), history, the range
that the model was trained for, and the version that wrote it.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ivimsc.errors import InputError
from ivimsc.files import told, written_whole

__all__ = ["Layout", "Model", "read_model", "require_layout", "write_model"]

FORMAT, VERSION = "ivimsc-model", 1
SAME = {"rtol": 1e-3, "atol": 0.5}  # s/mm²: b-values that count as equal


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network.

    Attributes
    ----------
    method : scdnn, mlp or ivimnet
    arrays : float32 weights by name
    about : the metadata: ``bvalues`` [s/mm²] (None: a general model), ``options``, ``training``, ``history``, ``range``
    source : the file, for messages
    """

    method: str
    arrays: dict[str, NDArray[np.float32]]
    about: dict[str, Any]
    source: str = "model"
    sha256: str = field(default="", compare=False)

    @cached_property
    def bvalues(self) -> NDArray[np.float64] | None:
        """The b-values (b,) that the network takes, ascending [s/mm²]; None: any (a general model)."""
        values = self.about["bvalues"]
        return None if values is None else np.array(values, np.float64)

    @property
    def general(self) -> bool:
        return self.bvalues is None

    def columns(self, bvalues: ArrayLike) -> NDArray[np.intp]:
        """Places in `bvalues` (b,) of the model's; b = 0 may be there beside them (S0 is read from it), nothing else may.

        Raises
        ------
        InputError
            for other b-values: a network is never used for a protocol that it has not seen
        """
        bvalues, wanted = np.asarray(bvalues, np.float64), self.bvalues
        if wanted is None:
            return np.arange(len(bvalues))
        rest = np.flatnonzero(bvalues > 0) if wanted[0] > 0 else np.arange(len(bvalues))
        if len(rest) != len(wanted) or not np.allclose(bvalues[rest], wanted, **SAME):
            raise InputError(
                f"{self.source}: found data of b = {_listed(bvalues)} s/mm², expected b = {_listed(wanted)} s/mm², which "
                "the model was trained for: the option bvalues picks them out of a richer protocol"
            )
        return rest

    def card(self) -> list[str]:
        """The model card: lines for people."""
        about = self.about
        training, reach = about.get("training", {}), about.get("range", {})
        lines = [
            f"{self.source}: model of {self.method}, {sum(a.size for a in self.arrays.values()):,} weights",
            f"b-values: {'any protocol' if self.general else _listed(self.bvalues) + ' s/mm²'}",
            "S0:       " + _S0[about.get("s0", "known")],
            f"options:  {json.dumps(about.get('options', {}), sort_keys=True)}",
        ]
        lines.append("training: " + ", ".join(f"{key} {_short(value)}" for key, value in training.items()))
        lines += [f"range:    {_RANGE.get(key, key)} {_short(value)}" for key, value in reach.items()]
        history = about.get("history", {})
        if history.get("validation"):
            losses = history["validation"]
            lines.append(
                f"losses:   validation {losses[0]:.4g} after epoch 1, {min(losses):.4g} at best of {len(losses)}"
            )
        return [
            *lines,
            f"made by:  ivimsc {about.get('ivimsc_version', 'of unknown version')}",
            f"SHA-256:  {self.sha256}",
        ]


_RANGE = {"low": "least signals", "high": "largest signals", "D": "D [µm²/ms]", "Dstar": "D* [µm²/ms]", "b": ""}
_S0 = {
    "known": "the network takes signals over S0: from b = 0 of the data, or the option s0",
    "free": "found by the network",
}


def write_model(path: str | Path, model: Model, force: bool = False) -> Path:
    """Write a model file whole."""
    text = json.dumps({"format": FORMAT, "format_version": VERSION, "method": model.method, **model.about})
    data = save({k: np.ascontiguousarray(a, np.float32) for k, a in model.arrays.items()}, {"ivimsc": text})
    with written_whole(path, force) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def read_model(path: str | Path) -> Model:
    """Read a model file.

    Raises
    ------
    InputError
        if the file is missing, truncated, not safetensors, not of ivimsc, of a newer version, or holds NaN
    """
    path = Path(path)
    with told(path, "a model file"):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        with safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get("ivimsc")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: found no safetensors file ({_first_line(error)}), expected a model file") from None
    try:
        about = json.loads(text or "null")
        method, version = about.pop("method"), about.pop("format_version")
        known = about.pop("format") == FORMAT and isinstance(about["bvalues"], list | None)
    except (KeyError, TypeError, AttributeError, ValueError):
        known = False
    if not known:
        raise InputError(f"{path}: found safetensors of another program, expected a model written by ivimsc train")
    if version > VERSION:
        raise InputError(f"{path}: found format version {version}, expected at most {VERSION}: a newer ivimsc wrote it")
    bad = [name for name, array in arrays.items() if not np.all(np.isfinite(array))]
    if bad:
        raise InputError(f"{path}: found NaN or Inf in {bad[0]}, expected finite weights")
    return Model(method, arrays, about, str(path), sha256)


@dataclass(frozen=True)
class Layout:
    """What the arrays of a model have to be.

    Attributes
    ----------
    arrays : names that have to be there
    inputs : the array that takes the signals, and which of its axes counts them; None for a model of any protocol
    """

    arrays: tuple[str, ...]
    inputs: tuple[str, int] | None = None


def require_layout(model: Model, layout: Layout) -> None:
    """Refuse a model whose weights are not there, or are for another number of b-values than it says (InputError)."""
    missing = [name for name in layout.arrays if name not in model.arrays]
    if missing:
        raise InputError(f"{model.source}: found no {missing[0]}, expected the weights of {model.method}: {', '.join(layout.arrays)}")  # fmt: skip
    if layout.inputs is not None and model.bvalues is not None:
        name, axis = layout.inputs
        shape = model.arrays[name].shape
        found = shape[axis] if len(shape) >= abs(axis) else 0
        if found != len(model.bvalues):
            raise InputError(f"{model.source}: found weights for {found} b-values, expected {len(model.bvalues)}, those that it names")  # fmt: skip


def _short(value: Any) -> str:
    """A value of the metadata for people: numbers to three digits, lists with commas."""
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _listed(values: ArrayLike) -> str:
    return ", ".join(f"{b:g}" for b in np.asarray(values))
