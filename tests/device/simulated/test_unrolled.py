"""The unrolled network's units on the simulated GPU, against the CPU's lanes: several sets of weights at once."""

import numpy as np
import pytest
from numba import cuda

from ivimsc.methods.scdnn.on_gpu.units import Places, Scratch, units_kernel
from ivimsc.methods.scdnn.units import Weights, blocks_of, forward

SETS, UNITS, RANK, ATOMS, N_D = 3, 3, 5, 12, 5


@pytest.mark.parametrize("sizes", [(0, 0, 0), (1, 0, 2), (5, 4, 1)])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("onto_input", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_equal_to_the_cpu(sizes, hard, onto_input, dense):
    n, first = sum(sizes), 2
    random = np.random.default_rng(n)
    z = random.random((RANK, n)).astype(np.float32)
    w, phi = (0.3 * random.normal(size=(2, SETS, UNITS, ATOMS, RANK))).astype(np.float32)
    thresholds = (0.1 * random.random((SETS, UNITS, ATOMS))).astype(np.float32)
    atoms, order = random.random(ATOMS).astype(np.float32), random.permutation(n).astype(np.int32)
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    x, u = np.full((2, ATOMS, max(n, 1)), np.nan, np.float32)
    sums, codes = np.full((4, n), np.nan, np.float32), np.full((ATOMS, first + n), np.nan, np.float32)
    how = N_D, hard, onto_input
    place, there = Places(*map(cuda.to_device, (order, begins))), map(cuda.to_device, (w, phi, thresholds, atoms))
    scratch = Scratch(*map(cuda.to_device, (x, u)))
    units_kernel(RANK)[(2, SETS), 4](
        first, cuda.to_device(z), place, Weights(*there, *how), scratch, sums, codes, dense
    )  # fmt: skip
    for own, size in enumerate(sizes):
        expected, coded = np.empty((size, 4), np.float32), np.empty((size, ATOMS), np.float32)
        place = slice(begins[own], begins[own + 1])
        layers = (np.ascontiguousarray(a[own].swapaxes(1, 2)) for a in (w, phi))
        own_z = np.ascontiguousarray(z[:, place].T)
        forward(0, blocks_of(size), own_z, Weights(*layers, thresholds[own], atoms, *how), expected, coded)
        np.testing.assert_allclose(sums[:, place], expected.T, rtol=1e-4, atol=1e-6)
        if dense:
            np.testing.assert_allclose(codes[:, first + order[place]], coded.T, rtol=1e-4, atol=1e-6)
            assert size < 4 or 0 < np.mean(coded > 0) < 1
    assert np.isnan(codes[:, :first]).all() and (dense or np.isnan(codes).all())
