"""Simulation: the forward model, and phantoms with noise.

Every noise draw is keyed by (seed, voxel, b-value): a voxel's signal depends on its number in the phantom alone, never on
threads or blocks, and a phantom may be larger than memory (`write_phantom`).
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ivimsc.compiling import KERNEL
from ivimsc.device.launch import BLOCK, Launch, choose_device, run_blocks
from ivimsc.errors import InputError
from ivimsc.numerics.random_numbers import NOISE, normals
from ivimsc.phantoms import PHANTOMS, Block, Phantom, make_phantom
from ivimsc.physics.noise import NOISES, gaussian, rician
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.physics.signal import signal
from ivimsc.voxels import Voxels

if TYPE_CHECKING:
    from ivimsc.store import VoxelStore

__all__ = ["DEFAULT_BVALUES", "PHANTOMS", "simulate_phantom", "simulate_signals", "write_nifti", "write_phantom"]

DEFAULT_BVALUES = (0.0, 10.0, 20.0, 50.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0)  # s/mm²; the paper's section 3
WRITE_BLOCK = 1 << 23  # signals simulated between two writes: about 100 MB with index and truth, at ten b-values
RICIAN, GAUSSIAN, NONE = range(3)


@njit(**KERNEL)
def _forward(start, stop, S0, f, D, Dstar, bvalues, signals):
    """Signals (voxel, b) of equation (1), for the voxels start..stop."""
    for v in range(start, stop):
        for k in range(len(bvalues)):
            signals[v, k] = signal(bvalues[k], S0[v], f[v], D[v], Dstar[v])


@njit(**KERNEL)
def _acquire(start, stop, truth, first, bvalues, sigma, noise, seed, signals):
    """Signals (voxel, b) with noise; truth: (S0, f, D, Dstar); `first` is the number of voxel 0 in the phantom."""
    S0, f, D, Dstar = truth
    for v in range(start, stop):
        for k in range(len(bvalues)):
            S = signal(bvalues[k], S0[v], f[v], D[v], Dstar[v])
            if noise != NONE:
                xi1, xi2 = normals(seed, NOISE, first + v, k)
                S = rician(S, xi1, xi2, sigma) if noise == RICIAN else gaussian(S, xi1, sigma)
            signals[v, k] = S


def simulate_signals(
    S0: ArrayLike, f: ArrayLike, D: ArrayLike, Dstar: ArrayLike, bvalues: ArrayLike
) -> NDArray[np.float32] | NDArray[np.float64]:
    """Noise-free signals of equation (1).

    Parameters
    ----------
    S0, f, D, Dstar : any shapes that broadcast to (…); D and Dstar in mm²/s, f without unit, S0 in any unit
    bvalues : (b,) in s/mm²

    Returns
    -------
    (…, b) in the unit of S0: float32 where all four parameters are float32, else float64

    Raises
    ------
    InputError
        where the shapes do not broadcast, a b-value is negative or not finite, or a parameter is out of its range
        (f in 0..1, D, Dstar and S0 >= 0); NaN gives NaN
    """
    arrays = [np.asarray(a) for a in (S0, f, D, Dstar)]
    b = _check_bvalues(bvalues)
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        found = ", ".join(str(a.shape) for a in arrays)
        raise InputError(f"S0, f, D, Dstar: found shapes {found}, expected shapes that broadcast") from None
    for parameter, array in zip(PARAMETERS, arrays, strict=True):
        _check_range(parameter.code, array, 1.0 if parameter.code == "f" else math.inf)
    dtype = np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64
    columns = [np.broadcast_to(a, shape).ravel().astype(np.float64) for a in arrays]
    signals = np.empty((columns[0].size, len(b)), dtype)
    run_blocks(choose_device(), _forward, len(signals), *columns, b, signals)
    return signals.reshape(*shape, len(b))


def simulate_phantom(
    name: str,
    bvalues: ArrayLike | None = None,
    snr: float = 30.0,
    seed: int = 0,
    noise: str = "rician",
    *,
    voxels: int | None = None,
    shape: tuple[int, int, int] | None = None,
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
    launch : where to run; default: all cores

    Returns
    -------
    Voxels with truth, tissue, tissue_names and attrs (phantom, snr, sigma, seed, noise)

    Raises
    ------
    InputError
        for an unknown phantom or noise, and for values out of range
    """
    b, sigma = _check(bvalues, snr, noise)
    phantom = make_phantom(name, seed, voxels, shape)
    block = phantom.read(0, len(phantom))
    signals = _simulate(block, 0, b, sigma, noise, seed, launch or choose_device())
    attrs = _attrs(name, snr, sigma, seed, noise)
    return Voxels(
        signals, b, block.index, phantom.geometry, f"phantom {name}", "", block.truth, block.tissue,
        phantom.tissue_names, attrs,
    )  # fmt: skip


