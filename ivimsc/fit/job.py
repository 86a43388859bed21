"""What one run of ``ivimsc fit`` is asked to do, and what it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.cluster import Cluster
from ivimsc.device.launch import Launch
from ivimsc.fit.adapt import ADAPT
from ivimsc.maps import map_stem
from ivimsc.outcome import Outcome

__all__ = ["FitJob", "FitSummary"]


@dataclass(frozen=True)
class FitJob:
    """One run of ``ivimsc fit``.

    Attributes
    ----------
    input : NIfTI series or voxel store (.h5)
    method, out : name of the method; folder of the results
    bval, bvec, mask : files of a NIfTI series; mask may be "auto"
    volumes : the volumes of a NIfTI series to use, numbered from 0, as in `ivimsc.nifti.read_series`
    bvalues : subset of b-values to use [s/mm²]
    device, threads : where to run
    resume, force, maps : go on with an interrupted fit; overwrite; write NIfTI maps
    settings : the method's options
    chunk : voxels per chunk; the results do not depend on it
    cluster : where chunks are fitted instead of here, as in `ivimsc.cluster.opened_cluster`
    part : (i, n): fit the i-th of n equal parts of the voxels, from 1 on, for `ivimsc.fit.join_parts`
    """

    input: Path
    method: str
    out: Path
    bval: Path | None = None
    bvec: Path | None = None
    mask: Path | str | None = None
    bvalues: NDArray[np.float64] | None = None
    device: str = "auto"
    threads: int | None = None
    resume: bool = False
    force: bool = False
    maps: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    chunk: int | None = None
    volumes: str | Path | Sequence[int] | None = None
    cluster: str | Cluster | None = None
    part: tuple[int, int] | None = None

    @property
    def stem(self) -> str:
        """How the names of the results begin."""
        name = str(self.input).removesuffix(".gz").removesuffix(".hdr").removesuffix(".img")
        return map_stem(name)

    @property
    def target(self) -> Path:
        """The estimate store."""
        which = "" if self.part is None else f"_part-{self.part[0]}-of-{self.part[1]}"
        return self.out / f"{self.stem}_{self.method}{which}.h5"

    @property
    def kept_model(self) -> Path | None:
        """The model file of a network that is adapted to the data; None where none is."""
        return self.target.with_suffix(".safetensors") if self.settings.get("model") == ADAPT else None


@dataclass(frozen=True)
class FitSummary:
    """What a fit did, for the user: where the results are, what ran where, and how the voxels ended.

    Attributes
    ----------
    store, maps : the estimate store, and the maps
    launch, bvalues, notes : where it ran, the b-values that it used [s/mm²], what was chosen
    seconds : of the fit itself, without `compiling`
    outcomes : voxels per outcome
    blank : voxels whose signals are all zero
    compiling : seconds that kernels were compiled for
    cpu_elsewhere : seconds of CPU on the workers of a cluster
    """

    store: Path
    maps: list[Path]
    launch: Launch
    bvalues: NDArray[np.float64]
    notes: list[str]
    seconds: float
    outcomes: dict[Outcome, int]
    blank: int = 0
    compiling: float = 0.0
    cpu_elsewhere: float = 0.0

    @property
    def voxels(self) -> int:
        return sum(self.outcomes.values())

    @property
    def mostly_bad(self) -> bool:
        """Over half of the voxels with any signal have a bad one: exit code 3. `blank` ones, all zero, are background."""
        bad = self.outcomes.get(Outcome.BAD_SIGNAL, 0) - self.blank
        return 2 * bad > self.voxels - self.blank or self.blank == self.voxels
