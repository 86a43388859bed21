"""How large the errors of a network are: a small network beside it, which learned the squared error to expect of each voxel.

It takes what the network took and what it gave, and gives the logarithm of the mean squared error of f, D and D*. Of a network that
is the posterior mean of its training, this is the posterior variance. `adapting.spread` teaches it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch, run_blocks
from ivimsc.estimates import Estimates
from ivimsc.models.beside import two_layers_kernel
from ivimsc.models.file import Model

__all__ = ["PREFIX", "SPREAD", "errors_of", "with_errors"]

PREFIX = "spread."
SPREAD = {  # the arrays, name -> shape, for layouts
    "spread.weight0": ("hidden", "seen"),
    "spread.bias0": ("hidden",),
    "spread.weight1": (3, "hidden"),
    "spread.bias1": (3,),
}
HIGHEST = 40.0  # of a logarithm: e^20 is beyond any error


def errors_of(model: Model, seen: NDArray[np.float32], launch: Launch | None = None) -> NDArray[np.float32]:
    """The root of the squared errors of f, D, D* [µm²/ms] to expect (voxel, 3).

    Parameters
    ----------
    model : with the arrays of `SPREAD`
    seen : (voxel, seen) the network's inputs, then f, D, D* as it gives them
    launch : threads to run on; None: one
    """
    w0, c0, w1, c1 = (model.arrays[name] for name in SPREAD)
    logs, layers = (
        np.empty((len(seen), len(c1)), np.float32),
        (np.ascontiguousarray(w0.T), c0, np.ascontiguousarray(w1.T), c1),
    )
    run_blocks(launch or Launch("cpu", 1), two_layers_kernel, len(seen), np.ascontiguousarray(seen), *layers, logs)
    return np.exp(0.5 * np.clip(logs, -HIGHEST, HIGHEST)).astype(np.float32)


def with_errors(estimates: Estimates, model: Model, inputs: NDArray[np.float32], values: NDArray[np.float32],
                launch: Launch | None = None) -> Estimates:  # fmt: skip
    """The estimates with fstd, dstd and dstarstd, where the model has learned them.

    Parameters
    ----------
    estimates, model : what was found, by which model
    inputs, values : (voxel, input) that the network took, and (voxel, 4) S0/s0, f, D, D* [µm²/ms] that it gave
    launch : threads to run on; None: one
    """
    if "spread.weight0" not in model.arrays:
        return estimates
    seen = np.column_stack([inputs, values[:, 1:]]).astype(np.float32)
    errors = errors_of(model, seen, launch)
    errors[~np.isfinite(seen).all(1)] = np.nan
    f, D, Dstar = errors.T
    return replace(estimates, fstd=f, dstd=D * np.float32(1e-3), dstarstd=Dstar * np.float32(1e-3))