def write_phantom(
    path: str | Path,
    name: str,
    bvalues: ArrayLike | None = None,
    snr: float = 30.0,
    seed: int = 0,
    noise: str = "rician",
    *,
    voxels: int | None = None,
    shape: tuple[int, int, int] | None = None,
    launch: Launch | None = None,
    force: bool = False,
) -> int:
    """Simulate a phantom straight into the voxel store `path`, block by block; see `simulate_phantom`.

    Returns the number of voxels. `uniform` of any size takes less than 1 GiB of memory.
    """
    b, sigma = _check(bvalues, snr, noise)
    phantom = make_phantom(name, seed, voxels, shape)
    attrs = _attrs(name, snr, sigma, seed, noise)
    return _write(path, phantom, f"phantom {name}", b, attrs, launch or choose_device(), force)


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
    estimates : estimate store; voxels without a fit (outcome 5) are left out
    bvalues : (b,) in s/mm²; default: those of the fit
    snr, seed, noise, launch, force : as for `write_phantom`

    Returns
    -------
    number of voxels

    Raises
    ------
    InputError
        for a file that is no estimate store, or holds no fitted voxel
    """
    phantom = _Measured(estimates)
    b, sigma = _check(phantom.bvalues if bvalues is None else bvalues, snr, noise)
    attrs = _attrs(f"{Path(estimates).name} ({phantom.method})", snr, sigma, seed, noise)
    return _write(path, phantom, f"estimates {Path(estimates).name}", b, attrs, launch or choose_device(), force)


class _Measured:
    """The fitted voxels of an estimate store as a phantom."""

    tissue_names: ClassVar[dict[int, str]] = {1: "measured"}

    def __init__(self, path: str | Path) -> None:
        from ivimsc.store import EstimateStore

        with EstimateStore(path) as store:
            truth = {key: store[key] for key in ("f", "d", "dstar")}
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


def _write(
    path: str | Path, phantom: Phantom, source: str, b: NDArray, attrs: dict[str, Any], launch: Launch, force: bool
) -> int:
    """Stream a phantom into a voxel store; the number of its voxels."""
    from ivimsc.store import VoxelWriter  # HDF5 is loaded only where a store is written

    with VoxelWriter(
        path, len(phantom), b, phantom.geometry, source=source, tissue_names=phantom.tissue_names, attrs=attrs, force=force
    ) as writer:  # fmt: skip
        for start, block in _blocks(phantom, max(1, WRITE_BLOCK // len(b))):
            signals = _simulate(block, start, b, attrs["sigma"], attrs["noise"], attrs["seed"], launch)
            writer.append(signals, block.index, truth=block.truth, tissue=block.tissue)
    return len(phantom)


def write_nifti(
    voxels: "Voxels | VoxelStore", folder: str | Path, force: bool = False, stem: str | None = None
) -> list[Path]:
    """Write a phantom as NIfTI: series, .bval, mask, tissue labels with their names, and truth maps; all or nothing.

    Parameters
    ----------
    voxels : with truth and tissue, in memory or on disk; held in memory as one volume
    folder : made if it is not there
    force : replace files of the same names
    stem : how the names begin; by default the phantom's name

    Returns
    -------
    The files: ``<stem>_dwi.nii.gz`` and ``.bval``, ``<stem>_mask.nii.gz``, ``<stem>_dseg.nii.gz`` and ``.tsv`` (BIDS names
    for labels), ``<stem>_model-ivim_desc-truth_param-<key>_dwimap.nii.gz`` for s0, f, d, dstar

    Raises
    ------
    InputError
        if a file exists (without `force`), or the folder cannot be written, or the voxels have no truth; nothing is
        written then
    """
    from ivimsc.files import told, written_together
    from ivimsc.nifti import encode_volume, write_bval  # NIfTI is loaded only where it is written

    if voxels.truth is None or voxels.tissue is None:
        raise InputError(f"{getattr(voxels, 'path', 'voxels')}: found no truth, expected the voxels of a phantom")
    stem = stem or str(voxels.attrs["phantom"])
    places = tuple(voxels.index[:].T)
    maps = {f"{stem}_dwi.nii.gz": voxels.read(0, len(voxels)), f"{stem}_mask.nii.gz": np.uint8(1)}
    maps[f"{stem}_dseg.nii.gz"] = voxels.tissue
    for parameter in PARAMETERS:
        maps[f"{stem}_model-ivim_desc-truth_param-{parameter.key}_dwimap.nii.gz"] = voxels.truth[parameter.key]
    names = [*maps, f"{stem}_dwi.bval", f"{stem}_dseg.tsv"]
    folder = Path(folder)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with written_together([folder / name for name in names], force) as temporary:
        for path, values in zip(temporary, maps.values(), strict=False):
            volume = np.zeros((*voxels.geometry.shape, *values.shape[1:]), values.dtype, order="F")
            volume[places] = values
            with path.open("wb") as file:
                encode_volume(file, volume, voxels.geometry)
        write_bval(temporary[-2], voxels.bvalues)
        temporary[-1].write_text(_label_table(voxels.tissue_names), encoding="utf-8")
    return [folder / name for name in names]


def _label_table(names: dict[int, str]) -> str:
    return "index\tname\n" + "".join(f"{code}\t{name}\n" for code, name in names.items())


def _blocks(phantom: Phantom, size: int) -> Iterator[tuple[int, Block]]:
    for start in range(0, len(phantom), size):
        yield start, phantom.read(start, min(start + size, len(phantom)))


def _simulate(block: Block, first: int, b: NDArray, sigma: float, noise: str, seed: int, launch: Launch) -> NDArray:
    """Signals (voxel, b) float32 of a block that begins with voxel number `first`."""
    signals = np.empty((len(block.tissue), len(b)), np.float32)
    truth = tuple(block.truth[parameter.key] for parameter in PARAMETERS)
    kind = NOISES.index(noise)
    if launch.on_gpu:
        from ivimsc.simulate.on_gpu import acquire  # CUDA is loaded only where it runs

        acquire(launch, truth, first, b, sigma, kind, seed, signals)
    else:
        run_blocks(launch, _acquire, len(signals), truth, first, b, sigma, kind, seed, signals, block=4 * BLOCK)
    return signals


def _attrs(name: str, snr: float, sigma: float, seed: int, noise: str) -> dict[str, object]:
    return {"phantom": name, "snr": snr, "sigma": sigma, "seed": seed, "noise": noise}


def _check(bvalues: ArrayLike | None, snr: float, noise: str) -> tuple[NDArray[np.float64], float]:
    """The b-values in rising order, and sigma."""
    if noise not in NOISES:
        raise InputError(f"--noise: found {noise!r}, expected one of {', '.join(NOISES)}")
    if not (math.isfinite(snr) and snr > 0):
        raise InputError(f"--snr: found {snr:g}, expected a number > 0 (--noise none for no noise)")
    b = np.sort(_check_bvalues(DEFAULT_BVALUES if bvalues is None else bvalues))
    if len(np.unique(b)) < len(b):
        raise InputError(f"--bvalues: found {', '.join(f'{v:g}' for v in b)}, expected distinct b-values")
    return b, 0.0 if noise == "none" else 1.0 / snr


def _check_bvalues(bvalues: ArrayLike) -> NDArray[np.float64]:
    try:
        b = np.atleast_1d(np.asarray(bvalues, dtype=np.float64))
    except (ValueError, TypeError):
        raise InputError(f"--bvalues: found {bvalues!r}, expected numbers") from None
    if b.ndim != 1 or b.size == 0 or not np.all(np.isfinite(b) & (b >= 0)):
        raise InputError(f"--bvalues: found {b.tolist()}, expected a list of finite numbers >= 0 in s/mm²")
    return b


def _check_range(code: str, array: NDArray, highest: float) -> None:
    bad = (array < 0) | (array > highest)
    if np.any(bad):
        expected = "0..1" if highest == 1.0 else ">= 0"
        raise InputError(f"{code}: found {array[bad].flat[0]:g}, expected {expected}")
