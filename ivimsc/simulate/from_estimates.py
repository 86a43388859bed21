"""Simulation from fitted maps: measured parameters become the truth of new signals (the paper's gold standard)."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ivimsc.device.launch import Launch, choose_device
from ivimsc.errors import InputError
from ivimsc.phantoms import Block
from ivimsc.simulate.phantom import make_acquisition, write_truth

__all__ = ["write_from_estimates"]

KEYS = ("f", "d", "dstar")  # what is taken from the maps; S0 is 1


def write_from_estimates(
    path: str | Path,
    estimates: str | Path,
    bvalues: ArrayLike | None = None,
    snr: float = 30.0,
    seed: int = 0,
    noise: str = "rician",
    *,
    launch: Launch | None = None,
    force: bool = False,
) -> int:
    """Simulate from fitted maps: the paper's gold standard, measured parameters as truth, S0 = 1, noise of (11).

    Parameters
    ----------
    path : voxel store to write
    estimates : estimate store with f, D and D*; voxels without a fit (outcome 5) are left out
    bvalues : (b,) in s/mm²; default: those of the fit
    snr, seed, noise, launch, force : as for `write_phantom`

    Returns
    -------
    number of voxels

    Raises
    ------
    InputError
        for a file that is no estimate store, lacks f, D or D*, or holds no fitted voxel
    """
    phantom = _Measured(estimates)
    acquisition = make_acquisition(phantom.bvalues if bvalues is None else bvalues, snr, seed, noise)
    name = Path(estimates).name
    names = (f"{name} ({phantom.method})", f"estimates {name}")
    return write_truth(path, phantom, names, acquisition, launch or choose_device(), force)


class _Measured:
    """The fitted voxels of an estimate store as a phantom."""

    tissue_names: ClassVar[dict[int, str]] = {1: "measured"}

    def __init__(self, path: str | Path) -> None:
        from ivimsc.store import EstimateStore  # HDF5 is loaded only where a store is read

        with EstimateStore(path) as store:
            missing = [key for key in KEYS if key not in store.keys]
            if missing:
                raise InputError(f"{path}: found no {missing[0]} (method {store.method}), expected estimates of f, D and D* to take as truth")  # fmt: skip
            truth = {key: store[key] for key in KEYS}
            fitted = np.flatnonzero(np.isfinite(np.sum(list(truth.values()), axis=0)))
            if not fitted.size:
                raise InputError(f"{path}: found no fitted voxel, expected estimates to take as truth")
            self.geometry, self.method, self.bvalues = store.geometry, store.method, store.bvalues
            self._index = store.index[:][fitted]
        self._truth = {"s0": np.ones(len(fitted), np.float32)} | {k: v[fitted] for k, v in truth.items()}

    def __len__(self) -> int:
        return len(self._index)

    def read(self, start: int, stop: int) -> Block:
        truth = {key: values[start:stop] for key, values in self._truth.items()}
        return Block(truth, np.ones(stop - start, np.uint8), self._index[start:stop])
