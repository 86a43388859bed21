"""From voxel stores to the voxels that networks learn from. Voxels that cannot teach are left out, and counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.physics.protocol import select_bvalues
from ivimsc.store import VoxelStore

__all__ = ["KEYS", "SCALES", "Part", "read_stores"]

KEYS = ("f", "d", "dstar")
SCALES = (1.0, 1e3, 1e3)  # networks think in µm²/ms
BRIGHT, DARK = 0.9, 0.1  # background is darker than a tenth of the S0 that nine tenths of the voxels stay below
HIGHEST = 2.0  # times the signal at b = 0: noise of an SNR above 5 does not lift a signal that far


@dataclass(frozen=True)
class Part:
    """What one store teaches.

    Attributes
    ----------
    bvalues : (b,) [s/mm²]
    signals : (voxel, b) over S0
    truth : (voxel, 3) f, D, D* [µm²/ms], or None
    sigma : (voxel,) noise SD over S0; NaN where it is not known
    rician : kind of noise
    left_out : reason, in words -> number of voxels
    """

    bvalues: NDArray[np.float64]
    signals: NDArray[np.float32]
    truth: NDArray[np.float32] | None
    sigma: NDArray[np.float32]
    rician: bool
    left_out: dict[str, int]


def read_stores(stores: Sequence[Path], bvalues: NDArray | None, supervised: bool) -> list[Part]:
    """The voxels of each store that can teach, over S0.

    S0 is the truth's where there is one, else the signal at b = 0. Left out are voxels with NaN, Inf or an S0 that is not
    above 0, and voxels without any signal. Where S0 is measured, these are left out too: background, and voxels whose
    signal rises to more than twice that at b = 0, where the division by S0 would make the noise large.

    Raises
    ------
    InputError
        for no store, stores of different b-values, without truth (supervised) or b = 0 (else), or no voxel that can teach
    """
    if not stores:
        raise InputError("train: found no voxel store, expected at least one")
    parts: list[Part] = []
    for path in stores:
        part = _read(path, bvalues, supervised)
        if parts and not np.array_equal(part.bvalues, parts[0].bvalues):
            raise InputError(f"{path}: found b = {_listed(part.bvalues)} s/mm², expected those of {stores[0]}: {_listed(parts[0].bvalues)}")  # fmt: skip
        parts.append(part)
    if not any(len(part.signals) for part in parts):
        reasons = [f"{n:,} {why}" for part in parts for why, n in part.left_out.items()]
        raise InputError(
            f"{stores[0]}: found no voxel to learn from{_in_brackets(reasons)}, expected voxels with signal"
        )
    return parts


def _read(path: Path, bvalues: NDArray | None, supervised: bool) -> Part:
    with VoxelStore(path) as store:
        if supervised and not set(KEYS) <= set(store.truth_keys):
            raise InputError(f"{path}: found a store without truth, expected one to learn from: `ivimsc simulate` makes them")  # fmt: skip
        columns = np.arange(len(store.bvalues)) if bvalues is None else select_bvalues(store.bvalues, bvalues)
        whole, zero, truth = store.read(0, len(store)), np.flatnonzero(store.bvalues == 0), None
        if store.truth is not None:
            s0 = store.truth["s0"]
        elif len(zero):
            s0 = whole[:, zero[0]]
        else:
            raise InputError(f"{path}: found neither truth nor b = 0, expected one of them to supply S0")
        if set(KEYS) <= set(store.truth_keys):  # one exponential has no f and D*
            truth = np.stack([store.truth[k] * np.float32(c) for k, c in zip(KEYS, SCALES, strict=True)], axis=1)
        chosen = whole[:, columns]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            signals = chosen / s0[:, None]
            sigma = np.float32(store.attrs.get("sigma", np.nan)) / s0
        reasons = _reasons(chosen, signals, s0, truth)
        good = ~np.any(list(reasons.values()), axis=0)
        counts = {why: int(holds.sum()) for why, holds in reasons.items() if holds.any()}
        rician = store.attrs.get("noise", "rician") != "gaussian"
        return Part(store.bvalues[columns], signals[good], None if truth is None else truth[good], sigma[good], rician, counts)  # fmt: skip


def _reasons(chosen: NDArray, signals: NDArray, s0: NDArray, truth: NDArray | None) -> dict[str, NDArray[np.bool_]]:
    """Why voxels cannot teach, in words -> the voxels (voxel,), each under its first reason."""
    bad = ~np.isfinite(signals).all(1) | ~(s0 > 0) | (chosen == 0).all(1)
    if truth is not None:
        return {"with NaN, Inf, S0 <= 0 or no signal": bad | ~np.isfinite(truth).all(1)}
    level = np.quantile(s0[~bad], BRIGHT) if not bad.all() else 0.0
    dark = ~bad & (s0 < DARK * level)
    with np.errstate(invalid="ignore"):
        rising = ~bad & ~dark & (np.abs(signals) > HIGHEST).any(1)
    return {
        "with NaN, Inf, S0 <= 0 or no signal": bad,
        "as dark as background": dark,
        "with a signal above twice that at b = 0": rising,
    }


def _in_brackets(words: Sequence[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


def _listed(values: NDArray) -> str:
    return ", ".join(f"{b:g}" for b in values)
