"""A protocol in one call: search, judgement beside usual protocols, and what the errors become with other scan times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch, choose_device
from ivimsc.physics.signal import signals
from ivimsc.planning.bound import BoundError, Optimum
from ivimsc.planning.judge import Row, judge, sigma_of
from ivimsc.planning.posterior import ENOUGH, PosteriorError
from ivimsc.planning.prior import moments_of
from ivimsc.planning.request import Request
from ivimsc.planning.search import exchange, simplify, spread_start
from ivimsc.planning.usual import Protocol, usual_protocols

__all__ = ["Curve", "Design", "design"]

DESIGN, BOUND = "this design", "best by the Cramér-Rao bound"
CAP = 50.0  # s/mm²: by so much a smaller largest b-value is tried, where it shortens the echo time
NEAR_NOISE = 3.0  # noise SDs: below, magnitudes have a bias that the design does not reckon with
SPREAD = np.geomspace(0.25, 4, 9)  # scan times of the curves, over that of the design

SEARCHED = 70  # of 100 steps of progress, when the search is over; nobody knows how many sweeps it takes
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Curve:
    """Smallest possible errors of a protocol against scan time: images (n,), rmse (n, tissue, 3) [1, mm²/s]."""

    protocol: str
    images: NDArray[np.float64]
    rmse: NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """A protocol, and what it is worth.

    Attributes
    ----------
    bvalues, repeats : (b,) distinct b-values [s/mm²], ascending, and how many images each has
    request : what it was designed for
    value : the criterion that was made smallest; for "posterior" the weighted mean share of the prior's variance that is left
    optimum : for "cramer-rao", the best shares of the scan time where they need not be whole images
    rows : errors beside those of usual protocols at equal scan time
    protocols : the protocols of the rows, this one first
    curves : errors against the number of images
    notes : what to know about it, in sentences
    """

    bvalues: NDArray[np.float64]
    repeats: NDArray[np.int64]
    request: Request
    value: float
    optimum: Optimum | None
    rows: list[Row] = field(repr=False)
    protocols: tuple[Protocol, ...] = field(repr=False)
    curves: list[Curve] = field(repr=False)
    notes: list[str] = field(repr=False)

    @property
    def images(self) -> NDArray[np.float64]:
        """b-value of every image, ascending (volume,) [s/mm²]."""
        return np.repeat(self.bvalues, self.repeats)

    @property
    def left(self) -> dict[str, float]:
        """Protocol -> mean share of the variance within the tissues that it leaves, weighted as the request's criterion."""
        weights = np.array(self.request.weights * len(self.request.tissues))
        return {
            protocol.name: float(np.average([(r.rmse / r.prior) ** 2 for r in self.rows if r.protocol == protocol.name], weights=weights))
            for protocol in self.protocols
        }  # fmt: skip


def design(
    tissue: Any,
    snr: float = 30.0,
    volumes: int = 16,
    bmax: float = 800.0,
    progress: Progress = lambda done, total: None,
    threads: int | None = None,
    **settings: Any,
) -> Design:
    """Design a protocol: the b-values, with repeats, of the smallest expected error in a tissue.

    Parameters
    ----------
    tissue : names of tissues in data/literature.csv, "liver" or "liver,kidney cortex"; or `Tissue` records
    snr : S0 over the noise SD of one image
    volumes : number of images
    bmax : largest b-value [s/mm²]
    progress : takes how much is done, of how much
    threads : CPU threads; default: all cores
    settings : further fields of `ivimsc.planning.request.Request`: criterion, weights, fixed, step, among, distinct, s0_known,
        spread, te, gradient, t2, seed

    Returns
    -------
    Design

    Raises
    ------
    InputError
        for a tissue that the file does not have, fewer images than unknowns, an SNR of 0, and so on

    Examples
    --------
    >>> import ivimsc
    >>> made = ivimsc.design("liver", snr=30, volumes=8, bmax=800, step=50)
    >>> int(made.repeats.sum()), float(made.bvalues.max()) <= 800
    (8, True)
    """
    request, launch = Request(tissue, snr, volumes, bmax, **settings), choose_device("cpu", threads)
    return _Planner(request, launch, progress).plan()


