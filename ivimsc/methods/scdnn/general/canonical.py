"""Coordinates of an IVIM signal that do not depend on the protocol: what a network for any scan works in.

The curves of equation (1) lie, to far below any noise, in a space of few dimensions: ψ_r(b), the principal curves of the
exponentials over 0..1000 s/mm². In units of their spread under a wide prior, a curve is z (r,). A scan with b-values b
and noise σ sees y = Ψ z + noise; of z it tells the linear estimate ẑ = P y (Wiener) with the error covariance E (r, r).
ẑ and E are all that a scan says, whatever its b-values: ẑ is the network's input, ln E the context its weights depend on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivimsc.physics.signal import signals

__all__ = ["F", "D", "DSTAR", "RANK", "SNR", "Projection", "draw_parameters", "make_basis", "signals_of"]

RANK = 8  # dimensions kept: the next singular value is 1e-4 of the noise at SNR 200
F, D, DSTAR = (0.0, 0.7), (0.2, 3.2), (6.0, 180.0)  # the wide prior [1, µm²/ms]: uniform, and log-uniform in D and D*
SNR = (8.0, 250.0)  # what a general model is trained for, with a little room at the ends
LARGEST_B = 1.0  # ms/µm²: 1000 s/mm²
_NODES = 200  # b-values of the principal curves


def draw_parameters(n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """f, D, D* (n, 3) of the wide prior [1, µm²/ms]."""
    u = generator.random((n, 3))
    logs = [np.exp(np.log(low) + u[:, i] * np.log(high / low)) for i, (low, high) in ((1, D), (2, DSTAR))]
    return np.stack([F[0] + u[:, 0] * (F[1] - F[0]), *logs], axis=1)


def signals_of(parameters: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Equation (1) with S0 = 1: f, D, D* (voxel, 3), b (b,) [ms/µm²] to (voxel, b)."""
    return signals(1.0, *parameters.T[:, :, None], b)


@dataclass(frozen=True)
class Basis:
    """ψ_r(b) = Σ_j exp(-b D_j) mix[j, r]: diffusivities (atom,) [µm²/ms], mix (atom, r)."""

    diffusivities: NDArray[np.float64]
    mix: NDArray[np.float64]

    def at(self, b: ArrayLike) -> NDArray[np.float64]:
        """Ψ (b, r), in units in which z has unit second moment under the wide prior; b (b,) [ms/µm²]."""
        return np.exp(-np.outer(b, self.diffusivities)) @ self.mix


def make_basis(rank: int = RANK) -> Basis:
    """The principal curves: the same on every machine but for rounding, so a model keeps its own."""
    nodes = np.concatenate([[0.0], np.geomspace(2e-3, LARGEST_B, _NODES)])  # as many low b-values as scans like
    diffusivities = np.geomspace(0.1, 250.0, 96)
    curves = signals_of(draw_parameters(20000, np.random.Generator(np.random.Philox(0))), nodes)
    exponentials = np.exp(-np.outer(nodes, diffusivities))
    u, s, vt = np.linalg.svd(exponentials, full_matrices=False)
    keep = s > 1e-7 * s[0]
    space, back = u[:, keep], (vt[keep].T / s[keep])  # space = exponentials @ back
    moment = (curves @ space).T @ (curves @ space) / len(curves)
    values, vectors = np.linalg.eigh(moment)
    order = np.argsort(values)[::-1][:rank]
    return Basis(diffusivities, back @ vectors[:, order] * np.sqrt(values[order]))


@dataclass(frozen=True)
class Projection:
    """What a protocol and a noise level make of z.

    psi (b, r); project P (r, b): ẑ = P y, for S0 = 1 and noise SD sigma; mix (r, r) = P Ψ; context (r (r+1) / 2,): the
    upper triangle of the matrix logarithm of E.
    """

    psi: NDArray[np.float64]
    project: NDArray[np.float64]
    mix: NDArray[np.float64]
    context: NDArray[np.float64]

    @staticmethod
    def of(basis: Basis, b: NDArray, sigma: ArrayLike) -> "Projection":
        """For b-values b (b,) [ms/µm²] and noise SD `sigma`, over S0: a number, or one for each b-value (b,)."""
        psi, variance = basis.at(b), np.broadcast_to(np.square(sigma), len(b))
        project = np.linalg.solve(psi @ psi.T + np.diag(variance), psi).T
        information = np.eye(psi.shape[1]) + (psi.T / variance) @ psi  # its inverse is E
        values, vectors = np.linalg.eigh(information)
        logarithm = -(vectors * np.log(values)) @ vectors.T
        return Projection(psi, project, project @ psi, logarithm[np.triu_indices(len(logarithm))])
