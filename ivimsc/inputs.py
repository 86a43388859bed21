"""What a method's options name but a method cannot get itself: files, and the noise level. Methods know no files."""

from typing import Any

import numpy as np

from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.methods import VoxelSource, load_method
from ivimsc.models import Model, read_model
from ivimsc.phantoms.literature import data_folder
from ivimsc.store import VoxelStore
from ivimsc.store.dictionaries import read_dictionary

__all__ = ["general_model", "inputs_of", "noise_level"]

GENERAL = "general"  # the option `model` of scdnn that means the model in the package
SAMPLE, RUN = 8192, 16  # voxels that tell the noise level, in runs of neighbours spread over the data


def inputs_of(options: Any, voxels: VoxelSource, launch: Launch) -> dict[str, Any]:
    """Keyword arguments for a method's `prepare`: what its `options` ask for."""
    found: dict[str, Any] = {}
    if getattr(options, "dictionary", None) is not None:
        found["dictionary"] = read_dictionary(options.dictionary)
    if getattr(options, "truth_from", None) is not None:
        with VoxelStore(options.truth_from) as store:
            found["truth"] = store.truth
    if getattr(options, "model", None) is not None:
        model = found["model"] = general_model() if options.model == GENERAL else read_model(options.model)
        if model.general and options.sigma is None and options.snr is None:
            found["sigma"] = noise_level(voxels, launch)
    return found


def general_model() -> Model:
    """The general model of scdnn that comes with the package."""
    return read_model(data_folder() / "models" / "scdnn-general.safetensors")


def noise_level(voxels: VoxelSource, launch: Launch) -> float:
    """Noise SD in units of the signal, from the residuals of nlls on a sample of the voxels.

    The median over voxels of Σ r², over that of a chi-square of K - 4 degrees of freedom: bad voxels do not move it.

    Raises
    ------
    InputError
        for fewer than 5 b-values, which leave no residual, and where no voxel can be fitted
    """
    n, n_b = len(voxels), len(voxels.bvalues)
    if n_b < 5:
        raise InputError(f"noise level: found {n_b} b-values, which leave no residuals to tell it from, expected --set snr=… or sigma=…")  # fmt: skip
    starts = [0] if n <= SAMPLE else np.linspace(0, n - RUN, SAMPLE // RUN).astype(int).tolist()
    signals = np.concatenate([voxels.read(start, n if n <= SAMPLE else start + RUN) for start in starts])
    nlls = load_method("nlls")
    rmse = nlls.prepare(voxels, nlls.Options(), launch).fit(np.ascontiguousarray(signals), 0).rmse.astype(np.float64)
    rmse = rmse[np.isfinite(rmse)]
    freedom = n_b - 4
    middle = freedom * (1 - 2 / (9 * freedom)) ** 3  # median of chi-square (Wilson and Hilferty)
    sigma = float(np.sqrt(np.median(rmse**2) * n_b / middle)) if len(rmse) else 0.0
    if not sigma > 0:
        raise InputError("noise level: found no voxel with residuals to tell it from, expected --set snr=… or sigma=…")
    return sigma
