"""The exact non-negative l1 code on a GPU: `sparse_coding` as it is, one thread per voxel, in float64.

What a voxel needs beside its signal, some 10 kB, lies in device memory, (row, voxel): threads that scan the dictionary side
by side read and write neighbouring numbers, while the dictionary itself is the same for all and comes from the caches.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ivimsc.device.device_functions import as_device
from ivimsc.device.launch import Launch, empty_beside, is_on_gpu
from ivimsc.device.streaming import THREADS, grid, on_device, run_chunks
from ivimsc.estimates import Spectrum
from ivimsc.methods.ista import decoding, duality, sparse_coding
from ivimsc.methods.ista.active_set import Active
from ivimsc.methods.ista.decoding import Maps
from ivimsc.methods.ista.problem import Found, Penalty
from ivimsc.methods.ista.pyramid import Pyramid
from ivimsc.methods.ista.sparse_coding import NONE, Scratch
from ivimsc.numerics import scaling
from ivimsc.outcome import Outcome
from ivimsc.physics import dictionary
from ivimsc.physics.dictionary import Grids

__all__ = ["Coder", "Codes", "Room", "codes_kernel", "rows_kernel"]

BAD_SIGNAL, GAP = int(Outcome.BAD_SIGNAL), int(Outcome.GAP)  # the kernel takes plain numbers
CHUNK = 2**16  # voxels: 10 kB of scratch each
_scale_of, _scan, _excess = as_device(scaling.scale_of), as_device(duality.scan), as_device(duality.excess)
_code, _sort = as_device(sparse_coding._code), as_device(sparse_coding._sort)
_decode_row, _settle, _put = as_device(dictionary.decode_row), as_device(decoding.settle), as_device(decoding.put)


class Room(NamedTuple):
    """Scratch of a chunk: the arrays of `Active` and `Scratch` for every voxel, (…, voxel) each.

    numbers (3 most,): atom and chosen; floats (7 most,): x, g, step, inverse, saved and share; factor (most, most): r;
    y .. flags: those of `Scratch`, where bits, one_bits and value_bits are the same memory as c, one and value;
    words (flags / 8,): ones, the same for all voxels: "look at all flags".
    """

    numbers: NDArray[np.int64]
    floats: NDArray[np.float64]
    factor: NDArray[np.float64]
    y: NDArray[np.float64]
    c: NDArray[np.float64]
    bits: NDArray[np.int64]
    one: NDArray[np.float64]
    one_bits: NDArray[np.int64]
    value: NDArray[np.float64]
    value_bits: NDArray[np.int64]
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]


class Codes(NamedTuple):
    """The codes of all voxels as `codes_kernel` leaves them.

    gap, turns, used (voxel,): relative duality gap, turns taken, number of atoms in use; atom, x (most, voxel): the
    first `used` of each are those atoms and their coefficients, in units of the signal.
    """

    gap: NDArray[np.float32]
    turns: NDArray[np.int32]
    used: NDArray[np.int32]
    atom: NDArray[np.int32]
    x: NDArray[np.float32]


@cuda.jit(cache=True)
def codes_kernel(first, size, signals, pyramid, grids, penalty, tolerance, room, maps, codes):
    """Code and decode the voxels first .. first + size: see `sparse_coding.encode_exact` and `decoding.settle`.

    signals (voxel, b); tolerance: the largest gap that is not outcome 6; room: scratch; maps, codes: written.
    """
    i = cuda.grid(1)
    if i >= size:
        return
    numbers, floats, y, atom, x = room.numbers, room.floats, room.y, codes.atom, codes.x
    v, most, firsts = first + i, atom.shape[0], pyramid.first
    s = Active(
        numbers[:most, i], floats[:most, i], floats[most : 2 * most, i], floats[2 * most : 3 * most, i],
        room.factor[:, :, i], floats[3 * most : 4 * most, i], floats[4 * most : 5 * most, i],
    )  # fmt: skip
    t = Scratch(
        y[:, :, i], room.c[:, i], room.one[:, i], room.value[:, i], room.flags[:, i], numbers[most:, i],
        floats[5 * most :, i], room.bits[:, i], room.one_bits[:, i], room.value_bits[:, i], room.words,
    )  # fmt: skip
    largest, n_b = _scale_of(signals, v), pyramid.columns.shape[0]
    k, found = NONE, Found(np.nan, np.nan, 0, True)
    if largest > 0:
        inverse = 1.0 / np.float64(largest)
        for m in range(y.shape[1]):
            y[0, m, i] = signals[v, m] * inverse if m < n_b else 0.0
        half_beta = 0.5 * penalty.beta
        if penalty.relative:
            last, n = firsts[firsts.shape[0] - 2], firsts[firsts.shape[0] - 1]
            _scan(pyramid.columns, last, n - last, t.y, 0, t.c)
            half_beta *= _excess(t.bits, n - last, 0.0, t.one, t.one_bits)
        k, found = _code(s, pyramid, t, half_beta)
        _sort(s, k)
    for j in range(k):
        atom[j, v], x[j, v] = pyramid.place[s.atom[j]], s.x[j] * largest
    settled = _settle(_decode_row(s.x, atom[:, v], 0, k, grids), largest, found.squares, n_b)
    missed = settled.outcome != BAD_SIGNAL and not found.gap <= tolerance
    _put(v, settled, GAP if missed else settled.outcome, maps)
    codes.gap[v], codes.turns[v], codes.used[v] = found.gap, found.turns, k


@cuda.jit(cache=True)
def rows_kernel(codes, rows):
    """The CSR rows of `Codes` into a `Spectrum` whose indptr is there and whose data and indices are written."""
    v = cuda.grid(1)
    if v < codes.used.shape[0]:
        begin = rows.indptr[v]
        for j in range(codes.used[v]):
            rows.data[begin + j], rows.indices[begin + j] = codes.x[j, v], codes.atom[j, v]


class Coder:
    """ista (exact) on a GPU for one dictionary.

    Parameters
    ----------
    launch : where it runs
    pyramid : of the dictionary
    grids : of the dictionary
    penalty : of equation (5)
    tolerance : the largest relative gap that is not outcome 6
    """

    def __init__(self, launch: Launch, pyramid: Pyramid, grids: Grids, penalty: Penalty, tolerance: float) -> None:
        self.launch, self.penalty, self.tolerance = launch, penalty, tolerance
        first, tissue = pyramid.first, pyramid.half[0]
        n = int(first[-1] - first[-2])
        self.most = most = min(len(pyramid.columns), n)
        n_c, n_flags, n_value = max(n, int(first[1])), (n + 15) // 8 * 8, int(tissue * (first[1] - tissue))
        with on_device(launch):
            self.pyramid = Pyramid(*(cuda.to_device(np.ascontiguousarray(array)) for array in pyramid))
            self.grids = Grids(*(cuda.to_device(np.ascontiguousarray(array)) for array in grids))
            self.words = cuda.to_device(np.ones(n_flags // 8, np.uint64))
        floats = [(7 * most,), (most, most), (2, pyramid.atoms.shape[1]), (n_c,), (1,), (n_value,)]
        self.scratch = [((3 * most,), np.int64), *((shape, np.float64) for shape in floats), ((n_flags,), np.uint8)]

    def run(self, signals: Any) -> tuple[Maps, Codes]:
        """Fit signals (voxel, b) float32; what is found is on the side, host or GPU, where they are."""
        n = len(signals)
        kinds = [((n,), np.float32)] * 5 + [((n,), np.uint8), ((n,), np.float32), ((n,), np.int32), ((n,), np.int32)]
        kinds += [((self.most, n), np.int32), ((self.most, n), np.float32)]
        written = [empty_beside(self.launch, signals, *kind) for kind in kinds]
        run_chunks(self.launch, n, [signals], written, self.scratch, self._work, chunk=CHUNK)
        return _by_name(written)

    def _work(self, stream, start, first, size, inputs, outputs, scratch) -> None:
        """Launch the kernel for one chunk: see `streaming.Work`."""
        numbers, floats, factor, y, c, one, value, flags = scratch
        room = Room(
            numbers=numbers, floats=floats, factor=factor, y=y, c=c, bits=c.view(np.int64), one=one,
            one_bits=one.view(np.int64), value=value, value_bits=value.view(np.int64), flags=flags, words=self.words,
        )  # fmt: skip
        codes_kernel[grid(size, THREADS), THREADS, stream](
            first, size, *inputs, self.pyramid, self.grids, self.penalty, self.tolerance, room, *_by_name(outputs)
        )

    def rows(self, codes: Codes) -> Spectrum:
        """CSR rows, on the side where the codes are; their indptr is summed on the host."""
        used = codes.used
        if not is_on_gpu(used):
            filled = np.arange(len(codes.atom)) < used[:, None]
            indptr = np.concatenate([[0], np.cumsum(used, dtype=np.int64)])
            return Spectrum(codes.x.T[filled], codes.atom.T[filled], indptr)
        with on_device(self.launch):
            begins = np.concatenate([[0], np.cumsum(used.copy_to_host(), dtype=np.int64)])
            data, indices = (cuda.device_array(int(begins[-1]), dtype) for dtype in (np.float32, np.int32))
            rows = Spectrum(data, indices, cuda.to_device(begins))
            if len(data):
                rows_kernel[grid(len(used), THREADS), THREADS](codes, rows)
                cuda.synchronize()
        return rows


def _by_name(written: Any) -> tuple[Maps, Codes]:
    """The arrays of `Maps` and `Codes`, which go through the GPU as one list."""
    split = len(Maps._fields)
    return Maps(*written[:split]), Codes(*written[split:])
