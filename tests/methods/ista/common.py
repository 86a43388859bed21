"""What the tests of ista share: a prepared fitter, codes as dense arrays, and the cost and its gap in plain numpy."""

import numpy as np

from ivimsc.device.launch import choose_device
from ivimsc.methods import make_options
from ivimsc.methods.ista import method as ista
from tests.conftest import as_voxels

RANGES = ((1e-5, 5e-3), (5e-3, 0.2))
THREE = np.array([0, 150, 600.0])
SIXTY = np.linspace(0, 1000, 60)


def prepared(bvalues, signals=None, **options):
    signals = np.ones((1, len(bvalues)), np.float32) if signals is None else signals
    return ista.prepare(as_voxels(signals, bvalues), make_options(ista, options), choose_device("cpu", 1))


def dense(spectrum, voxels, atoms):
    """Coefficients (voxel, atom) out of CSR rows."""
    x = np.zeros((voxels, atoms))
    x[np.repeat(np.arange(voxels), np.diff(spectrum.indptr)), spectrum.indices] = spectrum.data
    return x


def coded(bvalues, signals, beta, solver="exact", **options):
    """Scaled signals y, matrix and coefficients (voxel, atom) in float64 as the solver left them, and its Code."""
    fitter = prepared(bvalues, signals, **options)
    code = fitter.code(np.ascontiguousarray(signals, np.float32), beta, solver)
    x = dense(code, len(signals), len(fitter.dictionary))
    return signals.astype(np.float64) / code.scale[:, None].astype(np.float64), fitter.dictionary.matrix, x, code


def objective(y, phi, x, beta):
    return np.sum((y - x @ phi.T) ** 2, axis=-1) + beta * np.sum(x, axis=-1)


def gap_by_definition(y, phi, x, beta):
    """(cost - best lower bound) / cost of one signal y (b,), by the definition of the dual problem.

    2 θᵀy - ||θ||² is a lower bound of the cost for every θ with Φᵀθ <= β/2. Two are tried: r - δ l, where l is 0 but at
    the b-value at which the smallest atom is largest, and r scaled down (for β > 0).
    """
    r, row = y - phi @ x, np.argmax(phi.min(axis=1))
    delta = max(np.max(phi.T @ r) - beta / 2, 0.0)
    lift = np.zeros(len(y))
    lift[row] = 1 / phi[row].min()
    points = [r - delta * lift] + ([r * (beta / 2) / (beta / 2 + delta)] if beta > 0 else [])
    assert all(np.max(phi.T @ point) <= beta / 2 + 1e-12 for point in points)
    cost = objective(y, phi, x, beta)
    return (cost - max(2 * point @ y - point @ point for point in points)) / max(cost, 1e-6 * y @ y)
