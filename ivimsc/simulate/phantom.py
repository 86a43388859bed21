"""Phantoms with noise, in memory or straight into a voxel store.

Every noise draw is keyed by (seed, voxel, b-value): a voxel's signal depends on its number in the phantom alone, never on
threads or blocks, and a phantom may be larger than memory (`write_phantom`).
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ivimsc.compiling import JIT, KERNEL
from ivimsc.device.launch import BLOCK, Launch, choose_device, run_blocks
from ivimsc.errors import InputError
from ivimsc.numerics.random_numbers import NOISE, normals
from ivimsc.phantoms import Block, Phantom, make_phantom
from ivimsc.phantoms.beyond import with_model
from ivimsc.physics.models import mixture_signals
from ivimsc.physics.noise import NOISES, gaussian, rician
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.physics.signal import signal
from ivimsc.simulate.forward import check_bvalues
from ivimsc.voxels import Voxels

__all__ = ["DEFAULT_BVALUES", "Acquisition", "make_acquisition", "simulate_block", "simulate_phantom", "write_phantom", "write_truth"]  # fmt: skip

DEFAULT_BVALUES = (0.0, 10.0, 20.0, 50.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0)  # s/mm²; the paper's section 3
WRITE_BLOCK = 1 << 23  # signals simulated between two writes: about 100 MB with index and truth, at ten b-values
RICIAN, GAUSSIAN, NONE = range(len(NOISES))  # the numbers of NOISES in kernels, here and in `on_gpu`


class Acquisition(NamedTuple):
    """How a phantom is measured: distinct ascending b-values (b,) [s/mm²], and its noise.

    `noise` is one of `NOISES`; `sigma` is its standard deviation in units of the signal, 1 / snr, or 0 without noise.
    """

    bvalues: NDArray[np.float64]
    snr: float
    sigma: float
    seed: int
    noise: str
    model: str = "biexp"

    def attrs(self, name: str) -> dict[str, Any]:
        """What the store of the phantom `name` says of itself; the model only where it is not equation (1)."""
        about = {"phantom": name, "snr": self.snr, "sigma": self.sigma, "seed": self.seed, "noise": self.noise}
        return about if self.model == "biexp" else about | {"model": self.model}


def make_acquisition(bvalues: ArrayLike | None, snr: float, seed: int, noise: str) -> Acquisition:
    """Check what a phantom is to be measured with.

    Parameters
    ----------
    bvalues : (b,) distinct, in s/mm², in any order; None: the paper's ten
    snr : reference S0 = 1 over sigma
    seed : keys the noise
    noise : one of `NOISES`

    Raises
    ------
    InputError
        for an unknown noise, an SNR that is no number > 0, and b-values that are negative, not finite or repeated
    """
    if noise not in NOISES:
        raise InputError(f"noise: found {noise!r}, expected one of {', '.join(NOISES)}")
    if not (math.isfinite(snr) and snr > 0):
        raise InputError(f"snr: found {snr:g}, expected a number > 0 (noise='none' for no noise)")
    b = np.sort(check_bvalues(DEFAULT_BVALUES if bvalues is None else bvalues))
    if len(np.unique(b)) < len(b):
        raise InputError(f"bvalues: found {', '.join(f'{v:g}' for v in b)}, expected distinct b-values")
    return Acquisition(b, snr, 0.0 if noise == "none" else 1.0 / snr, seed, noise)


def simulate_phantom(
    name: str,
    bvalues: ArrayLike | None = None,
    snr: float = 30.0,
    seed: int = 0,
    noise: str = "rician",
    *,
    voxels: int | None = None,
    shape: tuple[int, int, int] | None = None,
    model: str = "biexp",
    launch: Launch | None = None,
) -> Voxels:
    """A phantom with its signals, in memory.

    Parameters
    ----------
    name : one of `PHANTOMS`
    bvalues : (b,) distinct, in s/mm²; default: the paper's ten
    snr : reference S0 over sigma. The reference is S0 = 1, so sigma = 1 / snr everywhere; a tissue with another S0 has
        its own SNR, as in a scanner
    seed : 0 .. 2^63 - 1; keys the truth and the noise
    noise : "rician" (equation (11)), "gaussian" or "none"
    voxels, shape : size of the phantom: see `make_phantom`
    model : signal model, one of `ivimsc.phantoms.beyond.SIMULATED`: what it has beyond equation (1) is drawn
    launch : where to run; default: all cores

    Returns
    -------
    Voxels with truth, tissue, tissue_names and attrs (phantom, snr, sigma, seed, noise)

    Raises
    ------
    InputError
        for an unknown phantom or noise, and for values out of range
    """
    phantom, acquisition = _plan(name, bvalues, snr, seed, noise, voxels=voxels, shape=shape, model=model)
    block = phantom.read(0, len(phantom))
    signals = simulate_block(block, 0, acquisition, launch or choose_device())
    return Voxels(
        signals, acquisition.bvalues, block.index, phantom.geometry, f"phantom {name}", "", block.truth, block.tissue,
        phantom.tissue_names, acquisition.attrs(name),
    )  # fmt: skip


def _plan(name: str, bvalues: ArrayLike | None = None, snr: float = 30.0, seed: int = 0, noise: str = "rician", *,
          voxels: int | None = None, shape: tuple[int, int, int] | None = None,
          model: str = "biexp") -> tuple[Phantom, Acquisition]:  # fmt: skip
    """The phantom, and what it is measured with."""
    acquisition = make_acquisition(bvalues, snr, seed, noise)._replace(model=model)
    return with_model(make_phantom(name, seed, voxels, shape), model, seed), acquisition


def write_phantom(
    path: str | Path, name: str, *how: Any, launch: Launch | None = None, force: bool = False, **more: Any
) -> int:
    """Simulate a phantom straight into a voxel store, block by block: `uniform` of any size takes less than 1 GiB.

    Parameters
    ----------
    path : voxel store to write
    name, how, more : the phantom; bvalues, snr, seed and noise; voxels or shape, and model: all as for `simulate_phantom`
    launch : where to run; default: all cores
    force : replace a store of the same name

    Returns
    -------
    number of voxels

    Raises
    ------
    InputError
        as `simulate_phantom`, and where the file exists (without `force`)
    """
    phantom, acquisition = _plan(name, *how, **more)
    return write_truth(path, phantom, (name, f"phantom {name}"), acquisition, launch or choose_device(), force)


def write_truth(
    path: str | Path, phantom: Phantom, names: tuple[str, str], acquisition: Acquisition, launch: Launch, force: bool
) -> int:
    """Measure a phantom into a voxel store, block by block.

    Parameters
    ----------
    path : voxel store to write
    phantom : the truth
    names : what the store says of itself: the phantom's name, and its source
    acquisition : b-values and noise
    launch : where to run
    force : replace a store of the same name

    Returns
    -------
    number of voxels

    Raises
    ------
    InputError
        where the file exists (without `force`) or cannot be written
    """
    from ivimsc.store import VoxelWriter  # HDF5 is loaded only where a store is written

    name, source = names
    b = acquisition.bvalues
    about = {"source": source, "tissue_names": phantom.tissue_names, "attrs": acquisition.attrs(name)}
    with VoxelWriter(path, len(phantom), b, phantom.geometry, force=force, **about) as writer:
        for start, block in _blocks(phantom, max(1, WRITE_BLOCK // len(b))):
            signals = simulate_block(block, start, acquisition, launch)
            writer.append(signals, block.index, truth=block.truth, tissue=block.tissue)
    return len(phantom)


def _blocks(phantom: Phantom, size: int) -> Iterator[tuple[int, Block]]:
    for start in range(0, len(phantom), size):
        yield start, phantom.read(start, min(start + size, len(phantom)))


def simulate_block(block: Block, first: int, acquisition: Acquisition, launch: Launch) -> NDArray[np.float32]:
    """Signals (voxel, b) of a block of a phantom, with their noise.

    Parameters
    ----------
    block : truth of some voxels, one after the other
    first : number of the block's first voxel in the phantom, which keys its noise
    acquisition : b-values and noise
    launch : where to run
    """
    b, _, sigma, seed, noise, model = acquisition
    signals = np.empty((len(block.tissue), len(b)), np.float32)
    kind = NOISES.index(noise)
    if model != "biexp":
        clean = mixture_signals(block.truth, b)
        run_blocks(launch, _add_noise, len(signals), clean, first, sigma, kind, seed, signals, block=4 * BLOCK)
        return signals
    truth = tuple(block.truth[parameter.key] for parameter in PARAMETERS)
    if launch.on_gpu:
        from ivimsc.simulate.on_gpu import acquire  # CUDA is loaded only where it runs

        acquire(launch, truth, first, b, sigma, kind, seed, signals)
    else:
        run_blocks(launch, _acquire, len(signals), truth, first, b, sigma, kind, seed, signals, block=4 * BLOCK)
    return signals


@njit(**KERNEL)
def _acquire(start, stop, truth, first, bvalues, sigma, noise, seed, signals):
    """Signals (voxel, b) with noise; truth: (S0, f, D, Dstar); `first` is the number of voxel 0 in the phantom."""
    S0, f, D, Dstar = truth
    for v in range(start, stop):
        for k in range(len(bvalues)):
            S = signal(bvalues[k], S0[v], f[v], D[v], Dstar[v])
            signals[v, k] = _with_noise(S, seed, first + v, k, noise, sigma)


@njit(**JIT)
def _with_noise(S, seed, voxel, k, noise, sigma):
    """The signal S of a voxel of the phantom at b-value number `k`, with its noise."""
    if noise == NONE:
        return S
    xi1, xi2 = normals(seed, NOISE, voxel, k)
    return rician(S, xi1, xi2, sigma) if noise == RICIAN else gaussian(S, xi1, sigma)


@njit(**KERNEL)
def _add_noise(start, stop, clean, first, sigma, noise, seed, signals):
    """Signals (voxel, b): `clean` with noise; `first` is the number of voxel 0 in the phantom."""
    for v in range(start, stop):
        for k in range(clean.shape[1]):
            signals[v, k] = _with_noise(clean[v, k], seed, first + v, k, noise, sigma)
