"""How a voxel's fit ended: the outcomes, their sentences and their numbers, the same for every method.

The order in which outcomes win, where more than one holds: bad signal (5); outside what a model was trained on (7); iteration
limit (3); duality gap (6); the model does not explain the signal (8); D* not identifiable (4); at a bound (2); converged (1).
First comes whether there is a result at all, then whether the method and the model hold, then what the data say of it. The
rules of 1, 2 and 4 are in `numerics.ending`, and `device.verdict` asks them of every method.
"""

from enum import IntEnum

__all__ = ["Outcome"]


class Outcome(IntEnum):
    """How a voxel's fit ended. `sentence` is the one wording that logs, reports and docs use, and `advice` says what to do."""

    OUTSIDE = 0
    CONVERGED = 1
    AT_BOUND = 2
    ITERATION_LIMIT = 3
    DSTAR_UNIDENTIFIABLE = 4
    BAD_SIGNAL = 5
    GAP = 6
    OUTSIDE_TRAINING = 7
    MISFIT = 8

    @property
    def sentence(self) -> str:
        """What the outcome means, in words."""
        return _SENTENCES[self]

    @property
    def advice(self) -> str:
        """What to do with such voxels, in words."""
        return _ADVICE[self]


_SENTENCES = {
    Outcome.OUTSIDE: "outside the mask",
    Outcome.CONVERGED: "converged",
    Outcome.AT_BOUND: "at a bound of f, D or D*",
    Outcome.ITERATION_LIMIT: "stopped short: at the iteration limit, with too few draws, or off a signal that a better curve explains",
    Outcome.DSTAR_UNIDENTIFIABLE: "D* not identifiable: f is about 0, or D* about D, within 1.96 standard errors",
    Outcome.BAD_SIGNAL: "bad signal: NaN, Inf, S0 <= 0 or all zero; not fitted",
    Outcome.GAP: "duality gap above the tolerance",
    Outcome.OUTSIDE_TRAINING: "outside what the model was trained on, in its signals or in its estimates",
    Outcome.MISFIT: "the model does not explain the signal: residuals beyond what the noise level allows",
}

_ADVICE = {
    Outcome.OUTSIDE: "nothing was asked here",
    Outcome.CONVERGED: "use them",
    Outcome.AT_BOUND: "use what is not at the bound; widen the bounds only where the tissue asks for it",
    Outcome.ITERATION_LIMIT: "raise the limit; if many voxels have it, look at the signals",
    Outcome.DSTAR_UNIDENTIFIABLE: "use S0, D and f with its error; leave D* out",
    Outcome.BAD_SIGNAL: "a mask leaves the background out",
    Outcome.GAP: "raise max_iterations",
    Outcome.OUTSIDE_TRAINING: "do not use the values; fit by a method without training",
    Outcome.MISFIT: "look at the residuals: motion, kurtosis, a spike or another tissue; the standard errors are not valid",
}
