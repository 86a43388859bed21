"""The priors that are fixed before any data are seen, each with what it is in words; and when the broad one is due."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ivimsc.methods.bayes.mixture import Mixture
from ivimsc.methods.bayes.priors import Prior, box_prior, gaussian_prior
from ivimsc.physics.protocol import B0_LIMIT

if TYPE_CHECKING:
    from ivimsc.methods.bayes.method import Options

__all__ = ["BROAD_PRIOR", "bounds_of", "box", "lognormal", "why_broad"]

LOWEST_D = 1e-5  # mm²/s: where 1 / D begins, if the bounds begin at 0
MEDIANS, SPREADS = (0.15, 1.2, 30.0), (1.2, 0.6, 0.8)  # of f, D, D* [µm²/ms]; SD of logit f, ln D, ln D*
BROAD_PRIOR = Mixture(
    np.ones(1),
    np.array([[np.log(MEDIANS[0] / (1 - MEDIANS[0])), np.log(MEDIANS[1]), np.log(MEDIANS[2])]]),
    np.diag(np.square(SPREADS))[None],
)
BROAD_WORDS = "fixed and broad, log-normal, medians f 0.15, D 1.2, D* 30 µm²/ms, SD of logit f 1.2, ln D 0.6, ln D* 0.8"
FEWEST, FEWEST_B = 100, 4  # voxels and b-values that a population is learnt from
FAST = 200.0  # s/mm²: blood shows in b-values up to here


def why_broad(n: int, bvalues: NDArray[np.float64], s0_known: bool) -> str | None:
    """Why a population cannot be learnt from n good voxels at these b-values [s/mm²], in words; None where it can."""
    if n < FEWEST:
        return f"{n} {'voxel is' if n == 1 else 'voxels are'} too few to learn a population from ({FEWEST} are enough)"
    if len(bvalues) < FEWEST_B:
        return f"{len(bvalues)} b-values are too few to learn a population from ({FEWEST_B} are enough)"
    if bvalues[0] > B0_LIMIT and not s0_known:
        return f"without b = 0 (the smallest is {bvalues[0]:g} s/mm²) the data hardly tell S0, f and D* apart; give s0 where it is known"
    if not np.any((bvalues > B0_LIMIT) & (bvalues <= FAST)):
        return f"without a b-value between {B0_LIMIT:g} and {FAST:g} s/mm² the data tell nothing of D*"
    return None


def bounds_of(options: "Options") -> NDArray[np.float64]:
    """Bounds (3, 2) of f, D, D* [µm²/ms]."""
    return np.array([options.f_bounds, np.multiply(options.d_bounds, 1e3), np.multiply(options.dstar_bounds, 1e3)])


def box(options: "Options") -> tuple[Prior, str]:
    """The uniform or reciprocal prior, and what it is, in words."""
    bounds = bounds_of(options)
    reciprocal = options.prior != "uniform"
    if reciprocal:
        bounds[1, 0] = max(bounds[1, 0], LOWEST_D * 1e3)
    (f0, f1), (d0, d1), (p0, p1) = bounds
    shape = "uniform in f, 1/x in D and D*" if reciprocal else "uniform"
    prior = box_prior(bounds, (False, reciprocal, reciprocal))
    return prior, f"{shape}, f {f0:g}..{f1:g}, D {d0:g}..{d1:g}, D* {p0:g}..{p1:g} µm²/ms"


def lognormal(options: "Options") -> tuple[Prior, str]:
    """The log-normal prior of the options, and what it is, in words."""
    (f, sf), (d, sd), (p, sp) = options.f_normal, options.d_normal, options.dstar_normal
    d, p = d * 1e3, p * 1e3
    mean = np.array([[np.log(f / (1 - f)), np.log(d), np.log(p)]])
    prior = gaussian_prior(np.ones(1), mean, np.diag(np.square([sf, sd, sp]))[None], bounds_of(options))
    medians, spreads = f"f {f:g}, D {d:g}, D* {p:g} µm²/ms", f"logit f {sf:g}, ln D {sd:g}, ln D* {sp:g}"
    return prior, f"log-normal, medians {medians}, SD of {spreads}"
