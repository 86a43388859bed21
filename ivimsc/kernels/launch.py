"""Where kernels run: the device is chosen here, and nowhere else.

On the CPU a kernel is an ``@njit(nogil=True)`` function ``kernel(start, stop, *arrays)`` that handles the voxels
start..stop; `run_blocks` hands fixed blocks of voxels to plain threads. Against numba's own ``prange`` this needs no
threading layer (safe under fork, dask and calls from several threads), compiles in a fraction of the time, and Ctrl-C
stops it between two blocks. A voxel's result depends on that voxel alone, so neither threads nor blocks can change it.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ivimsc.errors import DeviceError, InputError

__all__ = ["BLOCK", "Launch", "choose_device", "run_blocks", "usable_cores"]

BLOCK = 4096  # voxels per call: long enough to hide the call (about 20 µs), short enough to share out evenly


@dataclass(frozen=True)
class Launch:
    """Where a fit runs: device ("cpu") and number of threads."""

    device: str
    threads: int


def usable_cores() -> int:
    """CPU cores that this process may use (affinity respected)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(device: str = "auto", threads: int | None = None) -> Launch:
    """Decide where to run; a device that is asked for and missing is an error, never a silent fallback.

    Raises
    ------
    DeviceError
        for "cuda", which this version has no kernels for, and for unknown names
    InputError
        for a number of threads that is not in 1 .. usable cores
    """
    if device.startswith("cuda"):
        raise DeviceError(f"--device: found {device!r}, expected auto or cpu: this version has no CUDA kernels")
    if device not in ("auto", "cpu"):
        raise DeviceError(f"--device: found {device!r}, expected auto, cpu or cuda")
    cores = usable_cores()
    if threads is None:
        threads = cores
    if not 1 <= threads <= cores:
        raise InputError(f"--threads: found {threads}, expected 1 to {cores} (the cores of this machine)")
    return Launch("cpu", threads)


def run_blocks(launch: Launch, kernel: Callable, n: int, *arguments: object, block: int = BLOCK) -> None:
    """Call ``kernel(start, stop, *arguments)`` over 0..n in blocks, on `launch.threads` threads."""
    starts = range(0, n, block)
    if launch.threads == 1 or len(starts) <= 1:
        for start in starts:
            kernel(start, min(start + block, n), *arguments)
        return
    with ThreadPoolExecutor(launch.threads) as pool:
        jobs = [pool.submit(kernel, start, min(start + block, n), *arguments) for start in starts]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
