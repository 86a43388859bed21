"""The voxel store: what there is to fit."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.errors import InputError
from ivimsc.physics.models import MODELS
from ivimsc.physics.parameters import BY_KEY
from ivimsc.store.arrays import packed
from ivimsc.store.hdf5 import BLOCK, VOXELS, Store, checked, column, created, describe
from ivimsc.store.kinds import Attributes, require_attrs, require_bvalues, require_kind
from ivimsc.store.reading import Damaged, Table
from ivimsc.store.same_fit import to_json
from ivimsc.voxels import Geometry, Voxels, weights_of

__all__ = ["VoxelStore", "VoxelWriter", "write_voxels"]


class VoxelStore(Store):
    """A voxel store, open for reading; the same attributes as `Voxels`, from disk. Use as a context manager.

    `signals` (voxel, b) and `index` (voxel, 3) are tables on disk: slice them. `truth` and `tissue` are read on first use.
    Signals that are read in order, from the first voxel to the last, are compared with their checksum.

    Raises
    ------
    InputError
        if the file is missing, not HDF5, truncated, of another format or version, or inconsistent
    """

    FORMAT = VOXELS
    leaves_out_s0 = False

    def _load(self, attributes: Mapping[str, Any]) -> None:
        self.signals: Table = self._file["signals"]
        self.bvalues: NDArray[np.float64] = self._file["bvalues"][:]
        self.tissue_names = {int(code): name for code, name in json.loads(attributes["tissue_names"]).items()}
        require_kind(self.signals, "iuf", (None,) * self.signals.ndim)
        if self.signals.ndim != 2 or self.signals.shape[1:] != self.bvalues.shape or self.signals.dtype != np.float32:
            found = f"{self.signals.dtype} {self.signals.shape}"
            raise InputError(
                f"{self.path}: found signals {found}, expected float32 (voxel, b) with {len(self.bvalues)} b-values"
            )
        self._require_lengths("", {name: len(self._file[name]) for name in ("index", "tissue") if name in self._file})
        self._require_lengths("truth/", {name: len(data) for name, data in self._truth().items()})

    def _require_kinds(self, attributes: Attributes) -> None:
        require_bvalues(self.bvalues)
        if not all(isinstance(name, str) and 0 <= code < 256 for code, name in self.tissue_names.items()):
            raise Damaged("tissue_names of another kind, expected a name for each code")
        truth = self._truth()
        for table in truth.values():
            require_kind(table, "f", (None,))
        known = [set(model.keys) for model in MODELS.values()] + [
            set(BY_KEY)
        ]  # in a mixture a voxel has any of the models
        if truth and set(truth) not in known:
            raise Damaged(f"truth of {', '.join(truth)}, expected that of a model, such as {', '.join(MODELS['biexp'].keys)}")  # fmt: skip
        if "tissue" in self._file:
            require_kind(self._file["tissue"], "u", (None,))
        require_attrs(self.attrs)
        self.weights  # noqa: B018, refuses repeats of another kind
        self.signals.expect(f"sha256:{self.signals_sha256}")  # where no other checksum is there

    def _truth(self) -> dict[str, Table]:
        return dict(self._file["truth"].items()) if "truth" in self._file else {}

    @property
    def has_truth(self) -> bool:
        """The store holds true parameters; nothing is read."""
        return bool(self._truth())

    @property
    def truth_keys(self) -> tuple[str, ...]:
        """The keys of the true parameters, in the order of `physics.parameters.BY_KEY`."""
        truth = self._truth()
        return tuple(key for key in BY_KEY if key in truth)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Images (b,) that the signal at each b-value is the mean of."""
        return weights_of(self.attrs.get("repeats"), len(self.bvalues))

    def __len__(self) -> int:
        return len(self.signals)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Signals (voxel, b) of the voxels start..stop."""
        with checked(self.path):
            return self.signals[start:stop]

    def read_s0(self, start: int, stop: int) -> None:
        """None: nothing is left out here."""

    def read_truth(self, key: str, start: int, stop: int) -> NDArray[np.float32]:
        """One of the `truth_keys` (voxel,) of the voxels start..stop; `truth` holds all of them."""
        with checked(self.path):
            return self._truth()[key][start:stop]

    def read_tissue(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The tissue codes (voxel,) of the voxels start..stop, where the voxels are labelled."""
        with checked(self.path):
            return self._file["tissue"][start:stop]

    @staticmethod
    def write(path: str | Path, signals: ArrayLike, bvalues: ArrayLike, mask: ArrayLike | None = None,
              geometry: Any = None, truth: Mapping[str, ArrayLike] | None = None, force: bool = False,
              **about: Any) -> Path:  # fmt: skip
        """Write a voxel store from arrays, volumes and masks.

        What `ivimsc pack` makes of a NIfTI file, this makes of the same arrays: a signal for each b-value, the voxels of the
        mask alone, x fastest. Memory beside the arrays is that of 65,536 voxels, so `signals` may be a ``numpy.memmap``.

        Parameters
        ----------
        path : the store, .h5
        signals : (x, y, z, b), (x, y, b) or (voxel, b) of any real dtype, one image for each entry of `bvalues`, in any unit.
            NaN, Inf and masked values are missing: a b-value is the mean of its other images
        bvalues : (b,) in s/mm², in any order; repeats and directions are averaged
        mask : signals without b, above 0 where a voxel is to be fitted; default: everywhere
        geometry : where the volume lies: an affine (4, 4) [mm], a `Geometry`, or an open store; default: cubic voxels of 1 mm
        truth : s0 [unit of the signals], f, d and dstar [mm²/s], or those of another model of `physics.models`: arrays as
            the signals without b, or numbers; NaN where it is not known
        force : replace a store of the same name
        about : tissue: signals without b, codes 0..255; tissue_names: code -> name; repeats: (b,) images that each image is the
            mean of, where each b-value comes once; source: a text; attrs: whatever else there is to say, JSON types.
            ``attrs={"sigma": s, "noise": "rician"}`` tells `compare` the noise of simulated signals

        Returns
        -------
        `path`

        Raises
        ------
        InputError
            for arrays that do not fit together, b-values that are none, a `geometry` that is no place, truth of no model,
            tissue that is no code, an unknown name in `about`, and a file that exists (without `force`)
        IvimscError
            if the disk is full

        Examples
        --------
        >>> import numpy as np, ivimsc
        >>> signals = ivimsc.simulate_signals(1000.0, np.full((4, 3, 2), 0.2), 1.2e-3, 0.04, [0, 50, 200, 400, 800])
        >>> path = ivimsc.VoxelStore.write("scan.h5", signals, [0, 50, 200, 400, 800])
        >>> with ivimsc.VoxelStore(path) as store:
        ...     len(store), store.geometry.shape
        (24, (4, 3, 2))
        """
        found = packed(signals, bvalues, mask, geometry, truth, **about)
        with VoxelWriter(path, found.n, found.bvalues, found.geometry, force, **found.about) as writer:
            for piece in found.pieces:
                writer.append(*piece)
        return Path(path)

    @cached_property
    def truth(self) -> dict[str, NDArray[np.float32]] | None:
        """True parameters, arrays (voxel,) under the `truth_keys`; None for measured data."""
        with checked(self.path):
            return {key: table[:] for key, table in self._truth().items()} or None

    @cached_property
    def tissue(self) -> NDArray[np.uint8] | None:
        """Tissue codes (voxel,), named in `tissue_names`; None where the voxels are not labelled."""
        with checked(self.path):
            return self._file["tissue"][:] if "tissue" in self._file else None


