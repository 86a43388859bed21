"""Estimates to NIfTI maps, named and described as the BEP016 draft of BIDS has it.

``<stem>_model-ivim_desc-<method>_param-<key>_dwimap.nii.gz`` with a JSON file beside each, and one
``dataset_description.json`` per folder, or at the root of a study. All maps of a call appear together, or none.
docs/studies.md says which text of the draft it is.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc import __version__
from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, Estimates, Field
from ivimsc.files import make_folder, written_together
from ivimsc.nifti import geometry_like, little_endian, volume_stream
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import BY_KEY
from ivimsc.store import EstimateStore
from ivimsc.text import strict_json
from ivimsc.voxels import Geometry

__all__ = ["MAP_KEYS", "describe_dataset", "map_paths", "map_stem", "map_window", "write_estimates", "write_maps"]

MAP_KEYS = ("s0", "f", "d", "dstar", "rmse", "outcome", "fstd", "dstd", "dstarstd", "gap", "chi2",
            "k", "f2", "dstar2", "kstd", "f2std", "dstar2std")  # fmt: skip
_THREADS = 2  # maps in the making at once: two slabs in memory
_SAMPLED = 16  # runs of 4096 voxels that tell the range of a map
_SLAB, _RUN = 2**23, 2**20  # voxels of a volume written at once, and of a store read at once: 32 MB and 4 MB


class _Run(NamedTuple):
    """Voxels of the store among the `_RUN` from `start` on: rows (voxel,) from there, and places (voxel,) in the slab."""

    start: int
    rows: NDArray[np.int32]
    places: NDArray[np.int32]


def write_maps(
    estimates: "str | Path | EstimateStore | _InMemory",
    out: str | Path,
    force: bool = False,
    stem: str | None = None,
    of_study: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the maps of an estimate store, float32 (outcome uint8), with the affine and codes of the input.

    Voxels that could not be fitted are NaN, everything outside the mask is 0. cal_min and cal_max are the range that figures
    show, so that viewers open the maps in a sensible window.

    Parameters
    ----------
    estimates : the store, or its path
    out : folder; made if it is not there
    force : replace maps of the same names
    stem : how the names begin; by default the store's own name without its ending and method
    of_study : where the maps are part of a study, more keys of every JSON file; the study describes itself at its root

    Returns
    -------
    list of Path
        the maps, in the order s0, f, d, dstar, rmse, outcome, then what the method has besides; maps that it does not
        have are not written

    Raises
    ------
    InputError
        if a map exists (without `force`), or `out` is a file or cannot be written; nothing is written then
    IvimscError
        if the disk is full
    """
    with ExitStack() as stack:
        store = stack.enter_context(EstimateStore(estimates)) if isinstance(estimates, str | Path) else estimates
        stem = map_stem(store.path, store.method) if stem is None else stem
        fields = [field for field in FIELDS if field.key in store.keys and field.key in MAP_KEYS]
        out = Path(out)
        maps = map_paths(out, stem, store.method, [field.key for field in fields])
        sidecars = [path.with_name(path.name.removesuffix(".nii.gz") + ".json") for path in maps]
        make_folder(out)
        more = of_study or {}
        texts = dict(zip(sidecars, (_about(field, store) | more for field in fields), strict=True))
        texts |= _folder(out) if of_study is None else {}
        with written_together([*maps, *texts], force) as temporary:
            for path, text in zip(temporary[len(maps) :], texts.values(), strict=True):
                words = json.dumps(strict_json(text), indent=2, ensure_ascii=False, allow_nan=False)
                path.write_text(words + "\n", encoding="utf-8")
            _write_volumes(store, fields, temporary[: len(maps)])
    return maps


def write_estimates(estimates: Estimates, out: str | Path, like: Any, stem: str, force: bool = False) -> list[Path]:
    """Write the maps of estimates in memory: see `Estimates.to_nifti`."""
    geometry = geometry_like(like)
    shape = estimates.outcome.shape
    if shape + (1,) * (3 - len(shape)) != tuple(geometry.shape):
        raise InputError(
            f"like: found a volume of shape {tuple(geometry.shape)}, expected {shape}, that of the estimates"
        )
    return write_maps(_InMemory(estimates.reshape(geometry.shape), geometry), out, force, stem)


