"""The smallest mean squared error that any method can have on a simulated store, by Monte Carlo.

The posterior mean under the prior that the truth comes from is the best estimate there is; its mean squared error is
the bound. The prior is the store's own truth: voxels to test and voxels to draw the prior from are kept apart, and the
draws cut in two halves. With posterior means m1 and m2 from the two, the mean of (m1 - x)(m2 - x) has no contribution
of the draws' own noise, which would enter (m - x)².

`s0_known`: S0 is drawn together with f, D and D* (the literal bound: for S0 = 1 throughout this is S0 known);
otherwise S0 has a flat prior, as for a method that fits S0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.cluster import run_jobs
from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.draws import Draws, empirical_draws, make_proposal
from ivimsc.methods.bayes.likelihood import NoiseModel, unit_signals
from ivimsc.methods.bayes.posterior import posteriors
from ivimsc.methods.bayes.priors import box_prior
from ivimsc.methods.bayes.problem import Problem, Sampling

__all__ = ["Bound", "smallest_error"]

TESTED, DRAWS = 4096, 32768  # most voxels tested; most draws per half
FEWEST = 2000  # voxels in a store below which no bound is tried
UNITS = {"s0": 1.0, "f": 1.0, "d": 1e3, "dstar": 1e3}  # of the truth, to [µm²/ms]
BLOCK = 64  # voxels per call: each has some 10,000 draws
PIECE = 512  # voxels of a job on a cluster: some seconds
THIN = 10.0  # median effective sample size below which the bound is not to be trusted


@dataclass(frozen=True)
class Bound:
    """Squared errors (tested, 3) of f, D, D* [1, (mm²/s)²] whose mean is the bound; `tested` are their voxels' numbers.

    noisy, noise_free: for the store's signals, and for the same without noise, both read with the store's noise level.
    ess: median effective sample size of a half.
    """

    tested: NDArray[np.intp]
    noisy: NDArray[np.float64]
    noise_free: NDArray[np.float64]
    ess: float

    @property
    def thin(self) -> bool:
        """The draws are too few for this noise level: the bound is unreliable."""
        return self.ess < THIN

    def mean(
        self, which: str, inside: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The bound over some of the tested voxels.

        Parameters
        ----------
        which : "noisy" or "noise_free"
        inside : (voxel,) bool, of all voxels of the store; None: all

        Returns
        -------
        the bound (3,) of f, D, D* [1, (mm²/s)²], and its Monte-Carlo standard error (3,)
        """
        products = getattr(self, which)
        products = products if inside is None else products[inside[self.tested]]
        products = products[np.isfinite(products).all(1)]
        if len(products) < 2:
            return np.full(3, np.nan), np.full(3, np.nan)
        return products.mean(0), products.std(0, ddof=1) / np.sqrt(len(products))