class VoxelWriter:
    """Write a voxel store piece by piece; it appears under its name when the block ends, whole. A context manager.

    Parameters
    ----------
    path : the store
    n : number of voxels
    bvalues : (b,) in s/mm², ascending and distinct
    geometry : where the voxels lie
    force : replace a store of the same name
    about : source, source_sha256, tissue_names, attrs, as in `Voxels`

    Raises
    ------
    InputError
        if the file exists (without `force`) or cannot be written, or if the pieces do not add up to `n` voxels
    IvimscError
        if the disk is full
    """

    def __init__(
        self, path: str | Path, n: int, bvalues: ArrayLike, geometry: Geometry, force: bool = False, **about: Any
    ) -> None:
        self.path, self._n, self._done = Path(path), n, 0
        self._bvalues, self._geometry, self._about = np.asarray(bvalues, np.float64), geometry, about
        self._sha256 = hashlib.sha256()
        self._life = self._writing(force)

    def append(
        self,
        signals: NDArray,
        index: NDArray,
        truth: Mapping[str, NDArray] | None = None,
        tissue: NDArray | None = None,
    ) -> None:
        """Add voxels.

        Parameters
        ----------
        signals : (voxel, b)
        index : (voxel, 3), places in the volume
        truth : (voxel,) arrays under s0, f, d, dstar, with every piece or with none
        tissue : (voxel,) codes, with every piece or with none

        Raises
        ------
        InputError
            for arrays of different lengths, and more voxels than there should be
        IvimscError
            if the disk is full
        """
        signals = np.ascontiguousarray(signals, "<f4")
        columns = {"signals": signals, "index": np.asarray(index, np.int32)}
        columns |= {f"truth/{key}": np.asarray(values, np.float32) for key, values in (truth or {}).items()}
        if tissue is not None:
            columns["tissue"] = np.asarray(tissue, np.uint8)
        if self._done == 0:
            for name in columns.keys() - self._columns.keys():
                self._columns[name] = column(self._file, name, (self._n,), columns[name].dtype)
        stop = self._done + len(signals)
        lengths = {name: len(values) for name, values in columns.items()}
        if lengths != dict.fromkeys(self._columns, len(signals)) or stop > self._n:
            raise InputError(f"{self.path}: found pieces of {lengths} rows, expected {len(signals)}, {self._n} in all")
        for name, values in columns.items():
            self._columns[name][self._done : stop] = values
            self._guard.check()
        self._sha256.update(signals.data)
        self._done = stop

    @contextmanager
    def _writing(self, force: bool) -> Iterator[None]:
        with created(self.path, force) as (self._file, self._guard):
            about = {"source": "", "source_sha256": "", "attrs": {}} | self._about
            names = {str(code): name for code, name in about.pop("tissue_names", {}).items()}
            describe(self._file, VOXELS, self._geometry, about | {"tissue_names": to_json(names)})
            self._file["bvalues"] = self._bvalues
            shapes = {"signals": (self._n, len(self._bvalues)), "index": (self._n, 3)}
            kinds = {"signals": np.float32, "index": np.int32}
            self._columns = {name: column(self._file, name, shape, kinds[name]) for name, shape in shapes.items()}
            yield
            if self._done != self._n:
                raise InputError(f"{self.path}: found {self._done} voxels, expected {self._n}")
            self._file.attrs["signals_sha256"] = self._sha256.hexdigest()

    def __enter__(self) -> Self:
        self._life.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._life.__exit__(*error)


def write_voxels(path: str | Path, voxels: Voxels, force: bool = False) -> Path:
    """Write voxels that are in memory as a voxel store.

    Parameters
    ----------
    path : the store
    voxels : what it is to hold
    force : replace a store of the same name

    Returns
    -------
    `path`

    Raises
    ------
    InputError
        if the file exists (without `force`) or cannot be written
    IvimscError
        if the disk is full
    """
    about = {name: getattr(voxels, name) for name in ("source", "source_sha256", "tissue_names", "attrs")}
    if voxels.repeats is not None:
        about["attrs"] = voxels.attrs | {"repeats": np.asarray(voxels.repeats).tolist()}
    with VoxelWriter(path, len(voxels), voxels.bvalues, voxels.geometry, force, **about) as writer:
        for start in range(0, max(len(voxels), 1), BLOCK):
            piece = slice(start, start + BLOCK)
            truth = {key: values[piece] for key, values in voxels.truth.items()} if voxels.truth else None
            tissue = None if voxels.tissue is None else voxels.tissue[piece]
            writer.append(voxels.signals[piece], voxels.index[piece], truth, tissue)
    return Path(path)