class _Planner:
    """One call of `design`: the grid of b-values, which also has those of the usual protocols, and both criteria on it."""

    def __init__(self, request: Request, launch: Launch, progress: Progress) -> None:
        self.request, self.launch, self.progress = request, launch, progress
        self.usual = usual_protocols(request.volumes, request.bmax)
        every = np.concatenate([request.candidates, *(p.images for p in self.usual)])
        self.bvalues = np.unique(np.round(every, 9))
        self.allowed = np.isin(self.bvalues, request.candidates)
        self.fixed = self._counts(request.fixed)
        self.bound = BoundError(request, self.bvalues)
        self.posterior = PosteriorError(request, self.bvalues, launch)
        self._sweeps = 0

    def plan(self) -> Design:
        """Search, judge and draw up."""
        by_bound, bound_value = self._search(self.bound.values, [self._start()])
        chosen, value = by_bound, bound_value
        if self.request.criterion == "posterior":
            chosen, value = self._search(self.posterior.values, [by_bound, self._start()])
        protocols = [Protocol(DESIGN, "", tuple(self._images(chosen)))]
        if self.request.criterion == "posterior":
            protocols.append(Protocol(BOUND, "", tuple(self._images(by_bound))))
        protocols = (*protocols, *self.usual)
        rows = judge(self.request, protocols, self.launch, self._tell_judged)
        used = np.flatnonzero(chosen)
        optimum = None
        if self.request.criterion == "cramer-rao":
            optimum = self.bound.optimum(self._below(float(self.bvalues[used[-1]])), self.fixed)
        return Design(self.bvalues[used], chosen[used].astype(int), self.request, value, optimum, rows, protocols,
                      list(self._curves(protocols)), self._notes(chosen, value, optimum))  # fmt: skip

    def _counts(self, images: Any) -> NDArray[np.float64]:
        """Images (candidate,) of the grid."""
        places = np.searchsorted(self.bvalues, np.round(np.asarray(images, float), 9))
        return np.bincount(places, minlength=len(self.bvalues)).astype(float)

    def _images(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.repeat(self.bvalues, counts.astype(int))

    def _start(self) -> NDArray[np.float64]:
        return spread_start(self.bvalues, self.allowed, self.fixed, self.request.volumes, self.request.least_distinct)

    def _below(self, cap: float) -> NDArray[np.bool_]:
        return self.allowed & (self.bvalues <= cap)

    def _search(self, values: Any, starts: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], float]:
        """The best protocol from several starts; with echo times, also with smaller largest b-values."""
        best = min((self._exchange(values, start, self.allowed) for start in starts), key=lambda found: found[1])
        if self.request.echo_time is None:
            return simplify(values, best[0], self.fixed, self.allowed, self.request.least_distinct)
        cap = self.bvalues[np.flatnonzero(best[0])[-1]] - CAP
        while cap >= max(4 * CAP, self._least_cap()):
            allowed = self._below(cap)
            found = self._exchange(values, self._clipped(best[0], allowed), allowed)
            if found[1] < best[1]:
                best = found
            elif cap < self.bvalues[np.flatnonzero(best[0])[-1]] - 3 * CAP:
                break
            cap -= CAP
        return simplify(values, best[0], self.fixed, self.allowed, self.request.least_distinct)

    def _least_cap(self) -> float:
        """The smallest largest b-value that the fixed and the distinct ones leave room for [s/mm²]."""
        fixed = float(max(self.request.fixed, default=0.0))
        return max(fixed, float(self.bvalues[self.allowed][self.request.least_distinct - 1]))

    def _clipped(self, counts: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The images above the largest `allowed` b-value moved to it."""
        last = int(np.flatnonzero(allowed)[-1])
        clipped = counts.copy()
        clipped[last] += counts[last + 1 :].sum()
        clipped[last + 1 :] = 0
        if (clipped > 0).sum() >= self.request.least_distinct:
            return clipped
        return spread_start(self.bvalues, allowed, self.fixed, self.request.volumes, self.request.least_distinct)

    def _exchange(
        self, values: Any, start: NDArray[np.float64], allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], float]:
        def tell(value: float) -> None:
            self._sweeps += 1
            self.progress(round(SEARCHED * (1 - 0.85**self._sweeps)), 100)

        return exchange(values, start, self.fixed, allowed, self.request.least_distinct, tell)

    def _tell_judged(self, n: int, of: int) -> None:
        self.progress(SEARCHED + round((100 - SEARCHED) * n / of), 100)

    def _curves(self, protocols: tuple[Protocol, ...]) -> Iterator[Curve]:
        """Errors of the same shares of other scan times; half images are half the scan time of one."""
        images = self.request.volumes * SPREAD
        for protocol in protocols:
            shares = self._counts(protocol.images) / len(protocol.images)
            left = self.posterior.left(shares * images[:, None])
            yield Curve(protocol.name, images, np.sqrt(left) * self.posterior.sd)

    def _notes(self, chosen: NDArray[np.float64], value: float, optimum: Optimum | None) -> list[str]:
        request, notes = self.request, []
        images = self._images(chosen)
        if request.criterion == "posterior":
            notes.append(f"on average {100 * value:.1f} % of the prior's variance is left (weights of f, D, D*: "
                         f"{', '.join(f'{w:g}' for w in request.weights)})")  # fmt: skip
        if optimum is not None:
            shares = ", ".join(
                f"{b:.4g}: {share:.3f}" for b, share in zip(optimum.bvalues, optimum.shares, strict=True)
            )
            notes.append(f"best shares of the scan time by b-value [s/mm²]: {shares}; whole images come within "
                         f"{100 * (value / (optimum.value * (1 - optimum.proof)) - 1):.2g} % of the best on this grid")  # fmt: skip
        if request.echo_time is not None:
            largest = float(images[-1])
            notes.append(f"echo time {request.echo_time.at(largest):.1f} ms at b = {largest:g} s/mm² instead of {request.te:g} ms: "
                         f"{100 * (request.echo_time.gain(largest) - 1):.0f} % more signal")  # fmt: skip
        if self.posterior.effective < ENOUGH:
            notes.append(f"warning: the posteriors rest on {self.posterior.effective:.0f} effective draws (enough: {ENOUGH:g}): the prior "
                         "is wide for so little noise, and the errors of the search are rough")  # fmt: skip
        for tissue in request.tissues:
            low = float(signals(1.0, *moments_of(tissue, request.spread)[0], images[-1])) / sigma_of(request, images)
            if low < NEAR_NOISE:
                notes.append(f"warning: {tissue.name}: the signal at b = {images[-1]:g} s/mm² is {low:.2g} noise SDs of one image; below "
                             f"{NEAR_NOISE:g} magnitudes have a bias that this design does not reckon with")  # fmt: skip
        return notes
