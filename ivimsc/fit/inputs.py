"""What a method is given beside its options and the voxels: the files that its options name, and the noise level."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ivimsc.errors import InputError
from ivimsc.methods import Inputs, Method
from ivimsc.models import Model, read_model
from ivimsc.phantoms.literature import data_folder
from ivimsc.store import VoxelStore
from ivimsc.store.dictionaries import read_dictionary

__all__ = ["general_model", "identity_of", "inputs_of", "model_of"]


def inputs_of(method: Method, options: Any, noise_level: Callable[[], float]) -> Inputs:
    """What `method` is given for a data set.

    Parameters
    ----------
    method, options : the record of the method, and its options
    noise_level : tells the noise SD of the data set

    Raises
    ------
    InputError
        for a file that is missing, damaged or of another kind
    """
    named = {option: getattr(options, option) for option in method.files}
    files = {option: _READERS[method.files[option]](name, method) for option, name in named.items() if name is not None}
    return Inputs({k: v for k, v in files.items() if v is not None}, noise_level)


def identity_of(inputs: Inputs) -> dict[str, str]:
    """What the files that options name hold, in checksums: ``OPTION_sha256`` -> SHA-256 of the content.

    Two files of one name are told apart by it, and two copies of one file are not.
    """
    return {f"{option}_sha256": _sha256(content) for option, content in inputs.files.items()}


def _sha256(content: Any) -> str:
    """SHA-256 of what a file holds: a model's is its file's, of others that of their arrays, in a fixed order."""
    if isinstance(content, Model):
        return content.sha256
    arrays = content if isinstance(content, Mapping) else content.to_arrays()
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        if not isinstance(array, str):  # words about its origin change no result
            array = np.ascontiguousarray(array)
            total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            total.update(array.data)
    return total.hexdigest()


def model_of(name: str, method: Method) -> Model:
    """The model file `name`, or the model of that name that comes with the package: ``general`` for scdnn."""
    packaged = data_folder() / "models" / f"{method.name}-{name}.safetensors"
    return read_model(packaged if "/" not in name and packaged.is_file() else name)


def general_model() -> Model:
    """The general model of scdnn that comes with the package."""
    return read_model(data_folder() / "models" / "scdnn-general.safetensors")


def _truth_of(name: str, method: Method) -> Any:
    """The truth of a voxel store; None where `name` is a word that the method knows itself."""
    if not name.endswith(".h5"):
        return None
    with VoxelStore(Path(name)) as store:
        if not {"s0", "f", "d", "dstar"} <= set(store.truth_keys):
            raise InputError(f"{name}: found no truth, expected a voxel store with the true f, D and D*")
        return store.truth


_READERS: dict[str, Callable[[str, Method], Any]] = {
    "dictionary": lambda name, method: read_dictionary(name),
    "truth": _truth_of,
    "model": model_of,
}
