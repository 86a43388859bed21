"""Voxels through a GPU: chunk by chunk, over pinned buffers and two streams, so that copies and kernels overlap.

While the GPU works on one chunk, the host fills the pinned buffer of the next and the copy engine sends it: end to end
takes as long as the slowest of the three. Buffers are kept from call to call, for pinned memory is slow to make. Arrays
that are on the GPU already are handed to the kernels as they are.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numba import cuda

from ivimsc.device.device_functions import SIMULATED
from ivimsc.device.launch import Launch, is_on_gpu
from ivimsc.errors import DeviceError

__all__ = ["CHUNK", "LEAST", "SHARED", "Work", "grid", "on_device", "run_chunks", "threads_for"]

CHUNK = 2**20  # voxels: at ten b-values 40 MB, some 1 ms of copying, long against the launch of a kernel (50 µs)
FINE, PIECES = 2**17, 4  # fewer voxels than PIECES chunks: chunks down to FINE, so that there is something to overlap
LEAST = 2**10  # voxels: a card without room for these is too small
SHARED = 48 * 1024  # bytes of shared memory that a block has on every card
WARP, MOST_THREADS = 32, 128  # threads that go in step; threads per block
THREADS = 4 if SIMULATED else MOST_THREADS  # the simulator starts a Python thread for each
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
COPIERS, SHARE = 8, 2**20  # host threads that fill pinned memory, which one alone does slower than PCIe; bytes for each

# work(stream, start, first, size, inputs, outputs, scratch): launches the kernels for a chunk that begins with voxel
# `start` of the whole, which is voxel `first` of inputs and outputs and voxel 0 of scratch.
Work = Callable[[Any, int, int, int, Sequence[Any], Sequence[Any], Sequence[Any]], None]
Kinds = tuple[tuple[tuple[int, ...], Any], ...]  # shapes and types


@contextmanager
def on_device(launch: Launch) -> Iterator[None]:
    """Make the GPU of `launch` the current one."""
    with cuda.gpus[launch.gpu]:
        yield


def threads_for(rows: int, what: str, fixed: int = 0) -> int:
    """Threads per block that have room for `rows` floats each, beside `fixed` ones, in shared memory.

    Raises
    ------
    DeviceError
        where not even a warp has
    """
    threads = MOST_THREADS
    while threads > WARP and (threads * rows + fixed) * 4 > SHARED:
        threads //= 2
    if (threads * rows + fixed) * 4 > SHARED:
        raise DeviceError(f"device: found cuda, but {what}, more than fit a GPU's shared memory; expected cpu")
    return min(threads, THREADS)


def grid(size: int, threads: int, waves: int = 0) -> int:
    """Blocks for `size` voxels, at most `waves` per multiprocessor (0: one thread per voxel)."""
    blocks = max(1, -(-size // threads))
    if waves:
        blocks = min(blocks, waves * (1 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT))
    return blocks


@dataclass(frozen=True)
class _Job:
    """What `run_chunks` was asked for."""

    inputs: Sequence[Any]
    outputs: Sequence[Any]
    scratch: Kinds
    fixed: Kinds
    work: Work
    rows: bool

    @property
    def on_gpu(self) -> bool:
        return is_on_gpu(self.inputs[0])

    @property
    def kinds(self) -> tuple[Kinds, Kinds]:
        """Shapes per voxel and types of what is copied in and out: none where it is on the GPU."""
        if self.on_gpu:
            return (), ()
        come = tuple((tuple(a.shape[1:]), np.dtype(a.dtype)) for a in self.inputs)
        go = tuple((tuple(a.shape[1:] if self.rows else a.shape[:-1]), np.dtype(a.dtype)) for a in self.outputs)
        return come, go


def run_chunks(
    launch: Launch,
    n: int,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    scratch: Sequence[tuple[tuple[int, ...], Any]],
    work: Work,
    rows: bool = False,
    chunk: int | None = None,
    fixed: Sequence[tuple[tuple[int, ...], Any]] = (),
) -> None:
    """Run `work` over n voxels; where device memory does not suffice, in chunks of half the size, which the notes say.

    Parameters
    ----------
    inputs : arrays (voxel, …), all on the host or all on the GPU
    outputs : arrays to fill, on the same side: (…, voxel), or (voxel, …) with `rows`
    scratch : shapes per voxel, and types, of arrays (…, voxel) on the GPU
    work : launches the kernels for one chunk; its scratch are those arrays and then the `fixed` ones
    chunk : most voxels at a time
    fixed : shapes and types of more scratch, which does not grow with the voxels

    Raises
    ------
    DeviceError
        where the card has no room for `LEAST` voxels, or fails
    """
    job = _Job(inputs, outputs, tuple(scratch), tuple(fixed), work, rows)
    size = min(chunk or CHUNK, max(-(-n // PIECES), FINE), n)
    while n and not _attempt(launch, n, job, size):
        if launch.kept:  # buffers of earlier calls
            launch.kept.clear()
            continue
        if size <= LEAST:
            raise DeviceError(f"device: found {launch.device} without memory for {size} voxels, expected a device with more of it free, or cpu")  # fmt: skip
        size = max(size // 2, LEAST)
        launch.notes.append(f"device: {launch.device} is short of memory: chunks of {size} voxels")


def _attempt(launch: Launch, n: int, job: _Job, size: int) -> bool:
    """Run all chunks; False where the device's memory does not suffice for this size."""
    key = (*job.kinds, job.scratch, job.fixed)
    kept = launch.kept.pop(key, [])  # taken out: another thread with this launch makes its own
    slots = [slot for slot in kept if slot.size >= size]
    del kept
    try:
        with on_device(launch), _copiers(launch, job) as pool:
            while len(slots) < min(2, -(-n // size)):
                slots.append(_Slot(*key, size))
            for k, first in enumerate(range(0, n, size)):
                slots[k % 2].collect(job, pool)
                slots[k % 2].submit(job, pool, first, min(first + size, n))
            for slot in slots:
                slot.collect(job, pool)
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        return False
    launch.kept[key] = slots
    return True


def _copiers(launch: Launch, job: _Job) -> Any:
    """Threads that copy between the user's arrays and pinned ones; None (in a context) where one is enough."""
    threads = min(launch.threads, COPIERS)
    small = sum(a.nbytes for a in job.inputs) <= SHARE
    return nullcontext() if threads == 1 or small or job.on_gpu else ThreadPoolExecutor(threads)


def _copy(pool: ThreadPoolExecutor | None, target: Any, source: Any, rows: bool) -> None:
    """target[...] = source, both (voxel, …) with `rows` and (…, voxel) without, shared out along the voxels."""
    n = source.shape[0 if rows else -1]
    parts = 1 if pool is None else min(COPIERS, source.nbytes // SHARE, n)
    if parts <= 1:
        np.copyto(target, source)
        return
    ends = [n * k // parts for k in range(parts + 1)]
    places = [slice(a, b) if rows else (..., slice(a, b)) for a, b in pairwise(ends)]
    list(pool.map(lambda place: np.copyto(target[place], source[place]), places))


def _is_out_of_memory(error: Exception) -> bool:
    code = getattr(error, "code", None)  # of numba's CudaAPIError: an enumeration of the driver's
    return isinstance(error, MemoryError) or (code is not None and int(code) == OUT_OF_MEMORY)


class _Slot:
    """One of the two streams, with its scratch memory and, for arrays on the host, its pinned and device buffers."""

    def __init__(self, come: Kinds, go: Kinds, scratch: Kinds, fixed: Kinds, size: int) -> None:
        self.size, self.stream, self.span = size, cuda.stream(), None
        self.scratch = [cuda.device_array((*shape, size), dtype) for shape, dtype in scratch]
        self.scratch += [cuda.device_array(shape, dtype) for shape, dtype in fixed]
        lengths = [[(max(math.prod(shape) * size, 1), dtype) for shape, dtype in kinds] for kinds in (come, go)]
        self.pinned = [[cuda.pinned_array(*kind) for kind in kinds] for kinds in lengths]
        self.device = [[cuda.device_array(*kind) for kind in kinds] for kinds in lengths]
        self.kinds = come, go

    def submit(self, job: _Job, pool: ThreadPoolExecutor | None, start: int, stop: int) -> None:
        """Send a chunk on its way."""
        size = stop - start
        if job.on_gpu:
            job.work(self.stream, start, start, size, job.inputs, job.outputs, self.scratch)
            return
        arrived = []
        for k, (source, (shape, _)) in enumerate(zip(job.inputs, self.kinds[0], strict=True)):
            pinned, device = (side[0][k][: size * math.prod(shape)] for side in (self.pinned, self.device))
            _copy(pool, pinned.reshape(size, *shape), source[start:stop], rows=True)
            device.copy_to_device(pinned, stream=self.stream)
            arrived.append(device.reshape(size, *shape))
        made, flat = [], []
        for k, (shape, _) in enumerate(self.kinds[1]):
            flat.append(self.device[1][k][: size * math.prod(shape)])
            made.append(flat[-1].reshape((size, *shape) if job.rows else (*shape, size)))
        job.work(self.stream, start, 0, size, arrived, made, self.scratch)
        for device, pinned in zip(flat, self.pinned[1], strict=True):
            device.copy_to_host(pinned[: len(device)], stream=self.stream)
        self.span = start, stop

    def collect(self, job: _Job, pool: ThreadPoolExecutor | None) -> None:
        """Wait for the chunk under way, and bring its results to their place."""
        self.stream.synchronize()
        if self.span is None:
            return
        start, stop = self.span
        for pinned, target, (shape, _) in zip(self.pinned[1], job.outputs, self.kinds[1], strict=True):
            part = pinned[: (stop - start) * math.prod(shape)]
            if job.rows:
                _copy(pool, target[start:stop], part.reshape(-1, *shape), rows=True)
            else:
                _copy(pool, target[..., start:stop], part.reshape(*shape, stop - start), rows=False)
        self.span = None