class _InMemory:
    """Estimates (x, y, z) in the form of an estimate store."""

    version, source, source_sha256, signals_sha256, path = __version__, "", "", "", Path("estimates")

    def __init__(self, estimates: Estimates, geometry: Geometry) -> None:
        self.geometry, self.method, self.options = geometry, estimates.method or "fit", dict(estimates.options)
        self.bvalues = np.zeros(0) if estimates.bvalues is None else estimates.bvalues
        self.notes = list(estimates.notes)
        self._volumes = dict(estimates.items())
        self.keys = list(self._volumes)
        self.index = np.argwhere(estimates.outcome != Outcome.OUTSIDE).astype(np.int32)

    def __len__(self) -> int:
        return len(self.index)

    def dtype_of(self, key: str) -> np.dtype:
        return np.dtype(np.uint8 if self._volumes[key].dtype == np.uint8 else np.float32)

    def places(self, run: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """As those of a store (`Store.places`)."""
        for start in range(0, len(self.index), run):
            here = tuple(self.index[start : start + run].T)
            yield start, np.ravel_multi_index(here, self.geometry.shape, order="F")

    def read_field(self, key: str, start: int, stop: int) -> NDArray:
        return self._volumes[key][tuple(self.index[start:stop].T)]


def map_window(store: Any, key: str) -> tuple[float, float]:
    """The range in which viewers are to show a map: that of figures, or from 0 to the 99th percentile of a sample.

    Parameters
    ----------
    store : estimate store
    key : of the map

    Returns
    -------
    low, high in the unit of the map
    """
    parameter = BY_KEY.get(key)
    if key == "outcome":
        return 0.0, float(len(Outcome) - 1)
    if parameter is not None and parameter.display_range is not None:
        low, high = parameter.display_range
        return low / parameter.display_scale, high / parameter.display_scale
    starts = range(0, len(store), max(len(store) // _SAMPLED // 2**12 * 2**12, 2**12))
    known = np.concatenate([store.read_field(key, start, start + 2**12) for start in starts] or [np.zeros(0)])
    known = known[np.isfinite(known)]
    return 0.0, float(np.percentile(known, 99)) if known.size and np.percentile(known, 99) > 0 else 1.0


def map_paths(out: str | Path, stem: str, method: str, keys: Iterable[str] = MAP_KEYS) -> list[Path]:
    """Where `write_maps` puts its maps: known before a fit, which can then refuse to start.

    Parameters
    ----------
    out : folder of the maps
    stem : how the names begin
    method : name of the method
    keys : of the maps, in the order wanted; default: all that a method may have

    Returns
    -------
    a path for every key
    """
    return [Path(out) / f"{stem}_model-ivim_desc-{method}_param-{key}_dwimap.nii.gz" for key in keys]


def map_stem(path: str | Path, method: str = "") -> str:
    """The beginning of map names, from the name of what was fitted.

    Parameters
    ----------
    path : NIfTI series, voxel store or estimate store
    method : the method of an estimate store, which its name ends in

    Returns
    -------
    the file's name without .nii, .nii.gz or .h5, ``_<method>`` and ``_dwi`` at its end
    """
    name = Path(path).name.removesuffix(".gz").removesuffix(".nii").removesuffix(".h5")
    if method:
        name = name.removesuffix(f"_{method}")
    return name.removesuffix("_dwi")


def _write_volumes(store: EstimateStore, fields: list[Field], paths: list[Path]) -> None:
    """Put every field into its volume and write it, slab by slab, so that memory has room for any size.

    A slab is a run of voxels in the order of the file, x fastest; voxels of the store may come in any order. Compression
    runs on two threads.
    """
    size = math.prod(store.geometry.shape)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS))
        files = [stack.enter_context(open(path, "wb")) for path in paths]
        types = [store.dtype_of(field.key) for field in fields]
        windows = [map_window(store, field.key) for field in fields]
        streams = [
            stack.enter_context(volume_stream(file, store.geometry.shape, dtype, store.geometry, window=window))
            for file, dtype, window in zip(files, types, windows, strict=True)
        ]
        for low in range(0, size, _SLAB):
            here, n = list(_places(store, low, low + _SLAB)), min(_SLAB, size - low)
            jobs = [pool.submit(_write_slab, store, field.key, n, dtype, here, stream) for field, dtype, stream in zip(fields, types, streams, strict=True)]  # fmt: skip
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _places(store: EstimateStore, low: int, high: int) -> Iterator[_Run]:
    """The voxels of the store whose place in the volume is within low..high, run by run."""
    for start, places in store.places(_RUN):
        rows = np.flatnonzero((places >= low) & (places < high))
        if len(rows):
            yield _Run(start, rows.astype(np.int32), (places[rows] - low).astype(np.int32))


def _write_slab(store: EstimateStore, key: str, n: int, dtype: np.dtype, here: list[_Run], stream: IO[bytes]) -> None:
    """The n voxels of a slab of the map `key`: those of the runs `here`, and 0 elsewhere."""
    slab = np.zeros(n, dtype)
    for start, rows, places in here:
        slab[places] = store.read_field(key, start, start + _RUN)[rows]
    stream.write(little_endian(slab))


def _about(field: Field, store: EstimateStore) -> dict[str, Any]:
    """The sidecar of one map."""
    about: dict[str, Any] = {
        "Description": field.meaning,
        "Units": "arbitrary"
        if field.unit == "as the input"
        else field.unit.replace("²", "^2"),  # as in the draft's examples
        "Model": {
            "Description": "intravoxel incoherent motion (IVIM)",
            "Parameters": {"FitMethod": store.method, **store.options},
        },
        "FitMethod": store.method,
        "bvalues": store.bvalues.tolist(),
        "options": store.options,
        "version": f"ivimsc {store.version}",
        "input": store.source,
        "input_sha256": store.source_sha256,
        "signals_sha256": store.signals_sha256,
        "notes": store.notes,
    }
    if field.key == "outcome":
        about["Levels"] = {str(int(outcome)): outcome.sentence for outcome in Outcome}
    return about


def _folder(out: Path) -> dict[Path, dict[str, Any]]:
    """dataset_description.json, which a BIDS folder needs once: nothing where there is one."""
    path = out / "dataset_description.json"
    return {} if path.exists() else {path: describe_dataset("IVIM parameter maps")}


def describe_dataset(name: str, **more: Any) -> dict[str, Any]:
    """What dataset_description.json says of a folder of maps.

    Parameters
    ----------
    name : of the data set
    more : further keys, as SourceDatasets
    """
    made = {"Name": "ivimsc", "Version": __version__}
    about = {"Name": name, "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [made]}
    return about | more
