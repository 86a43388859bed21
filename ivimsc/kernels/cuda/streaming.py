"""Voxels through a GPU: chunk by chunk, over pinned buffers and two streams, so that copies and kernels overlap.

While the GPU works on one chunk, the host fills the pinned buffer of the next and the copy engine sends it: end to end
takes as long as the slowest of the three. Arrays that are on the GPU already are handed to the kernels as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import cuda

from ivimsc.errors import DeviceError
from ivimsc.kernels.cuda.device_functions import SIMULATED
from ivimsc.kernels.launch import Launch, is_on_gpu

__all__ = ["CHUNK", "LEAST", "SHARED", "Work", "grid", "on_device", "run_chunks", "threads_for"]

CHUNK = 2**20  # voxels: at ten b-values 40 MB, some 1 ms of copying, long against the launch of a kernel (50 µs)
LEAST = 2**10  # voxels: a card without room for these is too small
SHARED = 48 * 1024  # bytes of shared memory that a block has on every card
WARP, MOST_THREADS = 32, 128  # threads that go in step; threads per block
THREADS = 4 if SIMULATED else MOST_THREADS  # the simulator starts a Python thread for each
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY

# work(stream, start, first, size, inputs, outputs, scratch): launches the kernels for a chunk that begins with voxel
# `start` of the whole, which is voxel `first` of inputs and outputs and voxel 0 of scratch.
Work = Callable[[Any, int, int, int, Sequence[Any], Sequence[Any], Sequence[Any]], None]


@contextmanager
def on_device(launch: Launch) -> Iterator[None]:
    """Make the GPU of `launch` the current one."""
    with cuda.gpus[launch.gpu]:
        yield


def threads_for(rows: int, what: str) -> int:
    """Threads per block that have room for `rows` floats each in shared memory; an error where not even a warp has."""
    threads = MOST_THREADS
    while threads > WARP and threads * rows * 4 > SHARED:
        threads //= 2
    if threads * rows * 4 > SHARED:
        raise DeviceError(f"--device cuda: {what}, more than fit a GPU's shared memory; expected cpu")
    return min(threads, THREADS)


def grid(size: int, threads: int, waves: int = 0) -> int:
    """Blocks for `size` voxels, at most `waves` per multiprocessor (0: one thread per voxel)."""
    blocks = max(1, -(-size // threads))
    if waves:
        blocks = min(blocks, waves * (1 if SIMULATED else cuda.get_current_device().MULTIPROCESSOR_COUNT))
    return blocks


def run_chunks(
    launch: Launch,
    n: int,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    scratch: Sequence[tuple[tuple[int, ...], type]],
    work: Work,
    rows: bool = False,
    chunk: int | None = None,
) -> None:
    """Run `work` over n voxels; where device memory does not suffice, in chunks of half the size, which the notes say.

    Parameters
    ----------
    inputs : arrays (voxel, …), all on the host or all on the GPU
    outputs : arrays to fill, on the same side: (…, voxel), or (voxel, …) with `rows`
    scratch : shapes per voxel, and types, of arrays (…, voxel) on the GPU
    work : launches the kernels for one chunk

    Raises
    ------
    DeviceError
        where the card has no room for `LEAST` voxels, or fails
    """
    size = min(chunk or CHUNK, n)
    while n and not _attempt(launch, n, inputs, outputs, scratch, work, rows, size):
        if size <= LEAST:
            raise DeviceError(f"--device: found {launch.device} without memory for {size} voxels, expected a device with more of it free, or cpu")  # fmt: skip
        size = max(size // 2, LEAST)
        launch.notes.append(f"device: {launch.device} is short of memory: chunks of {size} voxels")


def _attempt(launch, n, inputs, outputs, scratch, work, rows, size) -> bool:
    """Run all chunks; False where the device's memory does not suffice for this size."""
    slots: list[_Slot] = []
    try:
        with on_device(launch):
            make = _Direct if is_on_gpu(inputs[0]) else _Staged
            slots.extend(make(inputs, outputs, scratch, work, rows, size) for _ in range(min(2, -(-n // size))))
            for k, first in enumerate(range(0, n, size)):
                slots[k % 2].collect()
                slots[k % 2].submit(first, min(first + size, n))
            for slot in slots:
                slot.collect()
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        return False
    return True


def _is_out_of_memory(error: Exception) -> bool:
    code = getattr(error, "code", None)  # of numba's CudaAPIError: an enumeration of the driver's
    return isinstance(error, MemoryError) or (code is not None and int(code) == OUT_OF_MEMORY)


class _Slot:
    """One of the two streams, with scratch memory of its own."""

    def __init__(self, inputs, outputs, scratch, work, rows, size) -> None:
        self.stream, self.work, self.rows = cuda.stream(), work, rows
        self.inputs, self.outputs = inputs, outputs
        self.scratch = [cuda.device_array((*shape, size), dtype) for shape, dtype in scratch]
        self.span: tuple[int, int] | None = None


class _Direct(_Slot):
    """Inputs and outputs are on the GPU."""

    def submit(self, start: int, stop: int) -> None:
        self.work(self.stream, start, start, stop - start, self.inputs, self.outputs, self.scratch)

    def collect(self) -> None:
        self.stream.synchronize()


class _Staged(_Slot):
    """Inputs and outputs are on the host: copied through pinned buffers."""

    def __init__(self, inputs, outputs, scratch, work, rows, size) -> None:
        super().__init__(inputs, outputs, scratch, work, rows, size)
        come = [((size, *array.shape[1:]), array.dtype) for array in inputs]
        go = [((size, *a.shape[1:]) if rows else (*a.shape[:-1], size), a.dtype) for a in outputs]
        self.came, self.goes = ([cuda.pinned_array(*kind) for kind in kinds] for kinds in (come, go))
        self.arrived, self.made = ([cuda.device_array(*kind) for kind in kinds] for kinds in (come, go))

    def submit(self, start: int, stop: int) -> None:
        size = stop - start
        for source, pinned, device in zip(self.inputs, self.came, self.arrived, strict=True):
            np.copyto(pinned[:size], source[start:stop])
            device[:size].copy_to_device(pinned[:size], stream=self.stream)
        self.work(self.stream, start, 0, size, self.arrived, self.made, self.scratch)
        for device, pinned in zip(self.made, self.goes, strict=True):
            device.copy_to_host(pinned, stream=self.stream)
        self.span = start, stop

    def collect(self) -> None:
        """Wait for the chunk under way, and bring its results to their place."""
        if self.span is None:
            return
        self.stream.synchronize()
        start, stop = self.span
        for pinned, target in zip(self.goes, self.outputs, strict=True):
            if self.rows:
                target[start:stop] = pinned[: stop - start]
            else:
                target[..., start:stop] = pinned[..., : stop - start]
        self.span = None
