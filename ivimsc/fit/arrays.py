"""Fitting arrays in memory."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.device.launch import Launch, choose_device, is_on_gpu
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates, spread
from ivimsc.fit.prepare import prepare
from ivimsc.methods import Method, find_method
from ivimsc.physics.protocol import Protocol
from ivimsc.physics.volume_notes import missing_note, rising_note
from ivimsc.voxels import Geometry, Voxels, inside_of, with_nan

__all__ = ["fit_signals"]


def fit_signals(
    signals: ArrayLike,
    bvalues: ArrayLike,
    method: str = "nlls",
    device: str | None = None,
    threads: int | None = None,
    mask: ArrayLike | None = None,
    **options: Any,
) -> Estimates:
    """Fit the IVIM model to signals in memory.

    Parameters
    ----------
    signals : (…, b) of any real dtype, in any unit; computed in float32. An array on a GPU (CuPy, torch, anything with
        ``__cuda_array_interface__``) is fitted there, and the fields of the result stay there: no copy. NaN, Inf and the
        masked values of a masked array are missing: a b-value is the mean of its other repeats. The spatial prior of bayes
        takes (x, y, b) and (x, y, z, b) for cubic voxels in space
    bvalues : (b,) in s/mm², in any order; repeats are averaged, and nlls and segmented weight them by their number
    method : name of the method, one of `ivimsc.methods.METHODS`
    device : "cpu", "cuda", "cuda:1" and so on, or "auto"; default: where the signals are
    threads : CPU threads; default: all cores
    mask : (…), voxels that are not 0 are fitted; all others hold 0 in every field, and outcome 0. Default: all are fitted
    options : the method's options, as for ``ivimsc fit --set``; ``ivimsc info nlls`` lists those of nlls; sigma may be an array (…), the noise SD of every voxel

    Returns
    -------
    Estimates with fields shaped (…): S0 and rmse in the unit of the signals, D and Dstar in mm²/s. They know their method,
    b-values and options, and `predict`, `residuals`, `table` and `to_nifti`

    Raises
    ------
    InputError
        for signals and b-values that do not fit together, and for unknown methods and options

    Examples
    --------
    >>> import ivimsc
    >>> b = [0, 10, 20, 50, 80, 100, 150, 200, 300, 500]
    >>> signals = ivimsc.simulate_signals(1.0, 0.3, 1.6e-3, 45e-3, b)
    >>> estimates = ivimsc.fit_signals(signals, b)
    >>> round(float(estimates.f), 3), round(float(estimates.D), 6), round(float(estimates.Dstar), 4)
    (0.3, 0.0016, 0.045)
    """
    record = find_method(method)
    array = signals if is_on_gpu(signals) else with_nan(signals)
    launch = _launch(array, device, threads, record)
    if array.dtype.kind not in "fiub":
        raise InputError(f"signals: found dtype {array.dtype}, expected real numbers")
    protocol = Protocol.from_volumes(bvalues, "bvalues")
    shape = tuple(array.shape)
    if not shape or shape[-1] != len(protocol.shell):
        raise InputError(f"signals: found shape {shape}, expected (…, {len(protocol.shell)}), one per b-value")
    inside = None if mask is None else _inside(mask, array)
    rows, notes = _rows(array if inside is None else array[inside], protocol, launch)
    place = _space(shape[:-1])
    index = None if place is None or inside is None else np.argwhere(inside.reshape(place.shape)).astype(np.int32)
    voxels = Voxels(rows, protocol.bvalues, index, place, attrs={"notes": notes}, repeats=protocol.repeats)
    prepared = prepare(record, _with_flat_sigma(options, array, inside), voxels, launch)
    told = len(prepared.fitter.launch.notes)
    estimates = prepared.fit(voxels.signals)
    estimates = estimates.reshape(shape[:-1]) if inside is None else spread(estimates, inside)
    late = prepared.fitter.launch.notes[told:]
    for note in [*notes, *late, *(note for note in prepared.notes if note.startswith("warning: "))]:
        warnings.warn(note.removeprefix("warning: "), stacklevel=2)
    about = {"method": record.name, "bvalues": np.array(bvalues, np.float64).ravel(), "options": vars(prepared.options)}
    return replace(estimates, notes=(*protocol.notes, *prepared.notes, *late), **about)


def _inside(mask: ArrayLike, array: Any) -> NDArray[np.bool_]:
    """The mask (…) as bool; InputError where it does not fit the signals, or has no voxel."""
    if is_on_gpu(array):
        raise InputError("mask: found with signals on a GPU, expected none: choose the voxels there, signals[mask]")
    return inside_of(mask, tuple(array.shape[:-1]))


def _with_flat_sigma(options: dict[str, Any], signals: Any, inside: NDArray[np.bool_] | None) -> dict[str, Any]:
    """The options, with sigma (voxel,) of the voxels inside where it is an array that fits the signals (…, b)."""
    sigma, shape = options.get("sigma"), tuple(signals.shape)[:-1]
    if isinstance(sigma, str) or np.ndim(sigma) == 0:
        return options
    if is_on_gpu(signals):
        raise InputError(
            "option sigma: found an array for signals on a GPU, expected the signals in host memory, or a number"
        )
    try:
        whole = np.broadcast_to(sigma, shape)
        return {**options, "sigma": whole.ravel() if inside is None else whole[inside]}
    except ValueError:
        raise InputError(
            f"option sigma: found an array of shape {np.shape(sigma)}, expected {shape}, one per voxel"
        ) from None


def _space(shape: tuple[int, ...]) -> Geometry | None:
    """Two or three leading axes of signals (…, b) are taken for space, with cubic voxels; None for others."""
    return Geometry((*shape, 1)[:3], np.eye(4)) if len(shape) in (2, 3) else None


def _rows(array: Any, protocol: Protocol, launch: Launch) -> tuple[Any, list[str]]:
    """Signals (voxel, b), repeats averaged, where `array` (…, volume) is; and what is to be told of them."""
    if is_on_gpu(array):
        from ivimsc.device.arrays import rows_of

        return rows_of(launch, array, protocol.shell, len(protocol.bvalues)), []
    rows, missing = protocol.average_and_count(array.reshape(-1, array.shape[-1]))
    return np.ascontiguousarray(rows), [*missing_note(missing, protocol), *rising_note(rows, protocol)]


def _launch(array: Any, device: str | None, threads: int | None, method: Method) -> Launch:
    """Where to fit: where it is asked for; where it is not, where the array is."""
    if not is_on_gpu(array):
        return choose_device(device or "cpu", threads, method.name, method.on_cuda)
    from ivimsc.device.arrays import gpu_of

    here = gpu_of(array)
    if not method.on_cuda:
        raise InputError(f"signals: found on {here}, expected in host memory: {method.name} has no CUDA kernels")
    launch = choose_device(here if device in (None, "auto", "cuda") else device, threads, method.name, method.on_cuda)
    if launch.device != here:
        raise InputError(f"signals: found on {here}, expected on {launch.device}, which was asked for; copy them there, or leave device out")  # fmt: skip
    return launch
