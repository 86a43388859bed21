"""What a protocol is designed for: tissues, noise, scan time and what is fixed, checked at the door."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.phantoms.literature import Tissue
from ivimsc.physics.protocol import validated
from ivimsc.planning.echo_time import EchoTime
from ivimsc.planning.prior import find_tissues

__all__ = ["CRITERIA", "NAMES", "Request"]

CRITERIA = ("posterior", "cramer-rao")
NAMES = ("f", "D", "Dstar")
LEAST_BMAX, MOST_BMAX = 200.0, 5000.0  # s/mm²: below, blood and tissue cannot be told apart; above, equation (1) fails
MOST_VOLUMES, MOST_CANDIDATES = 512, 10_001


@dataclass(frozen=True)
class Request:
    """What is asked of `design`.

    Attributes
    ----------
    tissue : names of tissues in data/literature.csv, apart by commas or in a sequence, or `Tissue` records
    snr : S0 over the noise SD of one image, at the echo time of a protocol up to `bmax`
    volumes : number of images
    bmax : largest b-value [s/mm²]
    criterion : "posterior", the smallest possible mean squared error under the tissue's prior, or "cramer-rao", the mean of
        the relative standard errors of unbiased estimates
    weights : how much f, D and D* count
    fixed : b-values that the protocol must hold, each as often as it is named [s/mm²]
    step : grid of b-values that the scanner can be set to, from 0 to `bmax` [s/mm²]
    among : the only b-values that may be chosen [s/mm²], instead of the grid
    distinct : fewest distinct b-values; None: one more than there are unknowns, so that residuals tell the noise level, which
        the methods need (`bayes` for its prior)
    s0_known : S0 is known, as in the paper's synthetic data
    spread : factor on the SDs of the tissues: more than 1 for patients who differ more than voxels of one organ do
    te : echo time of a protocol up to `bmax` [ms]: `snr` holds at it
    gradient : strength of the diffusion gradients [mT/m]: with it and `te`, a protocol of smaller b-values has a shorter echo
        time and more signal
    t2 : of the tissue [ms]
    seed : of the Monte Carlo

    Raises
    ------
    InputError
        for what cannot be meant, in one line
    """

    tissue: str | Tissue | Sequence[str | Tissue]
    snr: float = 30.0
    volumes: int = 16
    bmax: float = 800.0
    criterion: str = "posterior"
    weights: Sequence[float] = (1.0, 1.0, 1.0)
    fixed: Sequence[float] = ()
    step: float = 10.0
    among: Sequence[float] | None = None
    distinct: int | None = None
    s0_known: bool = False
    spread: float = 1.0
    te: float | None = None
    gradient: float | None = None
    t2: float | None = None
    seed: int = 0
    tissues: tuple[Tissue, ...] = field(init=False)
    echo_time: EchoTime | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tissues", find_tissues(self.tissue))
        self._check_numbers()
        self._check_weights()
        object.__setattr__(self, "fixed", self._fixed())
        object.__setattr__(self, "echo_time", EchoTime.of(self.te, self.gradient, self.t2, self.bmax, self.tissues))

    @property
    def unknowns(self) -> int:
        """How many parameters a voxel has that are not known."""
        return 3 if self.s0_known else 4

    @property
    def least_distinct(self) -> int:
        """Fewest distinct b-values of the protocol."""
        return min(self.unknowns + 1, int(self.volumes)) if self.distinct is None else self.distinct

    @property
    def candidates(self) -> NDArray[np.float64]:
        """b-values that may be chosen, and the fixed ones, ascending and distinct [s/mm²]."""
        free = (
            np.arange(0, self.bmax + self.step / 2, self.step) if self.among is None else np.asarray(self.among, float)
        )
        free = free[free <= self.bmax * (1 + 1e-12)]
        free = np.append(free, self.bmax) if self.among is None else free
        return np.unique(np.round(np.concatenate([free, np.asarray(self.fixed, float)]), 9))

    def _check_numbers(self) -> None:
        names = "S0, f, D and D*" if self.unknowns == 4 else "f, D and D*"
        checks = (
            (float(self.volumes).is_integer(), "volumes", self.volumes, "a whole number"),
            (0 < self.snr < np.inf, "snr", self.snr, "a number > 0: S0 over the noise SD of one image"),
            (LEAST_BMAX <= self.bmax <= MOST_BMAX, "bmax", self.bmax,
             f"{LEAST_BMAX:g} to {MOST_BMAX:g} s/mm²: below, tissue and blood cannot be told apart"),
            (self.volumes >= self.unknowns, "volumes", self.volumes, f"at least {self.unknowns} images, one for each of {names}"),
            (self.volumes <= MOST_VOLUMES, "volumes", self.volumes, f"at most {MOST_VOLUMES} images"),
            (self.criterion in CRITERIA, "criterion", self.criterion, " or ".join(CRITERIA)),
            (self.bmax / (MOST_CANDIDATES - 1) <= self.step <= self.bmax / 4, "step", self.step,
             f"{self.bmax / (MOST_CANDIDATES - 1):g} to {self.bmax / 4:g} s/mm²"),
            (0.1 <= self.spread <= 10, "spread", self.spread, "0.1 to 10"),
            (self.seed >= 0, "seed", self.seed, "a whole number >= 0"),
        )  # fmt: skip
        for good, name, found, expected in checks:
            if not good:
                shown = f"{found:g}" if isinstance(found, float) else found
                raise InputError(f"{name}: found {shown}, expected {expected}")
        least = self.least_distinct
        if not self.unknowns <= least <= self.volumes:
            raise InputError(
                f"distinct: found {least}, expected {self.unknowns} to {self.volumes}, the number of images"
            )

    def _check_weights(self) -> None:
        weights = np.asarray(self.weights, float)
        if weights.shape != (3,) or not (np.all(weights >= 0) and 0 < weights.sum() < np.inf):
            found = ", ".join(f"{w:g}" for w in weights.ravel())
            raise InputError(f"weights: found {found}, expected three numbers >= 0 for f, D and D*, not all 0")
        object.__setattr__(self, "weights", tuple(float(w) for w in weights))

    def _fixed(self) -> tuple[float, ...]:
        """The fixed b-values, ascending; with those that may be chosen they must make a protocol."""
        fixed = tuple(np.sort(validated(self.fixed, "fixed"))) if len(self.fixed) else ()
        among = None if self.among is None else validated(self.among, "among")
        if fixed and fixed[-1] > self.bmax:
            raise InputError(f"fixed: found {fixed[-1]:g}, expected at most bmax, {self.bmax:g} s/mm²")
        if len(fixed) > self.volumes:
            raise InputError(
                f"fixed: found {len(fixed)} b-values, expected at most {self.volumes}, the number of images"
            )
        if among is not None:
            kept = np.unique(np.concatenate([among[among <= self.bmax], np.array(fixed, float)]))
            if len(kept) < self.least_distinct:
                raise InputError(
                    f"among: found {len(kept)} distinct b-values up to {self.bmax:g} s/mm², expected at least {self.least_distinct}"
                )
        free = self.volumes - len(fixed)
        if len(set(fixed)) + free < self.least_distinct:
            raise InputError(
                f"fixed: found {len(fixed)} of {self.volumes} images with {len(set(fixed))} distinct b-values, which leave no room "
                f"for {self.least_distinct}; expected fewer"
            )
        return tuple(float(b) for b in fixed)
