"""The unrolled network on the simulated GPU, against the CPU's lanes."""

import numpy as np
import pytest

from ivimsc.kernels.cuda import unrolled as on_gpu
from ivimsc.kernels.launch import choose_device
from ivimsc.kernels.unrolled import WIDTH, forward

UNITS, N_B, ATOMS = 3, 5, 12


def network(n):
    random = np.random.default_rng(n)
    signals = random.random((n, N_B))
    w, phi = random.normal(size=(2, UNITS, N_B, ATOMS)) * 0.3
    arrays = (signals, w, phi, random.random((UNITS, ATOMS)) * 0.1, random.random(ATOMS))
    return [a.astype(np.float32) for a in arrays]


@pytest.mark.parametrize("n", [0, 1, 2, 7])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("onto_input", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_equal_to_the_cpu(n, hard, onto_input, dense, monkeypatch):
    monkeypatch.setattr(on_gpu, "CHUNK", 4)
    arrays, how = network(n), (5, hard, onto_input)
    results = []
    for gpu in (False, True):
        sums, codes = np.full((n, 4), np.nan, np.float32), np.full((n if dense else 0, ATOMS), np.nan, np.float32)
        if gpu:
            on_gpu.run_units(choose_device("cuda"), *arrays, *how, sums, codes)
        else:
            forward(0, -(-n // WIDTH), *arrays, *how, sums, codes)
        results.append((sums, codes))
    for cpu, gpu in zip(*results, strict=True):
        np.testing.assert_allclose(gpu, cpu, rtol=1e-4, atol=1e-6)
    assert not dense or n < 7 or 0 < np.mean(results[1][1] > 0) < 1
