"""What an experiment is run with: folders, scale, seeds; protocols, noise and rivals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivimsc.errors import InputError
from ivimsc.models import read_model
from ivimsc.phantoms.cohort import SHAPE, SNR_3T
from ivimsc.phantoms.literature import data_folder

__all__ = [
    "FEWEST_STEPS",
    "FIVE",
    "KEYS",
    "NETWORKS",
    "PROTOCOLS",
    "SEEDS",
    "SNR",
    "SYMBOLS",
    "UNITS",
    "Net",
    "Rival",
    "Setting",
    "rivals",
]

KEYS = ("f", "d", "dstar")
SYMBOLS = {"f": "f", "d": "D", "dstar": "D*"}
UNITS = {"f": "1", "d": "µm²/ms", "dstar": "µm²/ms"}
SCALES = {"f": 1.0, "d": 1e3, "dstar": 1e3}  # from API units to those of the tables
SNR = {"cohort-train": 30.0, "cohort-test": 30.0, "cohort-3t": SNR_3T}
SEEDS = {"cohort-train": 0, "cohort-test": 1, "cohort-3t": 2}  # of the simulation: no two share a noise draw
FIVE = (20.0, 50.0, 150.0, 300.0, 500.0)  # s/mm²: the paper's sub-sampled protocol
PROTOCOLS = (  # the rows of the paper's Table 3
    (20.0, 150.0, 500.0),
    FIVE,
    (20.0, 50.0, 150.0, 200.0, 500.0),
    (20.0, 50.0, 200.0, 300.0, 500.0),
    (20.0, 100.0, 150.0, 300.0, 500.0),
    (20.0, 80.0, 150.0, 300.0, 500.0),
    (20.0, 50.0, 100.0, 150.0, 200.0, 300.0, 500.0),
)
FEWEST_STEPS = 20_000  # voxels per epoch at a small scale, each seen several times


@dataclass(frozen=True)
class Setting:
    """One call of ``ivimsc paper``.

    Attributes
    ----------
    out, work : folder of tables and figures; of stores, models and fits (default: ``work`` inside `out`)
    scale : share of the paper's number of voxels, above 0 to 1
    seeds : trainings of every network, with seeds 0, 1, …
    threads : CPU threads (None: all)
    force : write tables and figures again, from the runs that are there
    cluster : whose workers fit and compute the bounds, as in `ivimsc.cluster.opened_cluster`; networks are trained here
    """

    out: Path
    work: Path | None = None
    scale: float = 1.0
    seeds: int = 3
    threads: int | None = None
    force: bool = False
    cluster: Any = None

    def __post_init__(self) -> None:
        if not 0.02 <= self.scale <= 1:  # below, the scans at 3 T are too few voxels for a bound
            raise InputError(f"scale: found {self.scale:g}, expected 0.02 to 1")
        if not 1 <= self.seeds <= 20:
            raise InputError(f"seeds: found {self.seeds}, expected 1 to 20")

    @property
    def folder(self) -> Path:
        """Where stores, models and fits are kept."""
        return self.work or self.out / "work"

    @property
    def full(self) -> bool:
        return self.scale == 1

    def shape(self, scans: int) -> tuple[int, int, int] | None:
        """Matrix of a cohort with about `scale` of its voxels; None for all of them."""
        if self.full:
            return None
        slices = max(3, round(SHAPE[2] * self.scale ** (1 / 3)))
        side = (self.scale * SHAPE[2] / slices) ** 0.5
        return round(SHAPE[0] * side), round(SHAPE[1] * side), slices * scans

    def schedule(self) -> dict[str, Any]:
        """Settings of the training: the networks' own at full scale, shorter epochs below."""
        return {} if self.full else {"epoch_voxels": max(FEWEST_STEPS, round(291_614 * self.scale))}


@dataclass(frozen=True)
class Net:
    """A network to train: name of the method, title in tables, and options beyond the defaults."""

    method: str
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)


NETWORKS = (
    Net("mlp", "MLP"),
    Net("ivimnet", "IVIM-NET"),
    Net("scdnn", "SCDNN, as in the paper", {"variant": "paper"}),
    Net("scdnn", "SCDNN"),
)


@dataclass(frozen=True)
class Rival:
    """A row of Tables 1 and 2: a method with its settings, or a network; `printed`: the paper's column, or none."""

    title: str
    printed: str | None
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    net: Net | None = None


def rivals() -> list[Rival]:
    """The rows in the order of the paper, with ours between them. S0 = 1 is known unless the title says otherwise."""
    rows = [
        Rival("least squares, S0 fitted", "least squares", "nlls"),
        Rival("least squares, S0 known", None, "nlls", {"s0": "1"}),
        Rival("sparse coding, fixed dictionary", None, "ista"),
        Rival("Bayesian, prior from the data", "Bayesian", "bayes", {"s0": "1"}),
    ]
    printed = {"MLP": "MLP", "IVIM-NET": "IVIM-NET", "SCDNN": "SCDNN", "SCDNN, as in the paper": "SCDNN"}
    rows += [Rival(net.title, printed[net.title], net.method, net=net) for net in NETWORKS]
    shipped = general_model()
    return (
        rows
        if shipped is None
        else [*rows, Rival("SCDNN, general model, S0 fitted", None, "scdnn", {"model": str(shipped)})]
    )


def general_model() -> Path | None:
    """The general model among the package's data, where there is one."""
    for path in sorted(data_folder().rglob("*.safetensors")):
        if read_model(path).general:
            return path
    return None