def smallest_error(signals: NDArray[np.float32], truth: dict[str, NDArray], bvalues: NDArray[np.float64], sigma: float,
                   rician: bool, s0_known: bool, launch: Launch, seed: int = 0) -> Bound:  # fmt: skip
    """The smallest possible mean squared error for voxels whose truth is known; see the module.

    Parameters
    ----------
    signals : (voxel, b); some thousand voxels are read from it, all at once, in ascending order
    truth : (voxel,) arrays under s0 [unit of the signal], f, d and dstar [mm²/s]
    bvalues : (b,) in s/mm²
    sigma : noise standard deviation, in the unit of the signal
    rician : the noise is Rician, not Gaussian
    s0_known : S0 is drawn with f, D and D*, instead of a flat prior
    launch : CPU threads, and the cluster that shares the work where there is one
    seed : of the choice of voxels

    Returns
    -------
    Bound

    Raises
    ------
    InputError
        for sigma <= 0, and fewer than 2000 voxels with truth
    """
    if not sigma > 0:
        raise InputError(f"sigma: found {sigma:g}, expected the noise standard deviation > 0")
    known = np.flatnonzero(np.logical_and.reduce([np.isfinite(truth[key]) for key in UNITS]))
    if len(known) < FEWEST:
        raise InputError(f"bound: found {len(known)} voxels with truth, expected at least {FEWEST}")
    known = np.random.Generator(np.random.Philox(seed)).permutation(known)
    n = min(TESTED, len(known) // 4)
    tested, half = np.sort(known[:n]), min(DRAWS, (len(known) - n) // 2)
    values, *others = (
        np.stack([np.asarray(truth[key][place], np.float64) * unit for key, unit in UNITS.items()])
        for place in (tested, known[n : n + half], known[n + half : n + 2 * half])
    )
    del known  # of a large store the largest
    noise = NoiseModel(
        (bvalues * 1e-3).astype(np.float32),
        np.ones(len(bvalues), np.float32),
        np.float32(s0_known),
        np.float32(sigma),
        rician,
    )
    clean = np.empty((len(bvalues), n), np.float32)
    unit_signals(noise.b, np.ascontiguousarray(values[1:], np.float32), clean)
    clean = np.ascontiguousarray((clean * values[0].astype(np.float32)).T)
    noisy = np.ascontiguousarray(signals[tested], np.float32)
    draws = [_draws(noise, other, s0_known, seed) for other in others]
    asked = _Asked([_problem(noise, one) for one in draws], [noisy, clean], launch.threads)
    found = _means(asked, launch)
    errors = found.means - values[1:].T * (1, 1e-3, 1e-3)
    ess = float(np.nanmedian(found.ess, axis=2).min())
    return Bound(tested, *(errors[0] * errors[1]), ess)


class _Asked(NamedTuple):
    """Posteriors to compute: of each of the problems, for each of the arrays of signals (voxel, b)."""

    problems: list[Problem]
    signals: list[NDArray[np.float32]]
    threads: int


class _Piece(NamedTuple):
    """The voxels start..stop of one of the arrays, under one of the problems."""

    problem: int
    signals: int
    start: int
    stop: int


class _Means(NamedTuple):
    """Posterior means (problem, signals, voxel, 3) of f, D, D* [1, mm²/s], and effective sample sizes (problem, signals, voxel)."""

    means: NDArray[np.float64]
    ess: NDArray[np.float64]


def _means(asked: _Asked, launch: Launch) -> _Means:
    """All posterior means, here or on the cluster of `launch`."""
    cluster, n = launch.cluster, len(asked.signals[0])
    size = n if cluster is None else PIECE
    if cluster is not None:
        asked = asked._replace(threads=cluster.threads)
    shape = (len(asked.problems), len(asked.signals), n)
    found = _Means(np.empty((*shape, 3)), np.empty(shape))
    for piece, some in run_jobs(_means_of, _pieces(asked, size), cluster, asked):
        place = (piece.problem, piece.signals, slice(piece.start, piece.stop))
        found.means[place], found.ess[place] = some
    return found


def _pieces(asked: _Asked, size: int) -> Iterator[_Piece]:
    for problem in range(len(asked.problems)):
        for which, signals in enumerate(asked.signals):
            for start in range(0, len(signals), size):
                yield _Piece(problem, which, start, min(start + size, len(signals)))


def _means_of(asked: _Asked, piece: _Piece) -> _Means:
    """The posterior means of some voxels: without local rounds they depend on the signals alone."""
    signals = asked.signals[piece.signals][piece.start : piece.stop]
    launch = Launch("cpu", asked.threads)
    found = posteriors(asked.problems[piece.problem], signals, launch, piece.start, block=BLOCK).values
    return _Means(found[[rows.F, rows.D, rows.DSTAR]].T.astype(np.float64), found[rows.ESS].astype(np.float64))


def _draws(noise: NoiseModel, values: NDArray[np.float64], s0_known: bool, seed: int) -> Draws:
    draws = empirical_draws(noise, np.ascontiguousarray(values[1:]), seed)
    if s0_known:  # the draw carries its S0: the model then adds none (S0 = 1)
        draws = draws._replace(signals=np.ascontiguousarray(draws.signals * values[0].astype(np.float32)))
    return draws


def _problem(noise: NoiseModel, draws: Draws) -> Problem:
    """The posterior by the given draws alone: no local rounds, so that the prior, the proposal and the rest have no use."""
    unused = box_prior(np.array([[0, 1], [0, 5], [5, 200]]))
    none = np.float32(0)
    return Problem(noise, unused, draws, make_proposal(256, 0), Sampling(none, none, 0, none, 16, 0))
