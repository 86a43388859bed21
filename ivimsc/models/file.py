"""Model files: trained networks as safetensors, with all that is needed to use and to judge them in the metadata.

Reading needs no torch: a published model runs in the core installation. The metadata are one JSON text under
``ivimsc``: format version, method, b-values, options, S0, training (stores, voxels, seed, schedule), history, the range
that the model was trained for, and the version that wrote it.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import save

from ivimsc.errors import InputError
from ivimsc.files import written_whole
from ivimsc.models.reading import checksum, read_arrays, require_about

__all__ = ["Model", "read_model", "write_model"]

FORMAT, VERSION = "ivimsc-model", 1
CHECKSUM = "ivimsc_sha256"  # in the metadata: SHA-256 of the other metadata and of the arrays
SAME = {"rtol": 1e-3, "atol": 0.5}  # s/mm²: b-values that count as equal


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network.

    Attributes
    ----------
    method : scdnn, mlp or ivimnet
    arrays : float32 weights by name
    about : the metadata: ``bvalues`` [s/mm²] (None: a general model), ``options``, ``training``, ``history``, ``range``
    source, sha256 : the file, for messages, and its SHA-256
    has_checksum : the file has a checksum, which holds
    """

    method: str
    arrays: dict[str, NDArray[np.float32]]
    about: dict[str, Any]
    source: str = "model"
    sha256: str = field(default="", compare=False)
    has_checksum: bool = field(default=False, compare=False)

    @cached_property
    def bvalues(self) -> NDArray[np.float64] | None:
        """The b-values (b,) that the network takes, ascending [s/mm²]; None: any (a general model)."""
        values = self.about["bvalues"]
        return None if values is None else np.array(values, np.float64)

    @property
    def general(self) -> bool:
        return self.bvalues is None

    @property
    def finds_s0(self) -> bool:
        """The network takes signals of any scale, and finds S0."""
        return self.about.get("s0") == "free"

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
        lines.append(
            "training: " + ", ".join(f"{key} {_short(value)}" for key, value in training.items() if key != "key")
        )
        if self.finds_s0 and not self.general:
            lines.append("trust:    " + _TRUST[bool(training.get("learned", True))])
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
            f"SHA-256:  {self.sha256}{'' if self.has_checksum else ' (the file has no checksum of its own: an earlier ivimsc wrote it)'}",
        ]


_RANGE = {"low": "least signals", "high": "largest signals", "D": "D [µm²/ms]", "Dstar": "D* [µm²/ms]", "b": ""}
_TRUST = {  # how far a model can be trusted that learned a population without truth
    True: "scans of the population above, at these b-values; in such a scan one voxel in 300 has outcome 7, and a larger share tells that a scan is of another population: adapt anew",
    False: "any tissue, but not more than the broad prior above: the data told no population",
}
_S0 = {
    "known": "the network takes signals over S0: from b = 0 of the data, or the option s0",
    "free": "found by the network",
}


def write_model(path: str | Path, model: Model, force: bool = False) -> Path:
    """Write a model file whole."""
    text = json.dumps({"format": FORMAT, "format_version": VERSION, "method": model.method, **model.about})
    arrays = {k: np.ascontiguousarray(a, np.float32) for k, a in model.arrays.items()}
    data = save(arrays, {"ivimsc": text, CHECKSUM: checksum(text, arrays)})
    with written_whole(path, force) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def read_model(path: str | Path) -> Model:
    """Read a model file.

    Raises
    ------
    InputError
        if the file is missing, truncated, not safetensors, not of ivimsc, of a newer version, damaged, or holds NaN
    """
    path = Path(path)
    arrays, metadata, sha256 = read_arrays(path)
    text = metadata.get("ivimsc", "null")
    try:
        about = json.loads(text)
        method, version = about.pop("method"), about.pop("format_version")
        known = about.pop("format") == FORMAT and type(version) is int and "bvalues" in about
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        known = False
    if not known:
        raise InputError(f"{path}: found safetensors of another program, expected a model written by ivimsc train")
    if version > VERSION:
        raise InputError(f"{path}: found format version {version}, expected at most {VERSION}: a newer ivimsc wrote it")
    if CHECKSUM in metadata and metadata[CHECKSUM] != checksum(text, arrays):
        raise InputError(f"{path}: found a damaged model, which does not agree with its checksum, expected a whole one")
    try:
        require_about(about, method, _S0)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: found {error}") from None
    bad = [name for name, array in arrays.items() if not np.all(np.isfinite(array))]
    if bad:
        raise InputError(f"{path}: found NaN or Inf in {bad[0][:40]}, expected finite weights")
    return Model(method, arrays, about, str(path), sha256, CHECKSUM in metadata)


def _short(value: Any) -> str:
    """A value of the metadata for people: numbers to three digits, lists with commas."""
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _listed(values: ArrayLike) -> str:
    return ", ".join(f"{b:g}" for b in np.asarray(values))
