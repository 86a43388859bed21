"""The exact non-negative l1 code on a GPU: `kernels.sparse_coding` as it is, one thread per voxel, in float64.

What a voxel needs beside its signal, some 10 kB, lies in device memory, (row, voxel): threads that scan the dictionary side
by side read and write neighbouring numbers, while the dictionary itself is the same for all and comes from the caches.
"""

from functools import partial

import numpy as np
from numba import cuda

from ivimsc.kernels import duality, scaling, sparse_coding
from ivimsc.kernels.active_set import Active
from ivimsc.kernels.cuda.device_functions import as_device
from ivimsc.kernels.cuda.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.kernels.launch import Launch
from ivimsc.kernels.pyramid import Pyramid
from ivimsc.kernels.sparse_coding import Scratch

__all__ = ["codes_kernel", "encode"]

CHUNK = 2**16  # voxels: 10 kB of scratch each
_scale_of, _scan, _excess, _code, _sort = (
    as_device(f)
    for f in (
        scaling.scale_of,
        duality.scan,
        duality.excess,
        sparse_coding._code,
        sparse_coding._sort,
    )
)


@cuda.jit(cache=True)
def codes_kernel(
    first, size, signals, atoms, columns, place, firsts, half, loose, lift, lifted, pairs, words, beta, relative,
    numbers, floats, factor, y, c, bits, one, one_bits, value, value_bits, flags,
    scale, atom, x, gap, squares, turns,
):  # fmt: skip
    """Code the voxels first .. first + size: see `sparse_coding.encode_exact`.

    atoms .. pairs: the Pyramid; words: ones, "look at all flags"; numbers (3 most, chunk) .. flags: scratch, where bits,
    one_bits, value_bits are the same memory as c, one, value; scale, gap, squares, turns (voxel,) and atom, x (most,
    voxel): written.
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
    for k in range(most):
        atom[k, v], x[k, v] = -1, 0.0
    largest = _scale_of(signals, v)
    scale[v] = largest
    if largest == 0:
        gap[v], squares[v], turns[v] = np.nan, np.nan, 0
        return
    inverse, n_b = 1.0 / np.float64(largest), columns.shape[0]
    for m in range(y.shape[1]):
        y[0, m, i] = signals[v, m] * inverse if m < n_b else 0.0
    half_beta = 0.5 * beta
    if relative:
        last, n = firsts[firsts.shape[0] - 2], firsts[firsts.shape[0] - 1]
        _scan(p.columns, last, n - last, t.y, 0, t.c)
        half_beta *= _excess(t.bits, n - last, 0.0, t.one, t.one_bits)
    k, gap_v, squares_v, turns_v = _code(s, p, t, half_beta)
    gap[v], squares[v], turns[v] = gap_v, squares_v, turns_v
    _sort(s, k)
    for j in range(k):
        atom[j, v], x[j, v] = p.place[s.atom[j]], s.x[j]


def encode(
    launch: Launch, signals, p: Pyramid, beta: float, relative: bool, scale, atom, x, gap, squares, turns
) -> None:
    """`sparse_coding.encode_exact` for all voxels; arrays in its shapes, on the host."""
    most, n = atom.shape[1], int(p.first[-1] - p.first[-2])
    n_c, n_flags = max(n, int(p.first[1])), (n + 15) // 8 * 8
    n_value = int(p.half[0] * (p.first[1] - p.half[0]))
    with on_device(launch):
        pyramid = [cuda.to_device(array) for array in p]
        words = cuda.to_device(np.ones(n_flags // 8, np.uint64))

    def work(stream, start, at, size, inputs, outputs, scratch):
        numbers, floats, factor, y, c, one, value, flags = scratch
        views = [part for array in (c, one, value) for part in (array, array.view(np.int64))]
        codes_kernel[grid(size, THREADS), THREADS, stream](
            at, size, *inputs, *pyramid, words, beta, relative, numbers, floats, factor, y, *views, flags, *outputs
        )

    double = partial(_kind, dtype=np.float64)
    scratch = [_kind(3 * most, dtype=np.int64), double(7 * most), double(most, most), double(2, p.atoms.shape[1])]
    scratch += [double(n_c), double(1), double(n_value), _kind(n_flags, dtype=np.uint8)]
    outputs = [scale, atom.T, x.T, gap, squares, turns]
    run_chunks(launch, len(signals), [np.ascontiguousarray(signals)], outputs, scratch, work, chunk=CHUNK)


def _kind(*shape: int, dtype: type) -> tuple[tuple[int, ...], type]:
    return shape, dtype
