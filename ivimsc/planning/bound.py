"""The Cramér-Rao bound of a protocol, and the shares of the scan time that make it smallest.

The criterion "cramer-rao" is the mean of the relative standard errors of f, D and D* that unbiased estimates at least have, at
the mean of each tissue: Σ w_p SD_p / θ_p, as in Jalnefjord et al., Magn. Reson. Med. 82:1541 (2019).

With shares of the scan time that need not be whole images it is convex (the information is linear in the shares, and the
square root of a diagonal element of an inverse is convex), so that a local search ends at the best protocol of the grid.
At the optimum no b-value has a slope steeper than the mean of those used (Kiefer and Wolfowitz's equivalence theorem): the
largest ratio of the two proves how near the optimum the shares are.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ivimsc.physics.cramer_rao import standard_deviations
from ivimsc.physics.models import MODELS
from ivimsc.planning.posterior import noise_of
from ivimsc.planning.request import Request

__all__ = ["BoundError", "Optimum"]

KEYS = ("f", "d", "dstar")
ROUNDS, TOLERANCE, SMALLEST = (
    200,
    1e-6,
    1e-7,
)  # b-values added at most; proof at which to stop; least share that is kept
FAINTEST = 1e-9  # least share that is tried
UNUSABLE = 1e12  # the criterion where the protocol cannot tell the parameters: finite, so that values can be compared


class Optimum(NamedTuple):
    """The best shares of the scan time.

    Attributes
    ----------
    bvalues, shares : (b,) [s/mm²], and of the scan time; neighbours on the grid are one b-value, at their mean
    value : the criterion for as many images as the request has
    proof : no shares on the grid have a value below ``value × (1 - proof)``
    """

    bvalues: NDArray[np.float64]
    shares: NDArray[np.float64]
    value: float
    proof: float


class BoundError:
    """The criterion "cramer-rao" of protocols on a grid of b-values (candidate,) [s/mm²]."""

    def __init__(self, request: Request, bvalues: NDArray[np.float64]) -> None:
        self.request, self.bvalues = request, bvalues
        truth = np.array([[tissue.f[0], tissue.D[0], tissue.Dstar[0]] for tissue in request.tissues])
        weights = np.array(request.weights)
        self._scale = weights / weights.sum() / len(truth) / truth  # (tissue, 3)
        values = {"s0": np.ones(len(truth)), **dict(zip(KEYS, truth.T, strict=True))}
        slopes = MODELS["biexp"].slopes_of(*(values[key][:, None] for key in ("s0", *KEYS)), bvalues)[1]
        slopes = np.stack(np.broadcast_arrays(*slopes), axis=-1)  # (tissue, candidate, parameter)
        self._slopes = slopes[..., 1:] if request.s0_known else slopes
        self._products = np.einsum("tci,tcj->ctij", self._slopes, self._slopes)

    def deviations(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The bound (protocol, tissue, 3) of f, D and D* [1, mm²/s]; inf where a protocol cannot tell them.

        Parameters
        ----------
        counts : (protocol, candidate) images, whole or not
        """
        information = self._information(counts)
        shape = information.shape
        found = standard_deviations(information.reshape(-1, *shape[2:])).reshape(shape[:3])[..., -3:]
        return found * noise_of(self.request, self.bvalues, counts)[:, None, None]

    def values(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The criterion (protocol,)."""
        deviations = self.deviations(counts)
        return np.where(np.isfinite(deviations), deviations * self._scale, UNUSABLE).sum((1, 2))

    def _information(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fisher information (protocol, tissue, parameter, parameter) at unit noise."""
        used = np.flatnonzero(counts.any(0))  # few of a fine grid
        return np.tensordot(counts[:, used], self._products[used], 1)

    def optimum(self, allowed: NDArray[np.bool_], fixed: NDArray[np.float64]) -> Optimum:
        """The best shares of the scan time, among the `allowed` candidates; `fixed` (candidate,) images are kept.

        Each round adds the b-value of the steepest slope and finds the best shares of those that are there.
        """
        free = self.request.volumes - fixed.sum()
        support = np.flatnonzero(allowed)[np.unique(np.linspace(0, allowed.sum() - 1, 12).astype(int))]
        counts = fixed.copy()
        if free <= 0:
            return Optimum(*_merged(self.bvalues, counts), float(self.values(counts[None])[0]), 0.0)
        counts[support], before = counts[support] + free / len(support), np.zeros(0)
        for _ in range(ROUNDS):
            counts = self._best_shares(support, fixed, free, counts[support] - fixed[support])
            gain = self._gain(counts)
            mean = (counts - fixed) @ gain / free
            steepest = int(np.argmax(np.where(allowed, gain, -1)))
            if gain[steepest] <= mean * (1 + TOLERANCE) or np.array_equal(support, before):
                break
            before = support
            support = np.union1d(np.flatnonzero(counts - fixed > SMALLEST * free), [steepest])
        value = float(self.values(counts[None])[0])
        return Optimum(*_merged(self.bvalues, counts), value, float(max(free * (gain[steepest] - mean) / value, 0)))

    def _gain(self, counts: NDArray[np.float64], places: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.float64]:
        """How much the criterion falls (place,) with every further image at these candidates, at first."""
        information = self._information(counts[None])[0]
        size = np.sqrt(np.einsum("tii->ti", information))
        scaled = information / (size[:, :, None] * size[:, None, :])
        rows = (np.linalg.inv(scaled) / (size[:, :, None] * size[:, None, :]))[:, -3:]
        deviations = np.sqrt(np.einsum("tpp->tp", rows[:, :, -3:]))
        moved = np.einsum("tpi,tci->tpc", rows, self._slopes[:, places])
        sigma = noise_of(self.request, self.bvalues, counts[None])[0]
        return 0.5 * sigma * np.einsum("tp,tpc->c", self._scale / deviations, moved**2)

    def _best_shares(
        self, support: NDArray[np.intp], fixed: NDArray[np.float64], free: float, start: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The best counts (candidate,) with free images on the `support` alone."""

        def at(shares: NDArray) -> NDArray[np.float64]:
            counts = fixed.copy()
            counts[support] += free * np.maximum(shares, FAINTEST) / np.maximum(shares, FAINTEST).sum()
            return counts

        def cost(shares: NDArray) -> tuple[float, NDArray[np.float64]]:
            counts = at(shares)
            return float(self.values(counts[None])[0]) / scale, -free * self._gain(counts, support) / scale

        begin = np.maximum(start / free, 1e-3)
        begin /= begin.sum()
        scale = float(self.values(at(begin)[None])[0])
        together = {"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like}
        found = minimize(cost, begin, jac=True, method="SLSQP", bounds=[(FAINTEST, 1)] * len(support), constraints=together,
                         options={"maxiter": 500, "ftol": 1e-12})  # fmt: skip
        return at(found.x)


def _merged(
    bvalues: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """b-values and shares of the counts, neighbours of the grid joined at their mean."""
    used = np.flatnonzero(counts > SMALLEST * counts.sum() * 10)
    groups = np.split(used, np.flatnonzero(np.diff(used) > 1) + 1)
    shares = np.array([counts[group].sum() for group in groups])
    means = np.array([counts[group] @ bvalues[group] for group in groups]) / shares
    return means, shares / shares.sum()
