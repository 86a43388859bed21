"""Voxels and estimates that depend on the voxel's number alone, and what a store holds, byte by byte."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from hypothesis import HealthCheck, settings

from ivimsc.estimates import Estimates, Spectrum
from ivimsc.store import PartFile, StoredDictionary
from ivimsc.store.hdf5 import _seal
from ivimsc.voxels import Geometry, Voxels

AFFINE = np.array([[-2, 0.1, 0, 90], [0.1, 2, 0.3, -126], [0, -0.3, 4, -72], [0, 0, 0, 1.0]])
GEOMETRY = Geometry((7, 8, 9), AFFINE, sform=AFFINE, sform_code=2, zooms=(2.0, 2.0, 4.0), xyz_unit="mm")
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_voxels(n: int = 100, nb: int = 4, seed: int = 0, **more) -> Voxels:
    draw = np.random.default_rng(seed)
    index = np.stack(np.unravel_index(np.arange(n) % 504, (7, 8, 9), order="F"), 1).astype(np.int32)
    return Voxels(draw.random((n, nb), np.float32), np.arange(nb) * 50.0, index, GEOMETRY, "a.nii.gz", "ab12", **more)


def make_estimates(start: int, stop: int, spectrum: bool = False, extras: bool = True) -> Estimates:
    """Estimates that depend on the voxel alone, as those of a method do."""
    voxel = np.arange(start, stop)
    base = np.sin(voxel + 0.5).astype(np.float32)
    base[voxel % 7 == 0] = np.nan
    rows = voxel % 4  # entries per voxel, some none
    entries = np.concatenate([np.arange(r) + 10 * v for v, r in zip(voxel, rows, strict=True)] + [np.empty(0)])
    sparse = Spectrum(np.float32(entries) / 3, np.int32(entries % 7), np.concatenate([[0], np.cumsum(rows)]))
    return Estimates(
        base, base * 2, base * 3, base * 4, base * 5, np.uint8(1 + voxel % 6),
        fstd=base * 6 if extras else None, spectrum=sparse if spectrum else None,
    )  # fmt: skip


def fit(path: Path, voxels: Voxels, chunks: list[int], spectrum: bool = False, **opening) -> Path:
    """A whole fit in chunks of the given sizes (repeated)."""
    with PartFile.open(path, PartFile.header(voxels, "nlls", {"split": 200.0}), **opening) as part:
        turn = 0
        while part.done < len(voxels):
            stop = min(part.done + chunks[turn % len(chunks)], len(voxels))
            part.append(make_estimates(part.done, stop, spectrum))
            turn += 1
        dictionary = StoredDictionary(np.linspace(0, 5e-3, 3), np.linspace(5e-3, 0.2, 4)) if spectrum else None
        return part.finish(voxels, device="cpu", threads=2, seconds=1.5, notes=["a note"], dictionary=dictionary)


def contents(path: Path) -> dict[str, tuple]:
    """Every dataset as (dtype, chunks, bytes)."""
    found = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.chunks, item[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def assert_same_place(found: Geometry, expected: Geometry) -> None:
    for name in Geometry.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@contextmanager
def changed_store(path: Path) -> Iterator[h5py.File]:
    """A store to change by hand; its checksums are made anew, as if it had been written so."""
    with h5py.File(path, "r+") as file:
        yield file
        if "signals" in file:
            file.attrs["signals_sha256"] = hashlib.sha256(file["signals"][...].tobytes()).hexdigest()
        file.attrs.pop("checksums", None)
        _seal(file)
