"""The exact sparse code on the simulated GPU, against the CPU's."""

import numpy as np
import pytest

from ivimsc.kernels.cuda import sparse_coding as on_gpu
from ivimsc.kernels.launch import choose_device
from ivimsc.kernels.pyramid import make_pyramid
from ivimsc.kernels.sparse_coding import encode_exact
from tests.conftest import TEN, phantom

TOLERANCE = 1e-6
B = TEN[[0, 2, 4, 6, 8, 9]]


def code(gpu, signals, n_atoms, beta, relative):
    D, Dstar = np.geomspace(1e-5, 5e-3, n_atoms), np.geomspace(5e-3, 0.2, n_atoms)
    b = TEN if signals.shape[1] == len(TEN) else B
    p = make_pyramid(np.exp(-np.outer(b, np.concatenate([D, Dstar]))), n_atoms, TOLERANCE)
    n, most = len(signals), signals.shape[1]
    scale, atom, x = np.zeros(n, np.float32), np.empty((n, most), np.int32), np.empty((n, most))
    gap, squares, turns = np.empty(n), np.empty(n), np.zeros(n, np.int32)
    if gpu:
        on_gpu.encode(choose_device("cuda"), signals, p, beta, relative, scale, atom, x, gap, squares, turns)
    else:
        encode_exact(0, n, signals, p, beta, relative, scale, atom, x, gap, squares, turns)
    return scale, atom, x, gap, squares, turns


@pytest.mark.parametrize(
    ("n", "beta", "relative"), [(0, 0.0, False), (1, 0.0, False), (4, 0.01, False), (2, 0.1, True)]
)
@pytest.mark.parametrize("n_b", [6, 10])
def test_equal_to_the_cpu(n, beta, relative, n_b, monkeypatch):
    monkeypatch.setattr(on_gpu, "CHUNK", 3)
    signals = phantom(4, TEN if n_b == 10 else B, 30, seed=5).signals[:n]
    if n == 4:
        signals[2, 1] = np.nan
    cpu, gpu = code(False, signals, 34, beta, relative), code(True, signals, 34, beta, relative)
    np.testing.assert_array_equal(gpu[0], cpu[0])
    good = cpu[0] > 0
    assert np.all(gpu[3][good] <= TOLERANCE) and np.all(np.isnan(gpu[3][~good])) and np.all(np.isnan(gpu[4][~good]))
    np.testing.assert_allclose(gpu[4][good], cpu[4][good], rtol=1e-4)  # two optima within the gap
    np.testing.assert_allclose(gpu[2].sum(1), cpu[2].sum(1), rtol=1e-4)
    assert np.all(gpu[1][~good] == -1) and np.all((gpu[1] >= 0) == (gpu[2] > 0))
