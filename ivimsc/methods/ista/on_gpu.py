"""The exact non-negative l1 code on a GPU: `sparse_coding` as it is, one thread per voxel, in float64.

What a voxel needs beside its signal, some 10 kB, lies in device memory, (row, voxel): threads that scan the dictionary side
by side read and write neighbouring numbers, while the dictionary itself is the same for all and comes from the caches.
"""

from typing import Any

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import as_device
from ivimsc.device.launch import Launch, is_on_gpu
from ivimsc.device.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.methods.ista import decoding, duality, sparse_coding
from ivimsc.methods.ista.active_set import Active
from ivimsc.methods.ista.pyramid import Pyramid
from ivimsc.methods.ista.sparse_coding import Scratch
from ivimsc.numerics import scaling
from ivimsc.physics import dictionary

__all__ = ["Coder", "codes_kernel", "rows_kernel"]

BAD_SIGNAL, GAP = 5, 6  # estimates.Outcome
CHUNK = 2**16  # voxels: 10 kB of scratch each
_scale_of, _scan, _excess, _code, _sort, _decode_row, _settle = (
    as_device(f)
    for f in (
        scaling.scale_of,
        duality.scan,
        duality.excess,
        sparse_coding._code,
        sparse_coding._sort,
        dictionary.decode_row,
        decoding.settle,
    )
)


@cuda.jit(cache=True)
def codes_kernel(
    first, size, signals, atoms, columns, place, firsts, half, loose, lift, lifted, pairs, D, Dstar, words, beta, relative,
    tolerance, numbers, floats, factor, y, c, bits, one, one_bits, value, value_bits, flags,
    result, outcome, gap, turns, used, atom, x,
):  # fmt: skip
    """Code and decode the voxels first .. first + size: see `sparse_coding.encode_exact` and `decoding.settle`.

    atoms .. pairs: the Pyramid; D, Dstar: the grids; words: ones, "look at all flags"; numbers (3 most, chunk) .. flags:
    scratch, where bits, one_bits, value_bits are the same memory as c, one, value. Written: result (5, voxel) S0, f, D,
    D*, rmse; outcome, gap, turns, used (voxel,): number of atoms; atom, x (most, voxel): the first `used` of each are
    the atoms in use and their coefficients in units of the signal.
    """
    i = cuda.grid(1)
    if i >= size:
        return
    v, most = first + i, atom.shape[0]
    p = Pyramid(atoms, columns, place, firsts, half, loose, lift, lifted, pairs)
    s = Active(
        numbers[:most, i], floats[:most, i], floats[most : 2 * most, i], floats[2 * most : 3 * most, i], factor[:, :, i],
        floats[3 * most : 4 * most, i], floats[4 * most : 5 * most, i],
    )  # fmt: skip
    t = Scratch(
        y[:, :, i], c[:, i], one[:, i], value[:, i], flags[:, i], numbers[most:, i], floats[5 * most :, i],
        bits[:, i], one_bits[:, i], value_bits[:, i], words,
    )  # fmt: skip
    largest, n_b = _scale_of(signals, v), columns.shape[0]
    k, gap_v, squares, turns_v = 0, np.nan, np.nan, 0
    if largest > 0:
        inverse = 1.0 / np.float64(largest)
        for m in range(y.shape[1]):
            y[0, m, i] = signals[v, m] * inverse if m < n_b else 0.0
        half_beta = 0.5 * beta
        if relative:
            last, n = firsts[firsts.shape[0] - 2], firsts[firsts.shape[0] - 1]
            _scan(p.columns, last, n - last, t.y, 0, t.c)
            half_beta *= _excess(t.bits, n - last, 0.0, t.one, t.one_bits)
        k, gap_v, squares, turns_v = _code(s, p, t, half_beta)
        _sort(s, k)
    for j in range(k):
        atom[j, v], x[j, v] = p.place[s.atom[j]], s.x[j] * largest
    total, f, d, q = _decode_row(s.x, atom[:, v], 0, k, D, Dstar)
    S0, f, d, q, rmse, ending = _settle(total, f, d, q, largest, squares, n_b, D, Dstar)
    if ending != BAD_SIGNAL and not gap_v <= tolerance:
        ending = GAP
    result[0, v], result[1, v], result[2, v], result[3, v], result[4, v] = S0, f, d, q, rmse
    outcome[v], gap[v], turns[v], used[v] = ending, gap_v, turns_v, k


@cuda.jit(cache=True)
def rows_kernel(used, atom, x, begins, data, indices):
    """CSR rows from `codes_kernel`'s atoms and coefficients: data, indices (entry,); begins (voxel + 1,)."""
    v = cuda.grid(1)
    if v < used.shape[0]:
        for j in range(used[v]):
            data[begins[v] + j], indices[begins[v] + j] = x[j, v], atom[j, v]


class Coder:
    """ista (exact) on a GPU for one dictionary: its pyramid, grids (D, D*), β, relative or not, and the largest gap."""

    def __init__(self, launch: Launch, p: Pyramid, grids, beta: float, relative: bool, tolerance: float) -> None:
        self.launch, self.settings = launch, (float(beta), relative, tolerance)
        most, n = min(len(p.columns), int(p.first[-1] - p.first[-2])), int(p.first[-1] - p.first[-2])
        n_c, n_flags = max(n, int(p.first[1])), (n + 15) // 8 * 8
        n_value = int(p.half[0] * (p.first[1] - p.half[0]))
        with on_device(launch):
            self.known = [cuda.to_device(np.ascontiguousarray(array)) for array in (*p, *grids)]
            self.known.append(cuda.to_device(np.ones(n_flags // 8, np.uint64)))
        floats = [(7 * most,), (most, most), (2, p.atoms.shape[1]), (n_c,), (1,), (n_value,)]
        self.scratch = [((3 * most,), np.int64), *((shape, np.float64) for shape in floats), ((n_flags,), np.uint8)]

    def run(self, signals, *written) -> None:
        """Fit signals (voxel, b) float32 into result .. x as `codes_kernel` has them, all on the same side."""

        def work(stream, start, first, size, inputs, outputs, scratch):
            numbers, floats, factor, y, c, one, value, flags = scratch
            views = [part for array in (c, one, value) for part in (array, array.view(np.int64))]
            codes_kernel[grid(size, THREADS), THREADS, stream](
                first, size, *inputs, *self.known, *self.settings, numbers, floats, factor, y, *views, flags, *outputs
            )

        run_chunks(self.launch, len(signals), [signals], written, self.scratch, work, chunk=CHUNK)

    def rows(self, used, atom, x) -> tuple[Any, Any, Any]:
        """CSR rows (data, indices, indptr) where used (voxel,), atom and x (most, voxel) are; indptr is summed on the host."""
        if not is_on_gpu(used):
            filled = np.arange(len(atom)) < used[:, None]
            return x.T[filled], atom.T[filled], np.concatenate([[0], np.cumsum(used, dtype=np.int64)])
        with on_device(self.launch):
            begins = np.concatenate([[0], np.cumsum(used.copy_to_host(), dtype=np.int64)])
            data, indices = (cuda.device_array(int(begins[-1]), dtype) for dtype in (np.float32, np.int32))
            indptr = cuda.to_device(begins)
            if len(data):
                rows_kernel[grid(len(used), THREADS), THREADS](used, atom, x, indptr, data, indices)
                cuda.synchronize()
        return data, indices, indptr
